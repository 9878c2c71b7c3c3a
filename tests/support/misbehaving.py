"""An endpoint that misbehaves on purpose, over real sockets: a chat endpoint, unless told to be another."""

import contextlib
import dataclasses
import itertools
import json
import re
import ssl
import threading
import time
from collections import Counter
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
        pieces: the body in pieces, which are sent one by one without a length.
    """

    status: int | None = 200
    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    stall_s: float = 0.0
    cut: bool = False
    audio: bytes | None = None
    content_type: str = "application/json"
    pieces: tuple[bytes, ...] | None = None


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


def shaped(said: Any, *, place: str = "content", usage: Any = None, **choice: Any) -> Fault:
    """A chat completion in the shape of some server."""
    message = {"role": "assistant", "content": None} | {place: said}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"} | choice]
    return Fault(text=json.dumps({"model": "tiny-1", "choices": choices, "usage": usage}))


def _curly(said: str, opening: str = "\u201d", closing: str = "\u201d") -> str:
    marks = itertools.cycle([opening, closing])
    return re.sub('"', lambda _: next(marks), said)


def _turn(said: str) -> dict[str, str]:
    turn: dict[str, str] = json.loads(said)["turns"][0]
    return turn


HABITS: dict[str, Callable[[str], Fault]] = {
    "usage empty": lambda said: shaped(said, usage={}),
    "usage partial": lambda said: shaped(said, usage={"prompt_tokens": 8, "total_tokens": 8}),
    "usage nulls": lambda said: shaped(said, usage={"prompt_tokens": None, "completion_tokens": None}),
    "usage of texts": lambda said: shaped(said, usage={"prompt_tokens": "8", "completion_tokens": "9"}),
    "usage a list": lambda said: shaped(said, usage=[8, 9]),
    "in reasoning_content": lambda said: shaped(said, place="reasoning_content"),
    "in reasoning": lambda said: shaped(said, place="reasoning"),
    "parts": lambda said: shaped([{"type": "text", "text": said}]),
    "parts with thinking": lambda said: shaped(
        [{"type": "thinking", "thinking": "Hm {"}, {"type": "text", "text": said}]
    ),
    "parts that are texts": lambda said: shaped([said[:9], said[9:]]),
    "no finish_reason": lambda said: shaped(said, finish_reason=None),
    "byte order mark": lambda said: dataclasses.replace(shaped(said), text="\ufeff\n" + shaped(said).text),
    "thinking": lambda said: shaped(f'<think>Perhaps {{"turns": []}}? No.</think>\n\n{said}'),
    "thinking that opened in the prompt": lambda said: shaped(f"Let me see {{...}}.\n</think>{said}"),
    "fenced": lambda said: shaped(f"Sure, here it is:\n```json\n{said}\n```\nI hope that {{this}} helps."),
    "brace before": lambda said: shaped(f"Filled in for {{topic}} as asked: {said}"),
    "curly quotes": lambda said: shaped(_curly(said)),
    "curly quotes in pairs": lambda said: shaped(_curly(said, "\u201c", "\u201d")),
    "German quotes": lambda said: shaped(_curly(said, "\u201e", "\u201c")),
    "single quotes": lambda said: shaped(repr(json.loads(said))),
    "trailing commas": lambda said: shaped(said.replace("}]", "},]")),
    "no quotes around keys": lambda said: shaped(re.sub(r'"(\w+)":', r"\1:", said)),
    "a bracket missing": lambda said: shaped(said[:-2] + "}"),
    "a turn alone": lambda said: shaped(json.dumps(_turn(said))),
    "turns alone": lambda said: shaped(json.dumps([_turn(said)])),
    "further keys": lambda said: shaped(json.dumps({"id": 1, "turns": [_turn(said) | {"topic": "bees"}]})),
    "too many turns": lambda said: shaped(json.dumps({"turns": [_turn(said), {"question": "And?", "answer": "So."}]})),
    "cut off after enough": lambda said: shaped(said[:-2] + ', {"question": "And', finish_reason="length"),
    "cut off after more": lambda said: shaped(said[:-2] + f", {json.dumps(_turn(said))}, {{", finish_reason="length"),
}
"""Shapes of a good answer, given as JSON with one turn, that servers and models have; each is understood at once."""


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
        self.peers: set[tuple[str, int]] = set()
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


def is_probe(body: Body) -> bool:
    """Whether it is the question by which a build looks whether an endpoint is there."""
    said = body["messages"]
    return len(said) == 1 and said[0]["content"].endswith("and nothing else.")


def banned(number: int, times: int) -> tuple[Callable[[int, Body], Fault | None], Counter[Any]]:
    """Be broken for the first conversations that are asked for, each so many times; and which they are, by seed."""
    failed = Counter[Any]()

    def fault(_: int, body: Body) -> Fault | None:
        if is_probe(body) or (len(failed) == number and body["seed"] not in failed) or failed[body["seed"]] == times:
            return None
        failed[body["seed"]] += 1
        return Fault(502, "broken")

    return fault, failed


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
            server.peers.add(self.client_address)
            fault = server.take(body, self.headers["Authorization"])
            self.close_connection = fault.cut or fault.status is None
            if self.path != path:
                fault = Fault(404, "no such path")
            if fault.status is None:
                return
            content = fault.text.encode() if fault.audio is None else fault.audio
            self.send_response(fault.status)
            self.send_header("Content-Type", fault.content_type)
            if fault.pieces is None:
                self.send_header("Content-Length", str(len(content) + 100 * fault.cut))
            else:
                self.send_header("Transfer-Encoding", "chunked")
            for name, value in fault.headers:
                self.send_header(name, value)
            self.end_headers()
            for piece in (*fault.pieces, b"") if fault.pieces is not None else ():
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(content if fault.pieces is None else b"")

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
