"""Starting a server: what it needs is loaded, its socket bound, and uvicorn runs it until it is told to stop."""

import os
import socket
from pathlib import Path

import torch
import uvicorn
from starlette.types import ASGIApp

from anytalk.recipes.talk import Talker
from anytalk.synth.errors import SetupError
from anytalk.synth.judge.vad import SileroVad

from .archive import Archive
from .connections import WebSocketProtocol, http_protocol
from .engine import Engine
from .house import House
from .limits import Limits
from .metrics import Metrics

STOP_S = 5
"""For which a stopping server waits for requests that are being answered."""


def leave_a_core() -> None:
    """Keep torch off one core, which Whisper and the connections work on, unless OMP_NUM_THREADS says how many it gets.

    A step takes a few milliseconds, and its threads wait for each other many times in it: where one of them has to
    share its core, all do.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))


def open_house(
    talker: Talker, limits: Limits, *, name: str, context_turns: int | None = None, save: Path | None = None
) -> House:
    """Start what the sessions of a server share.

    Args:
        talker: answers.
        limits: of sessions and answers.
        name: the model's, as clients see it.
        context_turns: earlier turns that a question gets; as many as the model was trained with when None.
        save: folder to write what is said to; None for nowhere.

    Raises:
        SetupError: the folder cannot be made, or this model cannot be served.
    """
    archive = Archive(save) if save is not None else None
    metrics = Metrics()
    try:
        engine = Engine(talker, answers=limits.sessions, waiting=limits.waiting, finished=metrics.told)
    except ValueError as error:
        raise SetupError(str(error)) from error
    turns = talker.model.config.context_turns if context_turns is None else context_turns
    return House(engine, SileroVad(), limits, name, metrics, turns, archive)


def bound(host: str, port: int) -> socket.socket:
    """Bind and listen.

    Raises:
        SetupError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise SetupError(f"cannot listen on {host}:{port}: {error.strerror}; give another --host or --port") from error


def server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """Make a server; `run(sockets=[...])` runs it until a signal, or until its `should_exit` is set."""
    config = uvicorn.Config(
        app,
        http=http_protocol(limits),
        ws=WebSocketProtocol,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,  # base64 of sound gains a fifth, and costs more time than it saves
        limit_concurrency=None,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STOP_S,
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    return uvicorn.Server(config)


def address(listening: socket.socket) -> str:
    """Give a socket's URL."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
