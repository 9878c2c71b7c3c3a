"""The words of a text as texts are compared: without case, punctuation, or ways of writing the same character.

Characters are unified by NFKC and case folding (Unicode Standard Annex 15 and section 3.13). Scripts without spaces
between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) give each character, with the marks on it, as a word.
"""

import functools
import re
import unicodedata

SPACELESS = "\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af" + (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
"""Ranges of characters: Han and kana, then Thai, Lao, Burmese and Khmer."""

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019\u02bc](?=\w)")


def words(text: str) -> list[str]:
    """Split a text into its words.

    >>> words("What's up? It\u2019s 5 o'clock\u2026")
    ['whats', 'up', 'its', '5', 'oclock']
    >>> words("\u4f60\u597d, Bob!")
    ['你', '好', 'bob']
    """
    if text.isascii():
        lower = text.lower()
        # Most texts have none, and to look for it costs more than everything else here.
        return _ASCII_WORD.findall(_APOSTROPHE.sub("", lower) if "'" in lower else lower)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _word().findall(_APOSTROPHE.sub("", folded))


@functools.cache
def _word() -> re.Pattern[str]:
    """A character of a spaceless script, or a run of letters and digits of others, with the marks on them."""
    marks = "".join(map(chr, (code for code in range(0x300, 0x20000) if _is_mark(code))))
    return re.compile(f"[{SPACELESS}][{marks}]*|(?:(?![{SPACELESS}])(?:[^\\W_]|[{marks}]))+")


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code)) in ("Mn", "Mc")
