"""A voice of tones, for tests of what comes after a voice."""

import time
from collections.abc import Sequence

import numpy as np

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint, sha256
from anytalk.synth.language import MANY

from .engine import VoiceEngine
from .request import RENDERING, SpeakRequest, speak_each
from .terms import NO_SPEAKER, Terms

SECONDS_PER_CHARACTER = 0.06
"""About the pace of English speech: 17 characters a second."""


class FakeVoice:
    """Says every text as one tone: its pitch follows the name, its length the text.

    Args:
        name: the part after `fake:`; it decides the tone, 100 to 300 Hz.
        refuses: a text with this in it is answered with `SampleError("unspeakable_text", ...)`.
        sample_rate_hz: rate of the tone.
        wait_s: how long it takes for each text, without using the processor.
    """

    language = MANY
    terms = Terms("Apache-2.0", "a tone", NO_SPEAKER)

    def __init__(
        self,
        name: str = "tone",
        *,
        refuses: str = "[unspeakable]",
        sample_rate_hz: int = 24_000,
        wait_s: float = 0.0,
    ) -> None:
        self.name = f"fake:{name}"
        self.sample_rate_hz = sample_rate_hz
        self._refuses = refuses
        self._wait_s = wait_s
        self._tone_hz = 100 + int(sha256(name.encode())[:4], 16) % 201

    @property
    def fingerprint(self) -> Fingerprint:
        """The name and all that shapes the tone."""
        return {
            "engine": "fake",
            "tone_hz": str(self._tone_hz),
            "sample_rate_hz": str(self.sample_rate_hz),
            "refuses": self._refuses,
            "rendering": str(RENDERING),
        }

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Waveform | SampleError]:
        """See `Voice.speak`; the seed decides the tone's phase."""
        return speak_each(requests, self._speak_one, self.sample_rate_hz)

    def _speak_one(self, text: str, seed: int, speed: float) -> Waveform:
        time.sleep(self._wait_s)
        if self._refuses in text:
            return np.zeros(0, np.float32)
        samples = round(len(text) * SECONDS_PER_CHARACTER / speed * self.sample_rate_hz)
        phase = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi)
        time_s = np.arange(samples) / self.sample_rate_hz
        tone = 0.3 * np.sin(2.0 * np.pi * self._tone_hz * time_s + phase) * np.hanning(samples)
        return tone.astype(np.float32)


def _load(spec: str) -> FakeVoice:
    """The voice of a name; `wait/SECONDS` waits that long for each text and refuses it, for benchmarks of the rest."""
    name, _, seconds = spec.partition("/")
    return FakeVoice(name, refuses="", wait_s=float(seconds)) if seconds else FakeVoice(name)


ENGINE = VoiceEngine(forms=("fake:WORD",), load=lambda spec, _, __: _load(spec), language=lambda _, __: MANY)
