"""What the two engines of judgement take and give. Both work at 16 kHz."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from anytalk.synth.audio import Waveform

SAMPLE_RATE_HZ = 16_000

Span = tuple[float, float]
"""Start and end of a stretch of speech, in seconds."""


class Mos(Protocol):
    """Guesses how listeners would rate the sound."""

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Everything that can change a score: weights, engine, version, scale."""

    def score(self, waveforms_16k: Sequence[Waveform]) -> list[float]:
        """Guess the mean opinion score of each utterance.

        Args:
            waveforms_16k: float32, mono, at 16 kHz.

        Returns:
            One score an utterance, from about 1 (bad) to 5 (excellent).
        """


class Vad(Protocol):
    """Finds where somebody speaks."""

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Everything that can change a span: weights, engine, version."""

    def speech_spans(self, waveform_16k: Waveform) -> list[Span]:
        """Find the stretches of speech.

        Args:
            waveform_16k: float32, mono, at 16 kHz.

        Returns:
            Starts and ends in seconds, in order, not overlapping; none where nobody speaks.
        """
