"""One way of writing each character: HTML entities resolved, invisible marks removed, letters composed.

Nothing here is said otherwise than before. Composition is NFC; ligatures, wide and mathematical letters are unified by
NFKC (Unicode Standard Annex 15), which would also change signs such as ½ and so is kept from them.
"""

# ruff: noqa: RUF001  the characters that are looked for

import html
import re
import unicodedata

ESCAPED = 3
"""How often an entity may have been escaped: &amp;amp;lt; is seen where pages are converted again and again."""

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_JOINER = re.compile("[\u200c\u200d]")
_BREAK = re.compile("[\u000b\u000c\u0085\u2028\u2029]")
_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_WITHIN_NUMBER = re.compile("(?<=\\d)[\u00a0\u2009\u202f](?=\\d{3}(?!\\d))")
_HYPHEN = re.compile("[\u2010\u2011\ufe58\ufe63\uff0d]")
_APOSTROPHE = re.compile("(?<=[^\\W\\d_])[`´\u02b9\u02bb\u02bc\u201b\uff07](?=[^\\W\\d_])|(?<=s)[´\u02bc](?=\\s|$)")
_COMPATIBLE = re.compile(
    "[\ufb00-\ufb06\u0132\u0133\u01c4-\u01cc\u01f1-\u01f3\u2103\u2109\u2160-\u217f\u24b6-\u24e9\u3380-\u33df"
    "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]"
)
_WIDE_SIGN = re.compile("[\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff5e\uffe0-\uffe6]")
_EAST_ASIAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def unified(text: str) -> str:
    """Write each character of a text in one way.

    Args:
        text: as a source has it.

    Returns:
        The text with HTML entities resolved, without marks that are not shown (soft hyphens, zero-width spaces,
        direction marks), with composed letters, plain spaces, hyphens and apostrophes.

    >>> unified("Tom &amp;amp; Ann\u200b ate o\ufb03ce cake")
    'Tom & Ann ate office cake'
    """
    if text.isascii() and text.isprintable() and "&" not in text and "`" not in text:
        return text
    for _ in range(ESCAPED):
        resolved = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        if resolved == text:
            break
        text = resolved
    text = _INVISIBLE.sub("", _BREAK.sub("\n", text))
    if not text.isascii():
        text = unicodedata.normalize("NFC", _JOINER.sub(_joiner, text))
        text = _COMPATIBLE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
        if not _EAST_ASIAN.search(text):
            text = _WIDE_SIGN.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
        kept = _WITHIN_NUMBER.sub("\ue000", text)
        text = _SPACE.sub(" ", kept).replace("\ue000", "\u202f")
        text = _HYPHEN.sub("-", text)
    return _APOSTROPHE.sub("'", text.replace("\u266f", "#"))


def _joiner(match: re.Match[str]) -> str:
    """Keep a zero-width joiner between letters of scripts that are spelled with it, and within emoji."""
    before = match.string[match.start() - 1 : match.start()]
    after = match.string[match.end() : match.end() + 1]
    return match[0] if min(before, after) >= "\u0600" and not (before + after).isspace() else ""
