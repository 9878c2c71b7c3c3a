"""Engines of judgement that need no weights, for tests of what comes after them."""

from collections.abc import Sequence

import numpy as np

from anytalk.synth.audio import Waveform, as_float32
from anytalk.synth.batch import run_good
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint

from .contract import SAMPLE_RATE_HZ, SHORTEST_SPEECH_S, JudgeEngine, Span, check_judged


class FakeMos:
    """Gives every utterance the same score.

    Args:
        mos: the score.
    """

    def __init__(self, mos: float = 4.0) -> None:
        self._mos = mos

    @property
    def fingerprint(self) -> Fingerprint:
        """The score."""
        return {"model": "fake", "mos": str(self._mos)}

    def score(self, waveforms_16k: Sequence[Waveform]) -> list[float | SampleError]:
        """See `Mos.score`."""
        return run_good([*map(as_float32, waveforms_16k)], check_judged, lambda good: [self._mos] * len(good))


class FakeVad:
    """Calls speech whatever lies between the first and the last sample of some loudness.

    Args:
        threshold: smallest absolute value that counts.
    """

    def __init__(self, threshold: float = 0.01) -> None:
        self._threshold = threshold

    @property
    def fingerprint(self) -> Fingerprint:
        """The threshold."""
        return {"model": "fake", "threshold": str(self._threshold)}

    def speech_spans(self, waveform_16k: Waveform, shortest_s: float = SHORTEST_SPEECH_S) -> list[Span]:
        """See `Vad.speech_spans`; at most one stretch."""
        waveform_16k = as_float32(waveform_16k)
        check_judged(waveform_16k)
        loud = np.flatnonzero(np.abs(waveform_16k) >= self._threshold)
        if len(loud) == 0:
            return []
        return [(int(loud[0]) / SAMPLE_RATE_HZ, (int(loud[-1]) + 1) / SAMPLE_RATE_HZ)]


ENGINE = JudgeEngine(mos=lambda name, device: FakeMos(), vad=lambda name, device: FakeVad())
