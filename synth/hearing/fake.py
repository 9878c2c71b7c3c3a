"""A recogniser without weights, for tests of what comes after hearing."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from anytalk.synth.audio import Waveform, as_float32
from anytalk.synth.batch import run_good
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint, sha256

from .contract import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    Context,
    Heard,
    Whisper,
    WhisperEngine,
    WhisperSettings,
    check_fits,
    check_hearable,
    feature_frames,
)
from .language import knows_only_english, refuse_unknown


class FakeWhisper:
    """Looks transcripts up by the length of the sound, and makes features of its energy.

    Args:
        texts: what to hear, by length in samples at 16 kHz; the nearest length counts. Empty: nothing is heard.
        feature_width: D.
        language: Whisper code of what it hears where it is told no other.
        only_english: whether it refuses other languages.
        context: stands in the fingerprint, and changes nothing else.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(
        self,
        texts: Mapping[int, str] | None = None,
        feature_width: int = 4,
        language: str = "en",
        only_english: bool = False,
        context: Context = "full",
    ) -> None:
        self._texts = dict(sorted((texts or {}).items()))
        self.feature_width, self.language, self.context = feature_width, language, context
        self._only_english = only_english
        self.name = "fake.en" if only_english else "fake"
        self.require([language])

    @property
    def fingerprint(self) -> Fingerprint:
        """The table, the width, and the context if it is short."""
        table = sha256(repr(self._texts).encode())
        context = {} if self.context == "full" else {"context": self.context}
        return {"model": self.name, "table_sha256": table, "feature_width": str(self.feature_width), **context}

    def require(self, languages: Iterable[str]) -> None:
        """See `Whisper.require`."""
        refuse_unknown(languages, self._check)

    def _check(self, language: str) -> None:
        if self._only_english and language != "en":
            raise knows_only_english(self.name, language)

    def listen(
        self, waveforms_16k: Sequence[Waveform], languages: Sequence[str] | None = None
    ) -> list[Heard | SampleError]:
        """See `Whisper.listen`; feature d of a frame is its energy to the power 1 / (d + 1)."""
        self.require(languages or [])
        return run_good(
            [*map(as_float32, waveforms_16k)],
            check_fits,
            lambda good: [Heard(self._text(waveform), self._features(waveform)) for waveform in good],
        )

    def features(self, waveforms_16k: Sequence[Waveform]) -> list[np.ndarray | SampleError]:
        """See `Whisper.features`."""
        return run_good([*map(as_float32, waveforms_16k)], check_fits, lambda good: [*map(self._features, good)])

    def transcribe(
        self, waveforms_16k: Sequence[Waveform], languages: Sequence[str] | None = None
    ) -> list[Heard | SampleError]:
        """See `Whisper.transcribe`."""
        self.require(languages or [])
        return run_good(
            [*map(as_float32, waveforms_16k)],
            check_hearable,
            lambda good: [Heard(self._text(waveform)) for waveform in good],
        )

    def _text(self, waveform: Waveform) -> str:
        nearest = min(self._texts, key=lambda samples: abs(samples - len(waveform)), default=None)
        return "" if nearest is None else self._texts[nearest]

    def _features(self, waveform: Waveform) -> np.ndarray:
        frames = feature_frames(len(waveform))
        padded = np.zeros(frames * FRAME_SAMPLES, dtype=np.float32)
        padded[: len(waveform)] = waveform[: len(padded)]
        energy = np.square(padded.reshape(frames, FRAME_SAMPLES)).mean(axis=1)
        powers = 1 / np.arange(1, self.feature_width + 1, dtype=np.float32)
        return np.power(energy[:, None], powers).astype(np.float16)


def _load(spec: str, settings: WhisperSettings) -> Whisper:
    only_english = settings.name == "fake.en"
    return FakeWhisper(language=settings.language, only_english=only_english, context=settings.context)


ENGINE = WhisperEngine(load=_load)
