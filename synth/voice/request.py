"""The contract of a voice: `SpeakRequest` in, waveforms out; and the checks around every engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from anytalk.synth.audio import Waveform, check_waveform, resample
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint, engine_fingerprint

from .terms import Terms

SPEED_RANGE = (0.5, 2.0)
PITCH_RANGE = (0.8, 1.25)

RENDERING = 1
"""Raised with any change in this folder that gives other bytes from the same engine and weights."""

SILENT_PEAK = 1e-4
"""An engine whose loudest sample is below this (-80 dB of full scale) has said nothing."""


@dataclass(frozen=True)
class SpeakRequest:
    """One text to say, with seed, speed and pitch.

    Pitch works the same for every engine: the engine speaks at speed / pitch, and the result is resampled by
    `pitch`, which brings the tempo back to `speed`. Formants move with the fundamental, so the result sounds like
    another speaker: more variety from few voices.

    Attributes:
        text: what to say, already speakable.
        seed: of the engine's random numbers, 0 <= seed < 2**64; the same request gives the same bytes.
        speed: tempo against the engine's own, 0.5 to 2. Engines follow it on average over sentences, not
            exactly.
        pitch: ratio of frequencies against the engine's own, 0.8 to 1.25.

    Raises:
        ValueError: if `seed`, `speed` or `pitch` is out of range.
    """

    text: str
    seed: int
    speed: float = 1.0
    pitch: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed must be 0 or more and below 2**64; got {self.seed}")
        for name, value, (low, high) in (
            ("speed", self.speed, SPEED_RANGE),
            ("pitch", self.pitch, PITCH_RANGE),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low:g} to {high:g}; got {value:g}")


class Voice(Protocol):
    """A text-to-speech voice. Load one with `load_voice`."""

    @property
    def name(self) -> str:
        """The name that `load_voice` takes, such as `hibari:heart`."""

    @property
    def language(self) -> str:
        """BCP-47 tag of the language it speaks; `mul` if it speaks many."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of what it returns."""

    @property
    def terms(self) -> Terms:
        """Licence, source and consent."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Engine, version and SHA-256 of the weights: while it stays the same, so do the bytes."""

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Waveform | SampleError]:
        """Synthesise a batch of texts.

        A text that cannot be said does not fail the batch: its place in the list holds the error.

        Args:
            requests: what to say.

        Returns:
            For each request a waveform at `sample_rate_hz`, or `SampleError("unspeakable_text", ...)`.

        Raises:
            EngineError: the engine itself failed.
        """


def voice_fingerprint(distribution: str, **sources: Path) -> Fingerprint:
    """Name a voice's engine, its version, its files (see `engine_fingerprint`), and what this folder makes of them."""
    return {**engine_fingerprint(distribution, **sources), "rendering": str(RENDERING)}


SpeakOne = Callable[[str, int, float], Waveform]
"""An engine's own part: (text, seed, speed) to a waveform, empty if the text gives no speech."""


def speak_each(requests: Sequence[SpeakRequest], speak_one: SpeakOne, rate_hz: int) -> list[Waveform | SampleError]:
    """Synthesise requests one by one: the body of `Voice.speak` of every engine in process. Pitch is applied here.

    Args:
        requests: what to say.
        speak_one: the engine; the speed that it gets lies between 0.4 and 2.5.
        rate_hz: rate of the engine's waveforms.

    Returns:
        As `Voice.speak`.
    """
    return [_speak_or_error(request, speak_one, rate_hz) for request in requests]


def _speak_or_error(request: SpeakRequest, speak_one: SpeakOne, rate_hz: int) -> Waveform | SampleError:
    try:
        check_speakable(request.text)
        waveform = speak_one(request.text, request.seed, request.speed / request.pitch)
        return finished(request, waveform, rate_hz)
    except SampleError as error:
        # Without its traceback: that would keep the batch's waveforms alive.
        return error.with_traceback(None)


def finished(request: SpeakRequest, waveform: Waveform, rate_hz: int) -> Waveform:
    """Check an engine's waveform at speed / pitch, and resample it to the pitch of the request.

    Raises:
        SampleError: the engine said nothing, or what it said is no waveform.
    """
    if len(waveform) == 0 or float(np.max(np.abs(waveform))) < SILENT_PEAK:
        raise SampleError("unspeakable_text", f"the voice said nothing for {request.text[:80]!r}")
    check_waveform(waveform)
    return resample(waveform, rate_hz * request.pitch, rate_hz)


def check_speakable(text: str) -> None:
    """Refuse a text that no engine can say, or that would crash one.

    Args:
        text: what should be said.

    Raises:
        SampleError: `unspeakable_text`, if there is no letter or digit in it, or a character that C strings
            and UTF-8 cannot carry (NUL, half a surrogate pair).
    """
    if not any(character.isalnum() for character in text):
        raise SampleError("unspeakable_text", f"no letter or digit in {text[:80]!r}")
    broken = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
    if broken is not None:
        raise SampleError("unspeakable_text", f"the character {broken!r} in {text[:80]!r}")


def engine_speed(tempo: float, measured: Sequence[tuple[float, float]]) -> float:
    """Look up the speed setting that gives a tempo, for an engine whose tempo does not follow its setting.

    Args:
        tempo: tempo wanted, against the engine's own at speed 1.
        measured: pairs (speed asked for, tempo measured), both rising.

    Returns:
        The speed to ask for, interpolated; the first or last one measured for a tempo beyond them.
    """
    asked, got = zip(*measured, strict=True)
    return float(np.interp(tempo, got, asked))
