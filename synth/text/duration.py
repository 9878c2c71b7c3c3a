"""How long a text takes to say, before anyone has said it."""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re

LETTER_S = 0.063
PAUSE_S = 0.17
STOP_S = 0.69
START_S = 0.14
"""Seconds of a letter, of a comma and its like, of the end of a sentence before another, and of the silence around."""

SYLLABIC_S = 0.19
"""Of a character that is a syllable or more: a Mandarin speaker says 5.2 syllables a second, one a character, and a
Japanese one 7.8, about 1.5 a character (https://doi.org/10.1353/lan.2011.0057, table 1)."""

_SYLLABIC = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_PAUSE = re.compile(r"[,;:，；：、،]|\s[-–—]\s|—")
_STOP = re.compile(r"[.!?…。！？؟।]+(?=[\"”’)]*\s*\S)")


def spoken_seconds(text: str, language: str) -> float:
    """Estimate how long a text takes to say at a voice's own speed.

    Args:
        text: in its spoken form; digits are counted as letters and so come out too short.
        language: BCP-47 tag. The seconds of a letter are fitted to English and taken for every language that is
            written in letters; Chinese, Japanese and Korean characters have their own.

    Returns:
        Seconds, with the pauses; 0 for a text without a letter.

    >>> round(spoken_seconds("Rinse it first, keep the heat low, and let it rest.", "en"), 1)
    2.9
    """
    syllables = len(_SYLLABIC.findall(text))
    letters = sum(character.isalnum() for character in text) - syllables
    if not letters and not syllables:
        return 0.0
    pauses = PAUSE_S * len(_PAUSE.findall(text)) + STOP_S * len(_STOP.findall(text))
    return START_S + LETTER_S * letters + SYLLABIC_S * syllables + pauses
