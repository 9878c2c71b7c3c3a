"""An endpoint that misbehaves on purpose, over real sockets: a chat endpoint, unless told to be another."""

import contextlib
import dataclasses
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way to misbehave.

    Attributes:
        status: of the response; None drops the connection without one.
        text: body of the response.
        headers: further headers.
        stall_s: wait before anything is sent.
        cut: promise a longer body than is sent, then drop the connection.
        audio: body of the response where it is no text.
        content_type: of the body.
    """

    status: int | None = 200
    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    stall_s: float = 0.0
    cut: bool = False
    audio: bytes | None = None
    content_type: str = "application/json"


def completion(said: str, finish_reason: str = "stop", refusal: str | None = None) -> str:
    """A well-formed chat completion."""
    message = {"role": "assistant", "content": None if refusal else said, "refusal": refusal}
    choices = [{"index": 0, "message": message, "finish_reason": finish_reason}]
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return json.dumps({"object": "chat.completion", "model": "tiny-1", "choices": choices, "usage": usage})


FAULTS = {
    "busy": Fault(429, '{"error": "slow down"}', (("Retry-After", "0.02"),)),
    "busy, with a date": Fault(429, "slow down", (("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),)),
    "broken": Fault(500, "Internal Server Error"),
    "away": Fault(503, "<html>upstream</html>"),
    "stalled": Fault(stall_s=2.5, text=completion("late")),
    "dropped": Fault(None),
    "cut": Fault(text=completion("{}")[:40], cut=True),
    "no JSON": Fault(text='{"choices": [{'),
    "JSON of something else": Fault(text='{"error": {"message": "no capacity"}}'),
    "no choices": Fault(text='{"choices": []}'),
    "said no JSON": Fault(text=completion("Sure! Here is a conversation.")),
    "said half of it": Fault(text=completion('{"turns": [{"question": "Wh', "length")),
    "said something else": Fault(text=completion('{"dialogue": []}')),
    "said nothing": Fault(text=completion("")),
    "refused": Fault(400, '{"error": "prompt is too long"}'),
    "filtered": Fault(text=completion("", refusal="I can't help with that.")),
}
"""Every way to misbehave, by name: first those of the machinery, then those of the model."""

MACHINERY = tuple(FAULTS)[:10]


class Server:
    """A running server.

    Args:
        respond: gives the good response to a request's body.
        fault: how the server misbehaves for (number of the request from 0, body); None to behave.
    """

    def __init__(self, respond: Callable[[Body], Fault], fault: Callable[[int, Body], Fault | None]) -> None:
        self.respond, self.fault = respond, fault
        self.bodies: list[Body] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""

    def take(self, body: Body, key: str | None) -> Fault:
        """Answer one request."""
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.keys.append(key)
            self.times.append(time.monotonic())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            fault = self.fault(number, body) or self.respond(body)
            time.sleep(fault.stall_s)
            return fault
        finally:
            with self.lock:
                self.at_once -= 1


def behave(number: int, body: Body) -> Fault | None:
    """No fault at all."""
    return None


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up, which those with a short timeout do."""


@contextlib.contextmanager
def serve(answer: Callable[[Body], str], fault: Callable[[int, Body], Fault | None] = behave) -> Iterator[Server]:
    """Run a chat server on a free port of this machine; `answer` is what the model says to a request's body."""
    with serve_path("/v1/chat/completions", lambda body: Fault(text=completion(answer(body))), fault) as server:
        yield server


@contextlib.contextmanager
def serve_path(
    path: str,
    respond: Callable[[Body], Fault],
    fault: Callable[[int, Body], Fault | None] = behave,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Run a server that knows one path on a free port of this machine; over https where it is given certificates."""
    server = Server(respond, fault)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = server.take(body, self.headers["Authorization"])
            self.close_connection = fault.cut or fault.status is None
            if self.path != path:
                fault = Fault(404, "no such path")
            if fault.status is None:
                return
            content = fault.text.encode() if fault.audio is None else fault.audio
            self.send_response(fault.status)
            self.send_header("Content-Type", fault.content_type)
            self.send_header("Content-Length", str(len(content) + 100 * fault.cut))
            for name, value in fault.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    http = _Http(("127.0.0.1", 0), Handler)
    if tls is not None:
        # The handshake is made when the request is read, in its own thread.
        http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
