"""Hibari: small English voices at 24 kHz, one of them in the wheel.

Source: https://github.com/MMWilliams/hibari (hibari-tts 0.2.1), distilled from Kokoro-82M; Apache-2.0.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.language import MANY

from .engine import Servers, VoiceEngine, VoiceInfo, unknown_voice
from .request import SpeakRequest, engine_speed, speak_each, voice_fingerprint
from .terms import KOKORO, Terms

TEMPO_MEASURED = (
    (0.4, 0.401),
    (0.44, 0.43),
    (0.45, 0.466),
    (0.46, 0.474),
    (0.565, 0.54),
    (0.575, 0.594),
    (0.65, 0.635),
    (0.7, 0.707),
    (0.79, 0.754),
    (0.795, 0.761),
    (0.8, 0.808),
    (0.805, 0.861),
    (0.815, 0.873),
    (0.85, 0.899),
    (0.875, 0.94),
    (0.95, 0.98),
    (1.0, 1.0),
    (1.1, 1.042),
    (1.2, 1.106),
    (1.3, 1.173),
    (1.32, 1.191),
    (1.33, 1.228),
    (1.34, 1.453),
    (1.35, 1.481),
    (1.4, 1.517),
    (1.6, 1.605),
    (1.75, 1.665),
    (1.98, 1.764),
    (2.02, 1.891),
    (2.1, 1.929),
    (2.25, 1.975),
    (2.5, 2.058),
    (3.0, 2.158),
    (4.0, 2.279),
)
"""Speed asked of the voice heart, and the tempo of 16 sentences. The model rounds every phoneme to whole frames of
25 ms, and most of them last two: where 2 / speed passes a half (0.8, 4/3), these give up a frame all at once."""


def registry() -> dict[str, Any]:
    """Facts of each voice that hibari knows, by name."""
    # Imported here and below: hibari takes a while to import, and most of this room needs none of it.
    from hibari.voices import VOICES

    return VOICES


def is_on_disk(voice: str) -> bool:
    """Whether a voice of hibari's registry can be loaded without a download."""
    from hibari.voices import cache_dir

    return bool(registry()[voice].get("bundled")) or (Path(cache_dir()) / registry()[voice]["file"]).exists()


def hibari_terms(voice: str) -> Terms:
    """Terms of a voice of hibari's registry."""
    source = f"hibari-tts, distilled from the voice {registry()[voice]['kokoro']} of Kokoro-82M (Apache-2.0)"
    return Terms("Apache-2.0", source, KOKORO.consent)


class HibariVoice:
    """One hibari voice, on one thread: its audio differs between 1 and 2 threads.

    The seed decides the noise in the breathy part of the sound, not its timing or intonation.

    Args:
        voice: a name of hibari's registry: `heart` is in the wheel, the others must already be on disk.

    Raises:
        SetupError: if the voice's file is not on disk. Nothing is downloaded here.
    """

    def __init__(self, voice: str = "heart") -> None:
        from hibari import SAMPLE_RATE, Hibari
        from hibari.voices import cache_dir, voice_path

        if not is_on_disk(voice):
            raise SetupError(
                f"the voice hibari:{voice} is not on disk, and anytalk downloads nothing by itself; to fetch "
                f'it into {cache_dir()}, run: hibari "Hello." --voice {voice} -o hello.wav'
            )
        self.name = f"hibari:{voice}"
        self.language: str = registry()[voice]["language"]
        self.sample_rate_hz: int = SAMPLE_RATE
        self.terms = hibari_terms(voice)
        self._path = Path(voice_path(voice, download_missing=False))
        self._engine = Hibari(voice, threads=1)

    @property
    def fingerprint(self) -> Fingerprint:
        """See `Voice.fingerprint`."""
        return voice_fingerprint("hibari-tts", weights=self._path)

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Waveform | SampleError]:
        """See `Voice.speak`."""
        return speak_each(requests, self._speak_one, self.sample_rate_hz)

    def _speak_one(self, text: str, seed: int, speed: float) -> Waveform:
        waveform: Waveform = self._engine(text, speed=engine_speed(speed, TEMPO_MEASURED), seed=seed)
        return waveform


def _load(spec: str, _: Servers, __: str) -> HibariVoice:
    if spec not in registry():
        raise unknown_voice(f"hibari:{spec}", (f"hibari:{voice}" for voice in registry()))
    return HibariVoice(spec)


def _language(spec: str, _: Servers) -> str:
    # An unknown voice is refused when it is loaded.
    return str(registry()[spec]["language"]) if spec in registry() else MANY


def _known() -> list[VoiceInfo]:
    return [
        VoiceInfo(f"hibari:{voice}", "hibari", facts["language"], hibari_terms(voice), is_on_disk(voice), extra=None)
        for voice, facts in registry().items()
    ]


ENGINE = VoiceEngine(forms=("hibari:heart",), load=_load, language=_language, known=_known)
