"""English numbers, and how they stand in a text."""

# ruff: noqa: RUF001  typographic dashes are what is looked for

import re

from . import number

N = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
"""A number as it is written, without its sign."""
START = r"(?<!\d)(?<!\d[.,])"
END = r"(?!\d)(?![.,]\d)"
DASH = r"\s?[-–—]\s?"
RANGE = rf"(?P<low>{N})(?:{DASH}(?P<high>{N}))?"


def count(written: str) -> str:
    """Say a number: digits with or without separators and decimals."""
    whole, _, decimals = written.replace(",", "").partition(".")
    said = number.cardinal(whole, "en") if whole else ""
    if decimals:
        said = f"{said} point {number.digit_by_digit(decimals, 'en')}".strip()
    return said


def text_after(match: re.Match[str]) -> str:
    """What follows a match."""
    return match.string[match.end() :]
