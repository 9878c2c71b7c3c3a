"""What the two engines of judgement take and give. Both work at 16 kHz."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from anytalk.synth.audio import Waveform, check_waveform
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint

SAMPLE_RATE_HZ = 16_000

SHORTEST_SPEECH_S = 0.25
"""A shorter stretch is no speech, unless somebody asks for single words too."""

Span = tuple[float, float]
"""Start and end of a stretch of speech, in seconds."""


class Mos(Protocol):
    """Guesses how listeners would rate the sound."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that can change a score: weights, engine, version, scale."""

    def score(self, waveforms_16k: Sequence[Waveform]) -> list[float | SampleError]:
        """Guess the mean opinion score of each utterance.

        Args:
            waveforms_16k: float32, mono, at 16 kHz.

        Returns:
            One entry an utterance, in order: its score, from about 1 (bad) to 5 (excellent), which does not depend on
            the others; for one that cannot be judged its SampleError, `not_mono`, `not_float`, or `nan_audio` for a
            sample that is not finite. One without samples is scored as silence.
        """


class Vad(Protocol):
    """Finds where somebody speaks."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that can change a span: weights, engine, version."""

    def speech_spans(self, waveform_16k: Waveform, shortest_s: float = SHORTEST_SPEECH_S) -> list[Span]:
        """Find the stretches of speech.

        Args:
            waveform_16k: float32, mono, at 16 kHz.
            shortest_s: shorter ones are taken for noise.

        Returns:
            Starts and ends in seconds, in order, not overlapping; none where nobody speaks, or without samples.

        Raises:
            SampleError: it cannot be judged; see `Mos.score`.
        """


@dataclass(frozen=True)
class JudgeEngine:
    """What one file has to judge with. It holds one of these as `ENGINE`.

    Attributes:
        mos: loads a judge of how an utterance sounds, by its name in the table and the device that was asked for (see
            `synth.device`). Raises `SetupError` where its files are not there, or the device cannot be had.
        vad: loads a detector of speech, likewise.
        known: lists them for `anytalk doctor`, without loading one.
    """

    mos: Callable[[str, str], Mos] | None = None
    vad: Callable[[str, str], Vad] | None = None
    known: Callable[[], Sequence[EngineInfo]] = tuple


def check_judged(waveform_16k: Waveform) -> None:
    """Raise unless a waveform can be judged; one without samples can.

    Raises:
        SampleError: `not_float`, `not_mono` or `nan_audio`.
    """
    check_waveform(waveform_16k, may_be_empty=True)
