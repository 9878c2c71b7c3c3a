"""Numbers that a device is still computing, read once they are there."""

import torch
from torch import Tensor


class LateNumbers:
    """The values of a small tensor: on their way to this side when this is made, and waited for when they are read.

    Asking a GPU for a number at once waits for all that it was given before, and leaves it idle until more is given.

    Args:
        values: on any device; not changed afterwards.
    """

    def __init__(self, values: Tensor) -> None:
        self._there: torch.cuda.Event | None = None
        self._values = values
        if values.is_cuda:
            self._values = torch.empty_like(values, device="cpu", pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record()

    def read(self) -> list[float]:
        """Wait for the values, and for nothing that the device was given later."""
        if self._there is not None:
            self._there.synchronize()
        found: list[float] = self._values.tolist()
        return found
