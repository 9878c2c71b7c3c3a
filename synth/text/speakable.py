"""Whether a text can be said at all, and if not, why: what is written for the eye is named with the piece at fault."""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re
import unicodedata
from typing import NamedTuple

from .duration import spoken_seconds
from .language import Identifier, foreign_script, scripts
from .letterform import unified

REASONS = (
    "empty",
    "code",
    "markdown",
    "table",
    "list",
    "url",
    "email",
    "emoji",
    "brackets",
    "digits",
    "symbols",
    "too_long",
    "wrong_language",
)
"""In the order in which they are looked for; a piece that is code is not also called brackets."""

LONGEST_PIECE = 60
MIN_LETTERS = 20
"""Shorter texts are not identified: in a few words many languages look alike."""
MIN_PROBABILITY = 0.01
"""Of the language that a text is said to be in, for an identifier to let it pass."""


class Problem(NamedTuple):
    """Why a text cannot be said, and the piece at fault."""

    reason: str
    piece: str


_NO_LIST = [
    *(
        "[Aa]m",
        "[Vv]om",
        "[Zz]um",
        "[Dd]er",
        "[Dd]ie",
        "[Dd]as",
        "[Dd]em",
        "[Dd]en",
        "[Ii]m",
        "[Bb]is",
        "[Aa]b",
        "[Mm]ein",
    ),
]
"""German words that a place in an order follows, and no list: am 1. Mai und am 2. Juni."""
EMAIL = r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
ADDRESS = (
    r"\b(?:(?:https?|ftp|file)://\S+|www\.\S+"
    r"|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|dev|html?|co\.uk|de)\b(?:/\S*)?)"
)
"""Patterns of addresses of people and pages."""

_FIRST = "(?:^|" + "".join(rf"(?<!\b{word})" for word in _NO_LIST) + r"\s)"
# Line breaks may have been lost on the way, so lists and headings are also found within a line.
_SHAPES = {
    "code": re.compile(
        r"```.*?(?:```|$)|~~~.*?(?:~~~|$)|`[^`\n]+`|</?[A-Za-z][^<>\n]*>|<!--.*?-->"
        r"|\b\w+\(\)|\b\w*[a-z0-9]_\w+|\b(?:def|function) \w+\(|[=!<>]=|&&|\|\||[-=]>|::|;\s*$"
        r"|\{[^{}]*[:;=][^{}]*\}|\\[a-zA-Z]+\{?|\$\$",
        re.DOTALL | re.MULTILINE,
    ),
    "markdown": re.compile(
        r"!?\[[^\]\n]*\]\([^)\n]*\)|(\*{1,3})(?=[^\s*])[^*\n]*[^\s*]\1|(?<!\w)__?(?=[^\s_])[^_\n]*[^\s_]__?(?!\w)|~~[^~\n]+~~"
        r"|(?:^|\s)#{1,6}\s+\S+|^\s*>\s|^\s*(?:[-*_]\s*){3,}$|\[\^\w+\]|\[\d+\]",
        re.MULTILINE,
    ),
    "table": re.compile(r"\|[^|\n]*\||[^\t\n]+\t[^\t\n]+\t[^\n]+"),
    "list": re.compile(
        r"(?:^|\n)\s*[-*]\s+\S[^\n]*|[•‣◦].*|" + _FIRST + r"1[.)]\s+(?!und |oder |bis )\S.*?\s2[.)]\s+\S.*"
        r"|(?:^|[:.]\s)[-*]\s\S.*?\s[-*]\s\S.*",
        re.DOTALL,
    ),
    "email": re.compile(EMAIL),
    "url": re.compile(ADDRESS, re.IGNORECASE),
    "emoji": re.compile(
        r"[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0f\u20e3]+|(?<!\w)[:;=]['’]?-?[()DPp](?!\w)|<3(?!\d)"
    ),
    "brackets": re.compile(
        r"[(\[{（［｛【〔〈<＜][^)\]}）］｝】〕〉>＞]*[)\]}）］｝】〕〉>＞]|[()\[\]{}（）［］｛｝【】〔〕]"
    ),
}
_UNSAID_BRACKETS = re.compile(r"\((\+?\d{1,5})\)(?=[ -]?\d)|(?<=/)\(([^\W\d_]+[²³]?(?:[·*⋅][^\W\d_]+[²³]?)+)\)")
"""Of telephone numbers and units: (555) 123-4567, W/(m²·K)."""
_MARKED = re.compile(r"[^A-Za-zÀ-ÖØ-öø-ž \n,.!?'’\"“”…-]|\.[^\s.\"'”’]|(?:^|\s)-")
"""What prose in Latin letters has none of, so that none of the shapes can be in it."""
_SYMBOLS = frozenset("*_#~|\\^=@%&+/<>§¶†‡•`$")
_JOINERS = frozenset("\u200c\u200d")
"""Zero-width joiners, which Persian and the scripts of India are spelled with."""


def unspeakable(
    text: str,
    language: str,
    max_seconds: float | None = None,
    *,
    spoken: str | None = None,
    identifier: Identifier | None = None,
) -> list[Problem]:
    """Find everything about a text that keeps it from being said.

    Args:
        text: as written; lists, code, links and the like are looked for here.
        language: BCP-47 tag that it should be in.
        max_seconds: longest that it may take to say; None for any.
        spoken: its spoken form, such as `normalise` makes; the text itself by default. Digits, symbols, length and
            language are looked for here.
        identifier: tells languages of one script apart. Without one only the script is checked.

    Returns:
        One problem for each reason that applies, in the order of `REASONS`; none for a text that can be said.

    >>> unspeakable("See https://example.org for 3 tips!", "en", spoken="See https://example.org for three tips!")
    [Problem(reason='url', piece='https://example.org'), Problem(reason='symbols', piece='/')]
    """
    text = _UNSAID_BRACKETS.sub(r"\1\2", unified(text))
    said = text if spoken is None else spoken
    if not any(character.isalpha() for character in said):
        return [Problem("empty", text.strip()[:LONGEST_PIECE])]
    is_plain = not (_MARKED.search(text) or (said != text and _MARKED.search(said)))
    problems = [] if is_plain else _written_for_the_eye(text, said)
    if max_seconds is not None and (seconds := spoken_seconds(said, language)) > max_seconds:
        problems.append(Problem("too_long", f"about {seconds:.0f} s; at most {max_seconds:g} s are allowed"))
    is_at_home = is_plain and "LATIN" in scripts(language)
    foreign = (None if is_at_home else foreign_script(said, language)) or _foreign(said, language, identifier)
    if foreign:
        problems.append(Problem("wrong_language", _piece(foreign)))
    return problems


def _written_for_the_eye(text: str, said: str) -> list[Problem]:
    problems = []
    for reason, shape in _SHAPES.items():
        found = shape.search(text)
        if found:
            problems.append(Problem(reason, _piece(found[0])))
            text = shape.sub(" ", text)
    return problems + [Problem(reason, piece) for reason, piece in _left_over(said) if piece]


def _piece(found: str) -> str:
    return " ".join(found.split())[:LONGEST_PIECE]


def _left_over(said: str) -> list[tuple[str, str | None]]:
    """Digits and symbols that a spoken form should no longer hold."""
    digits = re.search(r"\d[\d.,:]*", said)
    other = next((character for character in said if character.isdigit()), None)
    symbol = next((character for character in said if _is_symbol(character)), None)
    return [("digits", digits[0] if digits else other), ("symbols", symbol)]


def _is_symbol(character: str) -> bool:
    """Whether a character is a sign that nobody says, or one that is not shown, or not assigned."""
    if character in _SYMBOLS:
        return True
    kind = unicodedata.category(character)
    if kind in ("Cc", "Cf", "Co", "Cs", "Cn"):
        return character not in _JOINERS and not character.isspace()
    return kind in ("Sm", "Sc", "So") and not _is_emoji(character)


def _is_emoji(character: str) -> bool:
    return _SHAPES["emoji"].fullmatch(character) is not None


def _foreign(said: str, language: str, identifier: Identifier | None) -> str | None:
    if identifier is None or sum(map(str.isalpha, said)) < MIN_LETTERS:
        return None
    probability = identifier.probability(said, language)
    return said if probability is not None and probability < MIN_PROBABILITY else None
