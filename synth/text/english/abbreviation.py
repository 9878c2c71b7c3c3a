"""English abbreviations, titles, streets and Roman numerals."""

# ruff: noqa: RUF001  typographic quotes are what is looked for

import re

from anytalk.synth.text import number
from anytalk.synth.text.quantity import SPACED_THOUSANDS
from anytalk.synth.text.rule import any_of, rule, text_after

from .number import NAMES, count
from .table import (
    ABBREVIATIONS,
    AFTER_NAME,
    BEFORE_NUMBER,
    DATE_NAMES,
    ENDS_SENTENCE,
    NUMBERED,
    REGNAL,
    SENTENCE_STARTERS,
    STREETS,
    TITLES,
)


def ends_sentence(match: re.Match[str]) -> bool:
    """Whether the full stop at the end of a match is the sentence's too."""
    return re.match(r"[\"”)]*(?:$|\s+[\"“(]?[A-Z])", text_after(match)) is not None


def _abbreviation(match: re.Match[str]) -> str:
    words = ABBREVIATIONS[match[0]]
    return f"{words}." if match[0] in ENDS_SENTENCE and ends_sentence(match) else words


def _after_name(match: re.Match[str]) -> str | None:
    """A street or a kind of company; "St." and "Dr." before a name are its title."""
    short = match["short"]
    following = re.match(r"\s+([A-Z][\w'’]*)", text_after(match))
    titled = short in TITLES and following and not SENTENCE_STARTERS.fullmatch(following[1])
    if titled and not re.search(r"\d\w*\s(?:[A-Z][\w'’]* )*$", match.string[: match.start("short")]):
        return None
    words = match["name"] + AFTER_NAME[short]
    return f"{words}." if ends_sentence(match) else words


def _date_name(match: re.Match[str]) -> str:
    words = DATE_NAMES[match["short"]]
    return f"{words}." if re.match(r"[\"”)]*\s*$", text_after(match)) else words


def _ruler(match: re.Match[str]) -> str | None:
    value = number.roman(match[2])
    return f"{match[1]} the {number.ordinal(str(value), 'en').title()}" if value else None


def _numbered(match: re.Match[str]) -> str | None:
    value = number.roman(match[2])
    return f"{match[1]} {count(str(value)).title()}" if value else None


def _century(match: re.Match[str]) -> str | None:
    value = number.roman(match[1])
    return number.ordinal(str(value), "en") if value else None


_BEFORE_DATE = "|".join(
    rf"(?<=\b{word} )"
    for word in re.findall(r"\w+", "on in by of to till until from since every each next last this late early")
)


_DIVISORS = [name for name in NAMES if name.isalpha() and name not in ("in", "A", "K", "d")]


def _inches(match: re.Match[str]) -> str | None:
    """Read a quotation mark behind a number as inches, unless it closes a quotation."""
    quotes = re.findall(r'(?<!\d)"', match.string[: match.start()])
    return None if len(quotes) % 2 else "″"


_UNITS = any_of(
    [
        "kg",
        "g",
        "mg",
        "lb",
        "lbs",
        "oz",
        "km",
        "cm",
        "mm",
        "mi",
        "ft",
        "yd",
        "ml",
        "mL",
        "gal",
        "kWh",
        "MB",
        "GB",
        "TB",
        "sec",
        "min",
        "hr",
        "wk",
        "mo",
        "yr",
    ]
)
PER_UNIT = rf"\bper ({_UNITS})\b(?![/²³^-])"
"""Units that need no number before them, behind a word that none but a unit follows."""

BEFORE_NUMBERS = [
    rule(PER_UNIT + r"(?:\.(?=[,;:)]| [a-z0-9(]))?", lambda m: f"per {NAMES[m[1]][0]}"),
    rule(rf"(?<=\d )([a-z]{{3,}})/({any_of(_DIVISORS)})(?![\w/])", lambda m: f"{m[1]} per {NAMES[m[2]][0]}"),
    rule(r"(?<=\d)\"", _inches),
    rule(r"(?<=\d)['’](?= (?:tall|high|long|wide|deep)\b|\s?[x×]\s?\d)", "′"),
    rule(r"(?:(?<=[′x×] \d)|(?<=[′x×] \d\d))['’](?!\w)", "′"),
    rule(r"(?<=[½¼¾⅛⅜⅝⅞])\s?[x×]\s?(?=\d)", " by "),
    rule(SPACED_THOUSANDS, lambda m: m[0].replace(" ", "\u202f")),
    rule(
        rf"\b({any_of(list(DATE_NAMES))})\.?\s?[-–]\s?({any_of(list(DATE_NAMES))})\b\.?(?!\s\d)",
        lambda m: f"{DATE_NAMES[m[1]]} to {DATE_NAMES[m[2]]}",
    ),
    rule(rf"\b({any_of(list(BEFORE_NUMBER))})\.\s?(?=\d)", lambda m: f"{BEFORE_NUMBER[m[1]]} "),
    rule(r"(?<=\d)(\s?[a-zA-Z″′\"]{1,4}\.?)\s?[x×]\s?(?=\d)", lambda m: f"{m[1]} by "),
    rule(
        rf"\b({any_of(REGNAL)}) ([IVX]{{2,}}|[VX]|I(?=[.,;:)]|$| (?:was|ruled|died|became|of|had)\b))(?![\w'’])",
        _ruler,
    ),
    rule(rf"\b({any_of(NUMBERED)}) ([IVX]+)(?![\w'’])", _numbered),
    rule(r"\b([IVX]+)(?= [Cc]entur(?:y|ies)\b)", _century),
]
ABBREVIATED = [
    rule(rf"(?P<name>(?<!\w)(?:[A-Z][\w'’]+|\d+(?:th|st|nd|rd)),? )(?P<short>{any_of(STREETS)})\.", _after_name),
    rule(rf"(?P<name>(?<!\w)[A-Z][\w'’]+,? )(?P<short>{any_of(list(AFTER_NAME))})\.", _after_name),
    rule(rf"\b({any_of(list(TITLES))})\.(?=\s*(?:[A-Z]|and Mrs|or Mrs|& Mrs))", lambda m: TITLES[m[1]]),
    rule(rf"(?<![\w./])(?<!\d )({any_of(list(ABBREVIATIONS))})(?!\w)", _abbreviation),
    rule(rf"(?:{_BEFORE_DATE})(?P<short>{any_of(list(DATE_NAMES))})\.", _date_name),
]
