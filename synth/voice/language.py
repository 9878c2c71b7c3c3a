"""What a voice speaks, known without loading it, and whether that is what a row is written in."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from anytalk.synth.errors import SetupError
from anytalk.synth.language import MANY, format_case, same_language

from .speech_server import SpeechServer

KOKORO_LANGUAGES = {
    "a": "en-US",
    "b": "en-GB",
    "e": "es",
    "f": "fr-FR",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-BR",
    "z": "cmn",
}
"""By the first letter of a voice's name. Source: https://huggingface.co/hexgrad/Kokoro-82M/blob/main/VOICES.md"""


def speaks(voice: str, row: str) -> bool:
    """Whether a voice of one language can say a row of another: the same one, whatever the region.

    Args:
        voice: BCP-47 tag of what the voice speaks, or `mul`.
        row: BCP-47 tag of the row.

    >>> speaks("en-US", "en"), speaks("en-US", "en-GB"), speaks("cmn", "zh-CN"), speaks("mul", "de"), speaks("de", "en")
    (True, True, True, True, False)
    """
    return voice == MANY or same_language(voice, row)


def voice_language(name: str, servers: Mapping[str, SpeechServer] | None = None) -> str:
    """Language of a voice, by its name alone.

    Args:
        name: as `load_voice` takes it.
        servers: by name, for voices of servers.

    Returns:
        BCP-47 tag, or `mul`.

    Raises:
        SetupError: there is no such voice or server.
    """
    engine, _, spec = name.partition(":")
    if engine == "hibari":
        from hibari.voices import VOICES

        return str(VOICES[spec]["language"]) if spec in VOICES else MANY
    if engine == "piper":
        return "en-US" if spec == "joe" else _piper_file_language(spec)
    if engine == "espeak":
        return format_case(spec.partition("+")[0])
    if engine == "kokoro":
        return kokoro_language(spec.rpartition("#")[2])
    if engine == "server":
        return server_of(name, servers)[0].language
    return MANY


def server_of(name: str, servers: Mapping[str, SpeechServer] | None) -> tuple[SpeechServer, str]:
    """The server of a voice, and the voice's name there.

    Args:
        name: `server:SERVER/VOICE`.
        servers: by name.

    Raises:
        SetupError: there is no such server.
    """
    server, slash, voice = name.removeprefix("server:").partition("/")
    if not (slash and voice) or server not in (servers or {}):
        known = ", ".join(servers or {}) or "none"
        raise SetupError(
            f"the voice {name} must be server:SERVER/VOICE with a server of voices.servers (known: {known})"
        )
    return (servers or {})[server], voice


def kokoro_language(voice: str) -> str:
    """BCP-47 tag of a voice's language.

    >>> kokoro_language("bm_george")
    'en-GB'

    Raises:
        SetupError: no voice is named so.
    """
    if voice[1:3] not in ("f_", "m_") or voice[0] not in KOKORO_LANGUAGES:
        raise SetupError(f"{voice!r} is no name of a Kokoro voice; they look like af_heart or bm_george")
    return KOKORO_LANGUAGES[voice[0]]


def piper_language(fields: Mapping[str, Any]) -> str:
    """BCP-47 tag of a Piper voice by its configuration."""
    code = (fields.get("language") or {}).get("code") or fields["espeak"]["voice"]
    return format_case(str(code))


@lru_cache(maxsize=1024)
def _piper_file_language(model: str) -> str:
    try:
        return piper_language(json.loads(Path(f"{model}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # What is wrong with the voice is said when it is loaded.
        return MANY
