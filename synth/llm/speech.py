"""How long a text takes to say, and whether it can be said at all."""

import re
import unicodedata

from anytalk.synth.errors import SampleError

WORDS_PER_S = 2.5
"""Of read English: 150 words a minute. Other languages that part their words are taken to be alike."""

CHARACTERS_PER_S = {"zh": 5.0, "yue": 5.0, "ja": 5.0}
"""Of languages that do not part their words. Mandarin has 5.2 syllables a second, one a character, and Japanese 7.8,
with about 1.5 a character (syllables from https://doi.org/10.1353/lan.2011.0057, table 1)."""

_LINE_OF_A_LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_LINK = re.compile(r"https?:|www\.|\w@\w", re.IGNORECASE)
_MARKS = re.compile(r"[][(){}<>\uff08\uff09\u3010\u3011*_#`~|\\^=]")


def _rate(language: str) -> float | None:
    return CHARACTERS_PER_S.get(language.split("-")[0].lower())


def spoken_s(text: str, language: str) -> float:
    """Estimate how long a text takes to say, in seconds.

    >>> spoken_s("I run on your own computer.", "en")
    2.4
    """
    rate = _rate(language)
    if rate is None:
        return len(text.split()) / WORDS_PER_S
    return sum(character.isalnum() for character in text) / rate


def length(seconds: float, language: str) -> str:
    """Say how much text fills a time.

    >>> length(8, "en"), length(8, "zh-CN")
    ('20 words', '40 characters')
    """
    rate = _rate(language)
    return f"{seconds * WORDS_PER_S:.0f} words" if rate is None else f"{seconds * rate:.0f} characters"


def check_spoken(side: str, text: str) -> None:
    """Raise for a text that is written for the eye.

    Args:
        side: what to call it in the error, such as "the answer".
        text: as the model wrote it.

    Raises:
        SampleError: `unspeakable_text`, with what is wrong, if it has no word, or holds a list, a link, an emoji, a
            bracket or another mark that is not said.
    """
    if not any(character.isalnum() for character in text):
        raise SampleError("unspeakable_text", f"{side} has no word in it: {text[:60]!r}")
    if _LINE_OF_A_LIST.search(text):
        raise SampleError("unspeakable_text", f"{side} is written as a list")
    found = _LINK.search(text) or _MARKS.search(text)
    mark = found[0] if found else next((c for c in text if _is_picture(c)), None)
    if mark is not None:
        raise SampleError("unspeakable_text", f"{side} holds {mark!r}, which nobody can say")


def _is_picture(character: str) -> bool:
    """Whether a character is an emoji or the like, a control character, or one that Unicode does not know."""
    return unicodedata.category(character) in ("So", "Cc", "Co", "Cn") and not character.isspace()
