"""What the name of a Kokoro voice says: its first letter is its language.

Source: https://huggingface.co/hexgrad/Kokoro-82M/blob/main/VOICES.md
"""

from anytalk.synth.errors import SetupError

LANGUAGES = {
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

ESPEAK_LANGUAGES = {
    "en-US": "en-us",
    "en-GB": "en-gb",
    "es": "es",
    "fr-FR": "fr-fr",
    "hi": "hi",
    "it": "it",
    "ja": "ja",
    "pt-BR": "pt-br",
    "cmn": "cmn",
}
"""Names of espeak-ng."""


def kokoro_language(voice: str) -> str:
    """BCP-47 tag of a voice's language.

    >>> kokoro_language("bm_george")
    'en-GB'

    Raises:
        SetupError: no voice is named so.
    """
    if voice[1:3] not in ("f_", "m_") or voice[0] not in LANGUAGES:
        raise SetupError(f"{voice!r} is no name of a Kokoro voice; they look like af_heart or bm_george")
    return LANGUAGES[voice[0]]
