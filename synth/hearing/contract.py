"""What every hearing engine takes and gives: Whisper's states and its transcript from one encoder pass.

The frame rule is Mini-Omni's (https://github.com/gpt-omni/mini-omni, `load_audio` in `inference.py`): the encoder
always sees 30 seconds, and of its 1,500 states the first `int(duration_ms / 20) + 1` are kept. In the short context it
sees the window that a transcript takes (`window`), and as many states are kept.

Shapes: T = frames of 20 ms, D = width of the encoder.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform, check_waveform
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 320  # one state of the encoder: two mel hops of 160 samples, 20 ms
CONTEXT_SAMPLES = 30 * SAMPLE_RATE_HZ
CONTEXT_FRAMES = CONTEXT_SAMPLES // FRAME_SAMPLES  # 1500

Context = Literal["full", "short"]
"""What the encoder is shown when it makes features: 30 seconds, as in Mini-Omni, or a window that fits the speech."""


@dataclass(frozen=True)
class Heard:
    """One utterance as the recogniser heard it.

    Args:
        text: the transcript, without leading or trailing blanks; empty if nothing was heard.
        features: encoder states (T, D), float16, in the recogniser's context; None where they were not kept.
        language_probability: that the language which it was asked to hear is the one that is spoken, of all that the
            model knows; None for a model that knows only English, or does not say.
    """

    text: str
    features: NDArray[np.float16] | None = None
    language_probability: float | None = None


class Whisper(Protocol):
    """A recogniser of the Whisper family. It is deterministic: the same waveforms give the same bytes."""

    @property
    def name(self) -> str:
        """The name that `load_whisper` was given."""

    @property
    def language(self) -> str:
        """Language that it hears where it is told no other, a Whisper code such as `en`."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waveforms it takes: 16,000 Hz."""

    @property
    def feature_width(self) -> int:
        """D, the width of the features."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that can change a byte: model, hash of weights, compute type, engine, threads, GPU, context."""

    def require(self, languages: Iterable[str]) -> None:
        """See that it knows languages, before it is asked to hear them.

        Args:
            languages: BCP-47 tags.

        Raises:
            SetupError: it does not know some; one line for each.
        """

    def listen(
        self, waveforms_16k: Sequence[Waveform], languages: Sequence[str] | None = None
    ) -> list[Heard | SampleError]:
        """Give features and transcript of each waveform from exactly one encoder pass.

        Args:
            waveforms_16k: float32, mono, at 16 kHz.
            languages: BCP-47 tag of each waveform; None for its own language. Features do not depend on it.

        Returns:
            One entry a waveform, in order. One that cannot be heard gives its SampleError: `too_long` over 30 seconds,
            `not_mono`, `not_float`, or `nan_audio` for a sample that is not finite. One without samples holds no words.
        """

    def features(self, waveforms_16k: Sequence[Waveform]) -> list[np.ndarray | SampleError]:
        """Give the features alone, those of `listen` bit for bit, in less time.

        Args:
            waveforms_16k: float32, mono, at 16 kHz.

        Returns:
            One (T, D) float16 array a waveform, in order; the errors are those of `listen`.
        """

    def transcribe(
        self, waveforms_16k: Sequence[Waveform], languages: Sequence[str] | None = None
    ) -> list[Heard | SampleError]:
        """Give the transcripts without features, from windows no longer than each waveform needs.

        Args:
            waveforms_16k: float32, mono, at 16 kHz, of any length.
            languages: BCP-47 tag of each waveform; None for its own language.

        Returns:
            One entry a waveform, in order; the errors are those of `listen`, but no waveform is too long. Where one was
            cut, the language is that of its doubtful piece.
        """


@dataclass(frozen=True)
class WhisperSettings:
    """How a recogniser is loaded; see `load_whisper`.

    Attributes:
        name: what `load_whisper` was asked for; the recogniser's own name.
        language: Whisper code of what it hears where it is told no other.
        compute_type: arithmetic of the features.
        text_compute_type: arithmetic where only text is wanted; None for the same.
        context: what the encoder is shown when it makes features.
        cpu_threads: of one pass.
        device: where it computes, as it was asked for; see `synth.device.resolve`.
    """

    name: str
    language: str = "en"
    compute_type: str = "float32"
    text_compute_type: str | None = None
    context: Context = "full"
    cpu_threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class WhisperEngine:
    """One engine. Its file holds one of these as `ENGINE`, and imports without the packages of an extra.

    Attributes:
        load: loads a recogniser by its SPEC, which is what follows `ENGINE:` in its name. Raises `MissingExtra` where
            the engine is not installed, and `SetupError` where there is no such model, its files are not in order, or
            it does not know the language.
        known: lists recognisers for `anytalk doctor`, without loading one.
        compute_types: all that it computes in; None where its library decides.
    """

    load: Callable[[str, WhisperSettings], Whisper]
    known: Callable[[], Sequence[EngineInfo]] = tuple
    compute_types: Sequence[str] | None = None


def feature_frames(samples: int) -> int:
    """Count the encoder states that belong to a waveform of that many samples at 16 kHz.

    >>> feature_frames(0), feature_frames(16_000), feature_frames(480_000)
    (1, 51, 1500)
    """
    return min(CONTEXT_FRAMES, samples // FRAME_SAMPLES + 1)


def check_hearable(waveform_16k: Waveform) -> None:
    """Raise unless a waveform can be heard; one without samples can.

    Raises:
        SampleError: `not_float`, `not_mono` or `nan_audio`.
    """
    check_waveform(waveform_16k, may_be_empty=True)


def check_fits(waveform_16k: Waveform) -> None:
    """Raise unless a waveform can be heard in one encoder pass, which sees 30 seconds.

    Raises:
        SampleError: `not_float`, `not_mono`, `nan_audio` or `too_long`.
    """
    check_hearable(waveform_16k)
    if len(waveform_16k) > CONTEXT_SAMPLES:
        length_s = len(waveform_16k) / SAMPLE_RATE_HZ
        raise SampleError("too_long", f"{length_s:.2f} s of speech; the encoder hears at most 30 s at once")
