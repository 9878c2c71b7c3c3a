"""Strings of digits that are no quantity in English: telephone numbers, versions, scores, letters beside digits."""

# ruff: noqa: RUF001  typographic dashes are what is looked for

import re

from anytalk.synth.text import number
from anytalk.synth.text.number import END, START
from anytalk.synth.text.rule import rule, text_after

from .number import count


def grouped(match: re.Match[str]) -> str:
    """Say a telephone number or the like digit by digit, with a comma between its groups."""
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(number.digit_by_digit(group, "en") for group in re.findall(r"\d+", match[0]))


def _local_phone(match: re.Match[str]) -> str | None:
    first, second = match[0].split("-")
    return None if int(first) % 10 == int(second) % 10 == 0 else grouped(match)


def _international_phone(match: re.Match[str]) -> str | None:
    return grouped(match) if sum(map(str.isdigit, match[0])) >= 8 else None


def _toll_free(match: re.Match[str]) -> str:
    prefix = "one, " if match["one"] else ""
    hundreds = f"{count(match['area'][0])} hundred"
    rest = ", ".join(number.digit_by_digit(group, "en") or group for group in match["rest"].split("-"))
    return f"{prefix}{hundreds}, {rest}"


def _dotted(match: re.Match[str]) -> str:
    """Say a version number, or the address of a machine."""
    parts = match[0].split(".")
    return (" dot " if len(parts) == 4 else " point ").join(count(part) for part in parts)


def _long_digits(match: re.Match[str]) -> str | None:
    return None if match[0].endswith("000") else number.digit_by_digit(match[0], "en")


def _score(match: re.Match[str]) -> str:
    return " ".join(count(part) for part in re.split(r"[-–]", match[0]))


def _coefficient(match: re.Match[str]) -> str | None:
    """Read 2x as two x in a sum; elsewhere it is a unit, or twice."""
    before, after = match.string[: match.start()], text_after(match)
    if re.match(r"\s?[+=^²³)÷]|\s[-−/*] ?[\da-z]", after) or re.search(r"[=(÷]\s?$|[\dxyz²³)]\s?[-+−*]\s?$", before):
        return f"{count(match[1])} {match[2]}"
    return None


def _ones(match: re.Match[str]) -> str:
    names = {"0": "zeros", "1": "ones"}
    return f"{names[match[1]]} and {names[match[2]]}"


DIGITS = [
    rule(r"(?<![\d/])(?:24/7|50/50|9/11|20/20)(?![\d/])", lambda m: " ".join(map(count, m[0].split("/")))),
    rule(r"\b911\b(?![,.-]\d)|(?<=\b[Dd]ial )\d{3}\b|(?<=\b[Cc]all )\d{3}\b(?![- ]\d)", grouped),
    rule(r"(?<![\w+])(?P<one>1-)?(?P<area>8(?:00|88|77|66|55|44|33))-(?P<rest>[A-Z]{3,}(?:-[A-Z]+)*)\b", _toll_free),
    rule(r"(?<![\w+])(?:\+?1[-. ])?(?:\(\d{3}\)[ -]?|\d{3}[-. ])\d{3}[-. ]\d{4}\b(?![-.]\d)", grouped),
    rule(r"(?<![\w-])\d{3}-\d{4}\b(?!-)", _local_phone),
    rule(r"(?<!\w)\+\d{1,3}(?:[ -]?\(?\d{1,5}\)?){2,6}", _international_phone),
    rule(r"(?<![\w-])\d{3}-\d\d-\d{4}\b(?!-)", grouped),
    rule(r"\b\d{4}(?:[- ]\d{4}){2,4}\b", grouped),
    rule(r"(?<![\w.,(])(?:\(0\d{1,4}\)|0\d{2,4})(?:[ -]\d{3,6}){1,3}\b", grouped),
    rule(r"(?<![\w.,-])97[89](?:-\d{1,7}){4}\b", grouped),
    rule(r"(?<![\d,.])\d+(?:\.\d+){2,}", _dotted),
    rule(rf"{START}\d{{10,}}{END}", _long_digits),
    rule(rf"{START}\d{{1,2}}(?:[-–]\d{{1,2}}){{2,}}{END}(?!/)", _score),
    rule(r"\b([01])s and ([01])s\b", _ones),
    rule(r"(?<![\w.,])(\d+)([a-z])(?![^\W_])", _coefficient),
    rule(r"(?<=[A-Za-z])\d+(?=[A-Za-z])|(?<=[A-Za-z])\d{1,3}(?![\d.,:/-])", lambda m: count(m[0])),
]
"""Before anything else is looked for."""
