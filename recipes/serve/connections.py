"""How uvicorn holds its connections, made so that nobody holds one by doing nothing."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .limits import Limits


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, but a client that does not read cannot keep its connection once its session is over."""

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """Close without waiting for a buffer that does not empty."""
        super().on_task_complete(task)
        if not self.writable.is_set():
            self.transport.abort()


def http_protocol(limits: Limits) -> type[H11Protocol]:
    """Make a protocol: uvicorn's, but who sends no request, or does not read its answer, is hung up on.

    Args:
        limits: how long each of the two may take.
    """

    class HttpProtocol(H11Protocol):
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.loop.call_later(limits.head_s, self._hang_up_unasked)

        def _hang_up_unasked(self) -> None:
            if self.cycle is None and self.transport.get_protocol() is self:  # neither a request nor a WebSocket
                self.transport.abort()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(limits.stalled_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stalled is not None:
                self._stalled.cancel()

    return HttpProtocol
