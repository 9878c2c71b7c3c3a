"""What is on its way to a client: sent in order by one task, and bounded, so that a slow reader costs little memory."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable

from anytalk.recipes.serve.errors import new_id

from .protocol import Event


class Stalled(Exception):
    """The client does not read what it is sent."""


class Outbox:
    """Events of one session.

    Args:
        send: sends a text, and waits while the client's connection is full.
        unsent_bytes: what may wait.
        stalled_s: how long one event may take.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]], unsent_bytes: int, stalled_s: float) -> None:
        self._send, self._most_bytes, self._stalled_s = send, unsent_bytes, stalled_s
        self._waiting: deque[str] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        """Take an event; it gets an id."""
        text = json.dumps({"event_id": new_id("event"), **event})
        self._waiting.append(text)
        self._bytes += len(text)
        self._changed.set()

    def close(self) -> None:
        """Let `run` end once all is sent."""
        self._closed = True
        self._changed.set()

    async def run(self) -> None:
        """Send until `close`.

        Raises:
            Stalled: too much waits, or one event took too long.
        """
        while self._waiting or not self._closed:
            if not self._waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            if self._bytes > self._most_bytes:
                raise Stalled(f"{self._bytes} bytes wait for a client that does not read them")
            text = self._waiting.popleft()
            try:
                await asyncio.wait_for(self._send(text), self._stalled_s)
            except TimeoutError:
                raise Stalled(f"a client has read nothing for {self._stalled_s:g} s") from None
            self._bytes -= len(text)
