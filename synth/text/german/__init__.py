"""German as it is said. Words keep the gender and case that can be told from the words beside the number.

What cannot be told is said in the commonest way: a lone 1 before a noun is "ein".
"""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re

from anytalk.synth.text.letterform import unified
from anytalk.synth.text.rule import Reader, Rule, any_of, apply, scan, until_stable

from .abbreviation import ABBREVIATED, BEFORE_NUMBERS, PER_UNIT, SHORT
from .date import DATES, TIMES
from .measure import DIGITS, MEASURES, NUMBERS
from .symbol import ADDRESSES, SYMBOLS
from .table import CURRENCIES

_CODES = any_of([name for name in CURRENCIES if name[0].isalpha() and name not in ("ct", "Cent", "zł")])
_SIGNS = "".join(re.escape(name) for name in CURRENCIES if len(name) == 1)
_STARTS = re.compile(
    rf"(?<![^\W\d_])(?:(?:{_CODES})\s?(?=[-−\d])|[A-Za-zµμ]{{1,4}}(?=[²³/]|\^\d))|US\$|(?:[-−+±~≈<>]\s?)?[{_SIGNS}]"
    r"|[-−+±~≈<>(#]\s?(?=[,\d½⅓⅔¼¾])|,(?=\d)|['’](?=\d\der)|[\^⁻]|[^\W_a-zA-ZäöüÄÖÜß]"
)
_SPECIAL = re.compile(rf"[^A-Za-zÀ-ÖØ-öø-ž\s,!?;:'’\"“”„…()—–.-]|{PER_UNIT}")
_STOP = re.compile(r"\.\w|\w\.[\s,;:]+[\"„(]?[a-zäöü]|\b[^\W\d_]++(?=\.)|[IVX]\b")
"""What plain prose has none of: signs and digits, then full stops within a sentence, abbreviations, Roman numerals."""
_RULES: list[Rule | Reader] = [*DIGITS, *DATES, *TIMES, *MEASURES, *NUMBERS]
_READERS: list[Reader] = [each.read if isinstance(each, Rule) else each for each in _RULES]


def normalise_german(text: str) -> str:
    """Write German out as it is said.

    >>> normalise_german("Am 3. Mai kostete es z. B. 3,50 €.")
    'Am dritten Mai kostete es zum Beispiel drei Euro und fünfzig Cent.'
    """
    text = unified(text)
    return text if _is_plain(text) else until_stable(_once, text)


def _is_plain(text: str) -> bool:
    """Whether a text is words and punctuation alone, as most are: nothing in it is said otherwise."""
    if _SPECIAL.search(text):
        return False
    return not any(
        "." in word or word in SHORT or word.endswith(("str", "I", "V", "X")) for word in _STOP.findall(text)
    )


def _once(text: str) -> str:
    text = apply(ADDRESSES, text)
    text = apply(BEFORE_NUMBERS, text)
    text = apply(ABBREVIATED, text)
    text = scan(_READERS, _STARTS, text)
    return apply(SYMBOLS, text)
