"""The telephone band: 300 to 3400 Hz, sampled at 8 kHz (ITU-T G.712). What the line does to the bits is `coding`'s."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform, resample
from anytalk.synth.fingerprint import Fingerprint

from .contract import Done

RATE_HZ = 8_000
BAND_HZ = (300.0, 3_400.0)
TAPS = 255
"""Of the filter, 32 ms: it is 6 dB down at the edges of the band, and 50 dB from 100 Hz outside of it on."""


@dataclass(frozen=True)
class Telephone:
    """Leave the band that a telephone carries."""

    def apply(self, waveform: Waveform, rate_hz: int, rng: np.random.Generator) -> tuple[Waveform, Done]:
        """See `Step.apply`; the filter is symmetric, so that nothing moves."""
        from scipy.signal import fftconvolve  # half a second, which only those wait for who telephone

        narrow = resample(waveform, rate_hz, RATE_HZ)
        delay = TAPS // 2
        passed = fftconvolve(narrow.astype(np.float64), _band_pass())[delay : delay + len(narrow)]
        return to_length(resample(passed.astype(np.float32), RATE_HZ, rate_hz), len(waveform)), {"step": "telephone"}

    @property
    def fingerprint(self) -> Fingerprint:
        """Nothing."""
        return {}


@cache
def _band_pass() -> NDArray[np.float64]:
    from scipy.signal import firwin

    taps: NDArray[np.float64] = firwin(TAPS, BAND_HZ, pass_zero=False, fs=RATE_HZ)
    return taps


def to_length(waveform: Waveform, samples: int) -> Waveform:
    """Cut the end off, or add silence there: what has been through another rate is a sample longer or shorter."""
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
