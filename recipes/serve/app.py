"""The server as one ASGI application: the page, the Realtime WebSocket, the HTTP endpoints, health and metrics."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from anytalk.synth.errors import AnyTalkError

from .errors import Full, ProtocolError, error_body
from .guard import Guard
from .house import House
from .http import Endpoints, refusal
from .limits import Limits
from .metrics import CONTENT_TYPE
from .realtime import Session, Stalled

LOG = logging.getLogger("anytalk.serve")

TRY_AGAIN_LATER, POLICY, FAILED = 1013, 1008, 1011
"""Close codes of WebSockets (https://www.iana.org/assignments/websocket)."""


def application(house: House, guard: Guard) -> Starlette:
    """Make the application.

    Args:
        house: what its sessions share; its engine is closed when the application shuts down.
        guard: decides who may connect.
    """

    async def health(request: Request) -> Response:
        engine = house.engine
        return JSONResponse(
            {
                "status": "ok",
                "model": house.model,
                "sessions": guard.sessions.taken,
                "most_sessions": guard.sessions.most,
                "running": engine.running,
                "waiting": engine.queued,
            }
        )

    async def models(request: Request) -> Response:
        model = {"id": house.model, "object": "model", "created": 0, "owned_by": "anytalk"}
        return JSONResponse({"object": "list", "data": [model]})

    async def metrics(request: Request) -> Response:
        return Response(house.metrics.text(), media_type=CONTENT_TYPE)

    async def realtime(socket: WebSocket) -> None:
        offered = socket.scope.get("subprotocols", [])
        await socket.accept("realtime" if "realtime" in offered else None)
        beta = "openai-beta" in socket.headers or "openai-beta.realtime-v1" in offered
        try:
            with guard.sessions.one():
                await converse(house, socket, beta=beta)
        except Full as error:
            await socket.send_json({"type": "error", "error": error_body(error)})
            await socket.close(TRY_AGAIN_LATER, "server full")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(house.engine.close)

    house.metrics.watch(house.engine, guard)
    endpoints = Endpoints(house)
    routes = [
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/v1/chat/completions", endpoints.chat, methods=["POST"]),
        Route("/v1/audio/speech", endpoints.speech, methods=["POST"]),
        Route("/v1/audio/transcriptions", endpoints.transcription, methods=["POST"]),
        Route("/v1/models", models),
        WebSocketRoute("/v1/realtime", realtime),
        Mount(
            "/", StaticFiles(directory=Path(str(files("anytalk.recipes.serve") / "page")), check_dir=False, html=True)
        ),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    if guard.origins:
        app.add_middleware(CORSMiddleware, allow_origins=[*guard.origins], allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(Checked, guard=guard, limits=house.limits)
    return app


class Checked:
    """Middleware: refuses what the guard refuses.

    Args:
        app: answers the rest.
        guard: decides.
        limits: of a request's body.
    """

    def __init__(self, app: ASGIApp, guard: Guard, limits: Limits) -> None:
        self._app, self._guard, self._limits = app, guard, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it pass."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = Request(scope) if scope["type"] == "http" else WebSocket(scope, receive, send)
        refused = self._guard.refusal(connection)
        takes_token = scope["path"].startswith("/v1/") or scope["path"] == "/metrics"
        if refused is None and takes_token and self._guard.lacks_token(connection):
            refused = 401, "give the server's token: Authorization: Bearer TOKEN"
        if refused is None:
            await self._let_pass(scope, receive, send)
            return
        status, message = refused
        error = {"type": "invalid_request_error", "code": "refused", "message": message, "param": None}
        response = JSONResponse({"error": error}, status)
        if isinstance(connection, WebSocket):
            await connection.send_denial_response(response)
        else:
            await response(scope, receive, send)

    async def _let_pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            with self._guard.posts.one():
                await self._app(scope, self._bounded(receive), send)
        except Full as error:
            await refusal(error)(scope, receive, send)

    def _bounded(self, receive: Receive) -> Receive:
        """Refuse a body that grows too long, whatever its headers claim, or comes too slowly."""
        ends_s = time.monotonic() + self._limits.body_s
        taken, is_whole = 0, False

        async def bounded() -> Message:
            nonlocal taken, is_whole
            try:
                message = await asyncio.wait_for(receive(), None if is_whole else ends_s - time.monotonic())
            except TimeoutError:
                raise HTTPException(408, f"a request is sent in {self._limits.body_s:g} s at most") from None
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if taken > self._limits.body_bytes:
                    raise HTTPException(413, f"a request has {self._limits.body_bytes} bytes at most")
            return message

        return bounded


async def converse(house: House, socket: WebSocket, *, beta: bool) -> None:
    """Talk with one client until it goes, its time is over, or it reads nothing any more."""
    session = Session(house, socket.send_text, beta=beta)
    session.begin()
    writing = asyncio.create_task(session.outbox.run())
    reading = asyncio.create_task(_read(house, socket, session))
    try:
        await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
        goodbye = None if writing.done() else _goodbye(reading)
        if goodbye is not None:  # the client is still there: it is told why this ends
            session.fail(goodbye)
            session.end()
            session.outbox.close()
            await asyncio.wait_for(writing, house.limits.stalled_s)
            await socket.close(POLICY if isinstance(goodbye, ProtocolError) else FAILED)
    except (Stalled, TimeoutError):
        pass
    finally:
        session.end()
        for task in (writing, reading):
            task.cancel()
        await asyncio.gather(writing, reading, return_exceptions=True)


def _goodbye(reading: "asyncio.Task[ProtocolError | None]") -> AnyTalkError | None:
    """Say why reading ended, if the client is still there."""
    error = reading.exception()
    if error is None:
        return reading.result()
    LOG.error("a session failed", exc_info=error)
    return AnyTalkError(f"the session failed: {type(error).__name__}")


async def _read(house: House, socket: WebSocket, session: Session) -> ProtocolError | None:
    """Take a client's messages until it is gone, or until its time is over: then say so."""
    limits = house.limits
    ends_s = time.monotonic() + limits.session_s
    while True:
        left_s = ends_s - time.monotonic()
        try:
            message = await asyncio.wait_for(socket.receive(), min(limits.idle_s, left_s))
        except TimeoutError:
            if left_s <= limits.idle_s:
                return ProtocolError(
                    f"a session lasts {limits.session_s:g} s at most; connect again", "session_expired"
                )
            return ProtocolError(f"nothing was heard for {limits.idle_s:g} s; connect again", "session_idle")
        if message["type"] == "websocket.disconnect":
            return None
        if message.get("text") is None:
            session.fail(ProtocolError("messages are JSON text, not bytes", "invalid_event"))
        else:
            await session.receive(message["text"])
