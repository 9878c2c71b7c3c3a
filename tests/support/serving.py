"""A server in this process, on a port of its own, and clients for it."""

import base64
import contextlib
import json
import socket as sockets
import threading

import numpy as np
import openai
from websockets.sync.client import connect

from anytalk.recipes import serve
from anytalk.recipes.serve.sound import pcm_bytes

TOKEN = "test-token"


class Served:
    """What a test needs to know of a server that runs."""

    def __init__(self, house, guard, url):
        self.house, self.guard, self.url = house, guard, url
        self.websocket_url = url.replace("http", "ws", 1) + "/v1/realtime"

    @property
    def openai(self):
        websockets = self.websocket_url.removesuffix("/realtime")
        base_url = f"{self.url}/v1"
        return openai.OpenAI(api_key=TOKEN, base_url=base_url, websocket_base_url=websockets, max_retries=0, timeout=60)

    def connect(self, **options):
        return connect(self.websocket_url, **{"max_size": None, "open_timeout": 60, **options})


@contextlib.contextmanager
def serving(talker, *, origins=(), token=None, save=None, context_turns=0, send_buffer_bytes=None, **limits):
    """Serve a talker while the block runs."""
    limits = serve.Limits(**limits)
    house = serve.open_house(talker, limits, name="tiny", context_turns=context_turns, save=save)
    guard = serve.Guard("127.0.0.1", origins, token, limits.sessions, posts=limits.sessions + limits.waiting)
    listening = serve.bound("127.0.0.1", 0)
    if send_buffer_bytes is not None:  # the kernel's, for a client that does not read; megabytes else
        listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, send_buffer_bytes)
    server = serve.server(serve.application(house, guard), limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(house, guard, serve.address(listening))
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def b64(waveform):
    return base64.b64encode(pcm_bytes(waveform)).decode()


def pcm_of(deltas):
    return np.frombuffer(b"".join(base64.b64decode(delta) for delta in deltas), "<i2")


def say(socket, kind, **more):
    socket.send(json.dumps({"type": kind, **more}))


def take(socket, until, timeout_s=60):
    """Receive events up to one of some types; give them all."""
    events = []
    while not events or events[-1]["type"] not in until:
        events.append(json.loads(socket.recv(timeout_s)))
    return events


def ask(socket, text="Who are you?"):
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    say(socket, "conversation.item.create", item=item)
    say(socket, "response.create")
