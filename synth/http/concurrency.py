"""How many requests are in flight at once: the limit grows while the server keeps up, and halves when it is overloaded.

Additive increase, multiplicative decrease (AIMD) with slow start, as in TCP (https://www.rfc-editor.org/rfc/rfc5681).
"""

import asyncio
import contextlib
import datetime
import email.utils
from collections.abc import AsyncIterator

START = 4
"""Requests in flight at the start: enough to keep a small server busy, too few for a rate limit."""


class ConcurrencyLimit:
    """A limit on requests in flight that adapts to the server.

    Args:
        most: upper bound of the limit.

    Attributes:
        limit: the limit now; its whole part counts.
        active: requests in flight, or waiting for the end of a pause.
        waiting: requests that wait for a slot.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(START, most))
        self.active = 0
        self.waiting = 0
        self._changed = asyncio.Condition()
        self._decreased_at: float | None = None
        self._resume_at = 0.0

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait for a free slot and for the end of a pause; hold the slot until the block ends.

        Yields:
            When the request may be sent, by the event loop's clock.
        """
        self.waiting += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self.active < int(self.limit))
                self.active += 1
        finally:
            self.waiting -= 1
        try:
            clock = asyncio.get_running_loop().time
            while (wait_s := self._resume_at - clock()) > 0:
                await asyncio.sleep(wait_s)
            yield clock()
        finally:
            self.active -= 1
            async with self._changed:
                self._changed.notify_all()

    @property
    def load(self) -> float:
        """Requests for each one that may be in flight."""
        return (self.active + self.waiting) / self.limit

    def increase(self) -> None:
        """Raise the limit after a success: until the first decrease it doubles per round, then it grows by one."""
        grown = self.limit + (1.0 if self._decreased_at is None else 1.0 / self.limit)
        self.limit = min(float(self.most), grown)

    def decrease(self, sent: float, pause_s: float) -> None:
        """Halve the limit, because the server is overloaded.

        Requests sent before the last decrease say nothing about the new limit, so they do not lower it again.

        Args:
            sent: when the failed request was sent, by the event loop's clock.
            pause_s: how long nothing more should be sent, in seconds.
        """
        now = asyncio.get_running_loop().time()
        self._resume_at = max(self._resume_at, now + pause_s)
        if self._decreased_at is None or sent > self._decreased_at:
            self.limit = max(1.0, self.limit / 2)
            self._decreased_at = now


def retry_after_s(header: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number or a date; 0 where there is none to be read.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after

    >>> retry_after_s("1.5"), retry_after_s(None), retry_after_s("soon")
    (1.5, 0.0, 0.0)
    """
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(header or "")
    except ValueError:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
