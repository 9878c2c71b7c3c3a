"""What a step of an augmentation takes and gives."""

from typing import Protocol, TypeAlias

import numpy as np

from anytalk.synth.audio import Waveform
from anytalk.synth.fingerprint import Fingerprint

Range: TypeAlias = tuple[float, float]
"""Smallest and largest value, both included; values between are equally likely."""

Done: TypeAlias = dict[str, str | float]
"""What a step did: its name under `step`, and everything that it drew."""


class Step(Protocol):
    """One change. It draws from the generator that it is given and from nothing else."""

    def apply(self, waveform: Waveform, rate_hz: int, rng: np.random.Generator) -> tuple[Waveform, Done]:
        """Change a waveform.

        Args:
            waveform: float32, mono.
            rate_hz: its rate.
            rng: where chance comes from.

        Returns:
            The changed waveform at the same rate, and what was done.

        Raises:
            SampleError: this waveform and this draw do not go together.
        """

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything outside of the step's own values that can change a byte: files, programs; empty for none."""


def draw(rng: np.random.Generator, bounds: Range, decimals: int) -> float:
    """Draw from a range and round, so that the value which is written down is the one that was used."""
    return round(float(rng.uniform(*bounds)), decimals)
