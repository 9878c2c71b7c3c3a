"""Numbers in words, by num2words (0.5.14; https://github.com/savoirfairelinux/num2words).

Only what it gets right in a language is asked of it: its decimals are wrong in many, so they are made here.
"""

# ruff: noqa: RUF001  typographic dashes are what is looked for

import re
import unicodedata
from functools import cache

from num2words import num2words

LONGEST = 15
"""Digits of a number that is said as one: in words, longer ones are no help to a listener."""

START = r"(?<!\d)(?<!\d[.,])"
END = r"(?!\d)(?![.,]\d)"
"""Patterns of the places where a number starts and ends."""
DASH = r"\s?[-–—]\s?"
"""Pattern of what stands between the ends of a range."""


def cardinal(digits: str, language: str) -> str:
    """Say a whole number.

    Args:
        digits: decimal digits of any script, without signs or separators.
        language: a language of num2words.

    Returns:
        Its words; digit by digit where it starts with a zero or is longer than 15 digits.

    >>> cardinal("1205", "en"), cardinal("007", "en")
    ('one thousand two hundred and five', 'zero zero seven')
    """
    if len(digits) > LONGEST or (len(digits) > 1 and int(digits[0]) == 0):
        return digit_by_digit(digits, language)
    return _words(num2words(int(digits), lang=language))


def digit_by_digit(digits: str, language: str) -> str:
    """Say digits one after the other, whatever stands between them.

    >>> digit_by_digit("555-12", "en")
    'five five five one two'
    """
    values = [unicodedata.digit(character, None) for character in digits]
    return " ".join(_digit(value, language) for value in values if value is not None)


@cache
def _digit(value: int, language: str) -> str:
    return str(num2words(value, lang=language))


def ordinal(digits: str, language: str) -> str:
    """Say a place in an order: "third" for 3; digit by digit where it is longer than 15 digits."""
    if len(digits) > LONGEST:
        return digit_by_digit(digits, language)
    return _words(num2words(int(digits), lang=language, to="ordinal"))


def year(digits: str, language: str) -> str:
    """Say a year: "nineteen oh five" for 1905 in English."""
    return _words(num2words(int(digits), lang=language, to="year")).replace("oh-", "oh ")


def _words(said: str) -> str:
    """Without the commas of "one thousand, two hundred", at which a voice would pause."""
    return said.replace(",", "")


def roman(digits: str) -> int | None:
    """Value of a Roman numeral up to 39, None where it is none."""
    if not re.fullmatch(r"X{0,3}(?:IX|IV|V?I{0,3})", digits):
        return None
    values = [{"I": 1, "V": 5, "X": 10}[digit] for digit in digits]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
