"""The table of voice engines, and everything that goes by the name of a voice.

A new engine is one file here, with its `ENGINE`, and one line in `ENGINES`.
"""

import importlib

from anytalk.synth.language import MANY, same_language

from .engine import Servers, VoiceEngine, VoiceInfo, unknown_voice
from .request import Voice

ENGINES = {
    "hibari": ".hibari",
    "piper": ".piper",
    "espeak": ".espeak",
    "kokoro": ".kokoro",
    "server": ".server",
    "fake": ".fake",
}
"""Module of each engine, imported when it is needed, by the part of a voice's name before the colon."""


def load_voice(name: str, servers: Servers | None = None, device: str = "cpu") -> Voice:
    """Load a voice.

    Args:
        name: `hibari:heart`; `piper:joe`, or `piper:` and the path of a voice's `.onnx`; `espeak:` and a
            language of espeak-ng, with `+VARIANT` if wanted (`espeak:en-gb+f3`); `kokoro:`, a folder or hub id, `#`
            and a voice; `server:SERVER/VOICE`; `fake:` and any word.
        servers: speech servers by name; the voice's server is asked to say a word, to see whether it works.
        device: where it computes, if it is Kokoro's; see `synth.device.resolve`. Others know only the CPU.

    Returns:
        The voice.

    Raises:
        MissingExtra: the engine is not installed.
        SetupError: there is no such voice (the message names near matches), its files are not there, or it cannot run
            on the device.
    """
    check_engine(name)
    engine, spec = _split(name)
    assert engine is not None
    return engine.load(spec, servers or {}, device)


def check_engine(name: str) -> None:
    """See that a voice's name is that of an engine and of something that it may know, without loading it.

    Raises:
        SetupError: it is not; the message names near matches.
    """
    if _split(name)[0] is None:
        raise unknown_voice(name, [info.name for info in known_voices() if "+" not in info.name], _forms())


def voice_language(name: str, servers: Servers | None = None) -> str:
    """Language of a voice, by its name alone.

    Args:
        name: as `load_voice` takes it.
        servers: by name, for voices of servers.

    Returns:
        BCP-47 tag, or `mul` for a voice of many languages and for an unknown engine, which `load_voice` refuses.

    Raises:
        SetupError: there is no such voice or server.
    """
    engine, spec = _split(name)
    return MANY if engine is None else engine.language(spec, servers or {})


def known_voices() -> list[VoiceInfo]:
    """List the voices that can be named, without loading a model; of espeak-ng's, only a few."""
    return [info for name in ENGINES for info in _engine(name).known()]


def speaks(voice: str, row: str) -> bool:
    """Whether a voice of one language can say a row of another: the same one, whatever the region.

    Args:
        voice: BCP-47 tag of what the voice speaks, or `mul`.
        row: BCP-47 tag of the row.

    >>> speaks("en-US", "en"), speaks("en-US", "en-GB"), speaks("cmn", "zh-CN"), speaks("mul", "de"), speaks("de", "en")
    (True, True, True, True, False)
    """
    return voice == MANY or same_language(voice, row)


def _split(name: str) -> tuple[VoiceEngine | None, str]:
    """The engine and the SPEC of a voice's name; no engine where the name has no known one, or no SPEC."""
    engine, _, spec = name.partition(":")
    return (_engine(engine), spec) if engine in ENGINES and spec else (None, spec)


def _forms() -> list[str]:
    return [form for name in ENGINES for form in _engine(name).forms]


def _engine(name: str) -> VoiceEngine:
    found: VoiceEngine = importlib.import_module(ENGINES[name], __package__).ENGINE
    return found
