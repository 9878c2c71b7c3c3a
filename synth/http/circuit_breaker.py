"""Stop sending requests to an endpoint that keeps failing."""

import contextlib
from collections.abc import Iterator

from anytalk.synth.errors import EngineError


class CircuitBreaker:
    """Counts failures in a row; from a threshold on, the endpoint counts as down for the rest of the run.

    Args:
        threshold: failures in a row from which the endpoint counts as down.

    Attributes:
        down: why nothing more is sent; None while the endpoint is in use.
    """

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.down: str | None = None
        self._failed_in_a_row = 0

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Count a block as a failure if it raises an `EngineError`, which is raised again, and else as a success."""
        try:
            yield
        except EngineError as error:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= self.threshold and self.down is None:
                self.down = f"{error}; nothing more is asked of it in this run"
            raise
        self._failed_in_a_row = 0
