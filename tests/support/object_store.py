"""An S3 server on this machine, moto's, which fails as busy ones do: errors, lost races, connections that are cut."""

import contextlib
import random
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

BUCKET = "bucket"
KEYS = {
    "AWS_ACCESS_KEY_ID": "of-a-test",
    "AWS_SECRET_ACCESS_KEY": "of-a-test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",  # What fails is left to whoever is tested.
}
"""Environment of those who use the server, beside AWS_ENDPOINT_URL."""

FAULT = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>as the test wants it</Message><RequestId>1</RequestId></Error>"""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Faults:
    """What goes wrong at a server, each in a share of the requests.

    Args:
        application: the server.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.rate = 0.0
        """Share of requests that go wrong."""
        self.seen: Counter[str] = Counter()
        """How often each thing went wrong, and how many requests there were."""
        self.held = ""
        """What is put under names that contain this is held back until this is empty again, and then refused."""
        self.next: list[str] = []
        """What the next conditional puts meet with: `409`, `412` or `lost`."""
        self._draw = random.Random(1)
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self.seen["requests"] += 1
            fault = "503" if self._is_held(environ) else self._fault("HTTP_IF_NONE_MATCH" in environ)
            self.seen[fault] += 1
        while self._is_held(environ):
            time.sleep(0.01)
        if fault == "cut":
            return _cut(environ)
        if fault == "lost":  # It was done, but nobody is told.
            b"".join(self.application(environ, lambda *_: None))
            return _cut(environ)
        if fault in ANSWERS:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, code = ANSWERS[fault]
            start_response(status, [("Content-Type", "application/xml")])
            return [FAULT.format(code=code).encode()]
        return self.application(environ, start_response)

    def _is_held(self, environ: dict[str, Any]) -> bool:
        return bool(self.held) and environ["REQUEST_METHOD"] == "PUT" and self.held in environ["PATH_INFO"]

    def _fault(self, is_conditional: bool) -> str:
        if is_conditional and self.next:
            return self.next.pop(0)
        if self._draw.random() >= self.rate:
            return "none"
        return self._draw.choice(["cut", "lost", "500", "503", *(["409"] if is_conditional else [])])


ANSWERS = {
    "500": ("500 Internal Server Error", "InternalError"),
    "503": ("503 Slow Down", "SlowDown"),
    "409": ("409 Conflict", "ConditionalRequestConflict"),
    "412": ("412 Precondition Failed", "PreconditionFailed"),
}


def _cut(environ: dict[str, Any]) -> Iterable[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("as the test wants it")


@contextlib.contextmanager
def object_store() -> Iterator[tuple[str, Faults]]:
    """Serve a bucket while the context lasts: the address, and what goes wrong."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            """Say nothing."""

    server_itself = DomainDispatcherApplication(create_backend_app)
    faults = Faults(server_itself)
    server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT")).close()
    try:
        yield address, faults
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
