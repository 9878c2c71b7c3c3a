"""Stop sending requests to an endpoint that keeps failing, and try now and then whether it is back."""

import contextlib
import time
from collections.abc import Callable, Iterator

from anytalk.synth.errors import EngineError

COOLDOWN_S = 30.0
LONGEST_COOLDOWN_S = 600.0


class CircuitBreaker:
    """Counts requests that fail in a row. From a threshold on, requests are refused; after a while one goes through.

    If that one succeeds, all go through again; if it fails, the next pause is twice as long.

    Args:
        threshold: failures in a row from which the endpoint counts as down.
        cooldown_s: first pause, in seconds.
        clock: gives the time, in seconds.

    Attributes:
        down: why nothing is sent; None while the endpoint is in use.
    """

    def __init__(
        self, threshold: int, cooldown_s: float = COOLDOWN_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.threshold = threshold
        self.down: str | None = None
        self._first_cooldown_s, self._clock = cooldown_s, clock
        self.reset()

    def reset(self) -> None:
        """Send all requests again, as at the start."""
        self.down = None
        self._failed_in_a_row = 0
        self._cooldown_s = self._first_cooldown_s
        self._try_at = 0.0
        self._is_trying = False

    @contextlib.contextmanager
    def watch(self) -> Iterator[Callable[[], None]]:
        """Count a block as a failure if it raises an `EngineError`, which is raised again, and else as a success.

        A block that raises `UncountedError` is neither.

        Yields:
            Raises `EndpointDownError` if the endpoint has gone down since the block began.

        Raises:
            EndpointDownError: the endpoint is down.
        """
        is_trial = self.down is not None and not self._is_trying and self._clock() >= self._try_at
        self._is_trying |= is_trial

        def refuse_if_down() -> None:
            if self.down is not None and not is_trial:
                raise EndpointDownError(self.down)

        refuse_if_down()
        try:
            yield refuse_if_down
        except EngineError as error:
            if not isinstance(error, UncountedError):
                self._count(error, is_trial)
            raise
        except BaseException as error:
            if isinstance(error, Exception):  # The endpoint answered.
                self.reset()
            raise
        else:
            self.reset()
        finally:
            self._is_trying &= not is_trial

    def _count(self, error: EngineError, is_trial: bool) -> None:
        self._failed_in_a_row += 1
        if is_trial:
            self._cooldown_s = min(2 * self._cooldown_s, LONGEST_COOLDOWN_S)
        if is_trial or (self._failed_in_a_row >= self.threshold and self.down is None):
            self.down = f"{error}; it is left alone for {self._cooldown_s:.0f} s"
            self._try_at = self._clock() + self._cooldown_s


class EndpointDownError(EngineError):
    """A request was not sent, as the endpoint is left alone for a while: nothing is wrong with the request."""


class UncountedError(EngineError):
    """A failure that says nothing about the next request."""
