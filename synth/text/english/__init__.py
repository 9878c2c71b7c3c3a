"""English as it is said: what num2words counts and the tables of this room name.

Numbers are read with "and" ("one hundred and five"), as num2words does. A date keeps the order it is written in; of
one in digits alone the month comes first, except under a tag such as en-GB.
"""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re
from collections.abc import Sequence
from functools import cache

from anytalk.synth.text.letterform import unified
from anytalk.synth.text.rule import Reader, Rule, any_of, apply, scan, until_stable

from .abbreviation import ABBREVIATED, BEFORE_NUMBERS, PER_UNIT
from .currency import CURRENCIES
from .date import DATES, DATES_DAY_FIRST, DATES_MONTH_FIRST, MONTH, MONTH_FIRST, TIMES
from .digits import DIGITS
from .measure import MEASURES, NUMBERS
from .symbol import ADDRESSES, SYMBOLS
from .table import ABBREVIATIONS, AFTER_NAME, DATE_NAMES, TITLES

_CODES = any_of([name for name in CURRENCIES if name[0].isalpha()])
_SIGNS = "".join(re.escape(name) for name in CURRENCIES if len(name) == 1)
_STARTS = re.compile(
    rf"(?<![^\W\d_])(?:{MONTH}|(?:{_CODES})\s?(?=[-−\d])|[A-Za-zµμ]{{1,4}}(?=[²³/]|\^\d))|(?:US|CA?|AU?|NZ|HK|R)\$"
    rf"|(?:[-−+±~≈<>]\s?)?[{_SIGNS}]|[-−+±~≈<>(#]\s?(?=[.\d½⅓⅔¼¾])|\.(?=\d)|[\^⁻]|['’](?=\d0)|[^\W_a-zA-Z]"
)
"""Where something that is not words may begin; letters beyond ASCII are taken for it and turned down again."""
_SPECIAL = re.compile(rf"[^A-Za-zÀ-ÖØ-öø-ž\s,!?;:'’\"“”…()—–.-]|{PER_UNIT}")
_STOP = re.compile(r"\.\w|\w\.[\s,;:]+[\"“(]?[a-z]|\b[^\W\d_]++(?=\.)|\b(?:vs|aka)\b|[VX]\b|\wI\b|\b[A-Z][a-z]+ I\b")
"""What plain prose has none of: signs and digits, then full stops within a sentence, abbreviations, Roman numerals."""
_SHORT = frozenset([*TITLES, *AFTER_NAME, *DATE_NAMES, "vs", "aka"]) | {
    word for name in ABBREVIATIONS for word in re.findall(r"[^\W\d_]+", name)
}


def normalise_english(text: str, region: str = "") -> str:
    """Write English out as it is said.

    Args:
        text: as written.
        region: of the language tag, such as GB; decides how 3/4/2024 is read.

    >>> normalise_english("Dr. Lee paid $3.50 on 5 May 2024.")
    'Doctor Lee paid three dollars and fifty cents on the fifth of May twenty twenty-four.'
    """
    text = unified(text)
    if _is_plain(text):
        return text
    readers = _readers(region.upper() in MONTH_FIRST)
    return until_stable(lambda written: _once(written, readers), text)


def _is_plain(text: str) -> bool:
    """Whether a text is words and punctuation alone, as most are: nothing in it is said otherwise."""
    if _SPECIAL.search(text):
        return False
    return not any("." in word or word in _SHORT or word[-1:] in "IVX" for word in _STOP.findall(text))


def _once(text: str, readers: Sequence[Reader]) -> str:
    text = apply(ADDRESSES, text)
    text = apply(BEFORE_NUMBERS, text)
    text = apply(ABBREVIATED, text)
    text = scan(readers, _STARTS, text)
    return apply(SYMBOLS, text)


@cache
def _readers(month_first: bool) -> list[Reader]:
    dates = DATES_MONTH_FIRST if month_first else DATES_DAY_FIRST
    rules: list[Rule | Reader] = [*DIGITS, *dates, *DATES, *TIMES, *MEASURES, *NUMBERS]
    return [each.read if isinstance(each, Rule) else each for each in rules]
