"""English as it is said: rules over what num2words counts and `english_table` names.

Numbers are read with "and" ("one hundred and five"), as num2words does. A date keeps the order it is written in; of
one in digits alone the month comes first, except under a tag such as en-GB.
"""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re
from fractions import Fraction
from functools import cache
from unicodedata import numeric

from . import number
from .english_date import DATES, DATES_DAY_FIRST, DATES_MONTH_FIRST, MONTH_FIRST, TIMES, YEAR, bare_year
from .english_table import (
    ABBREVIATIONS,
    AFTER_NAME,
    BEFORE_NUMBER,
    CURRENCIES,
    ENDS_SENTENCE,
    NUMBERED,
    PER,
    REGNAL,
    SCALES,
    SQUARED,
    SYMBOLS,
    TITLES,
    UNITS,
)
from .number import DASH, END, START
from .rule import Rule, any_of, apply, rule, spaced, text_after

N = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
"""Pattern of a number as it is written, without its sign."""
RANGE = rf"(?P<low>{N})(?:{DASH}(?P<high>{N}))?"

VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))


def normalise_english(text: str, region: str = "") -> str:
    """Write English out as it is said.

    Args:
        text: as written.
        region: of the language tag, such as GB; decides how 3/4/2024 is read.

    >>> normalise_english("Dr. Lee paid $3.50 on 5 May 2024.")
    'Doctor Lee paid three dollars and fifty cents on the fifth of May twenty twenty-four.'
    """
    return apply(_rules(region.upper() in MONTH_FIRST), text)


def count(written: str) -> str:
    """Say a number: digits with or without separators and decimals."""
    whole, _, decimals = written.replace(",", "").partition(".")
    said = number.cardinal(whole, "en") if whole else ""
    if decimals:
        said = f"{said} point {number.digit_by_digit(decimals, 'en')}".strip()
    return said


def _counts(match: re.Match[str]) -> str:
    """Say the number of a match, or its range."""
    low, high = count(match["low"]), match["high"]
    return f"{low} to {count(high)}" if high else low


def _is_one(match: re.Match[str]) -> bool:
    """Whether the thing counted is named in the singular: 1 km, a 5 km run."""
    if match["high"]:
        return False
    before = match.string[: match.start()]
    if re.search(r"\b(?:[Aa]n?|[Ee]very|[Ee]ach) $", before) and re.match(r"\s[a-z]", text_after(match)):
        return True
    return match["low"] == "1" and not match.groupdict().get("scale")


def _ends_sentence(match: re.Match[str]) -> bool:
    """Whether the full stop at the end of a match is the sentence's too."""
    return re.match(r"[\"”)]*(?:$|\s+[\"“(]?[A-Z])", text_after(match)) is not None


# Abbreviations


def _abbreviation(match: re.Match[str]) -> str:
    words = ABBREVIATIONS[match[0]]
    return f"{words}." if match[0] in ENDS_SENTENCE and _ends_sentence(match) else words


def _after_name(match: re.Match[str]) -> str:
    words = match[1] + AFTER_NAME[match[2]]
    return f"{words}." if _ends_sentence(match) else words


def _roman(digits: str) -> int | None:
    """Value of a Roman numeral up to 39, None where it is none."""
    if not re.fullmatch(r"X{0,3}(?:IX|IV|V?I{0,3})", digits):
        return None
    values = [{"I": 1, "V": 5, "X": 10}[digit] for digit in digits]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def _ruler(match: re.Match[str]) -> str | None:
    value = _roman(match[2])
    return f"{match[1]} the {number.ordinal(str(value), 'en').title()}" if value else None


def _numbered(match: re.Match[str]) -> str | None:
    value = _roman(match[2])
    return f"{match[1]} {count(str(value)).title()}" if value else None


# Strings of digits


def _grouped(match: re.Match[str]) -> str:
    """Say a telephone number or the like digit by digit, with a comma between its groups."""
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(number.digit_by_digit(group, "en") for group in re.findall(r"\d+", match[0]))


def _local_phone(match: re.Match[str]) -> str | None:
    first, second = match[0].split("-")
    return None if int(first) % 10 == int(second) % 10 == 0 else _grouped(match)


def _international_phone(match: re.Match[str]) -> str | None:
    return _grouped(match) if sum(map(str.isdigit, match[0])) >= 8 else None


def _dotted(match: re.Match[str]) -> str:
    """Say a version number, or the address of a machine."""
    parts = match[0].split(".")
    return (" dot " if len(parts) == 4 else " point ").join(count(part) for part in parts)


def _long_digits(match: re.Match[str]) -> str | None:
    return None if match[0].endswith("000") else number.digit_by_digit(match[0], "en")


def _score(match: re.Match[str]) -> str:
    return " ".join(count(part) for part in re.split(r"[-–]", match[0]))


# Quantities


def _money(match: re.Match[str]) -> str:
    one, many, cent, cents = CURRENCIES[match["currency"]]
    scale = SCALES[match["scale"]] if match["scale"] else ""
    whole, _, decimals = match["low"].partition(".")
    if len(decimals) == 2 and cent and not scale and not match["high"]:
        said = _coins(whole or "0", decimals, one, many, cent, cents)
    else:
        said = " ".join(filter(None, (_counts(match), scale, one if _is_one(match) else many)))
    minus = "minus " if match["sign"] else ""
    return minus + said + (f" per {match['per']}" if match["per"] else "")


def _coins(whole: str, decimals: str, one: str, many: str, cent: str, cents: str) -> str:
    coins = f"{count(str(int(decimals)))} {cent if int(decimals) == 1 else cents}"
    notes = f"{count(whole)} {one if whole == '1' else many}"
    if int(decimals) == 0:
        return notes
    return coins if not whole.strip("0,") else f"{notes} and {coins}"


def _quantity(match: re.Match[str]) -> str:
    one, many = UNITS[match["unit"]]
    minus = "minus " if match["sign"] else ""
    scale = f" {match['scale']}" if match["scale"] else ""
    hyphen = match["glue"] == "-"
    name = one if hyphen or _is_one(match) else many
    per = match["per"]
    said = f"{minus}{_counts(match)}{scale}{'-' if hyphen else ' '}{name}"
    return said + (f" per {UNITS[per][0] if per in UNITS else per}" if per else "")


def _area(match: re.Match[str]) -> str:
    power = "square" if match["power"] in ("²", "2", "^2", "sq", "sq.") else "cubic"
    one, many = UNITS[match["unit"]]
    return f"{_counts(match)} {power} {one if _is_one(match) else many}"


def _height(match: re.Match[str]) -> str:
    return f"{count(match[1])} foot {count(match[2])}"


def _product(match: re.Match[str]) -> str:
    """Read a times sign: "times" in a sum, "by" between the sides of a thing."""
    word = "times" if re.match(r"\s?=", text_after(match)) else "by"
    return f" {word} ".join(match[0][slice(*span)] for span in _parts(match))


def _parts(match: re.Match[str]) -> list[tuple[int, int]]:
    start = match.start()
    return [(a - start, b - start) for a, b in (match.span(group) for group in (1, 2, 3)) if a >= 0]


def _scaled(match: re.Match[str]) -> str:
    return f"{_counts(match)} {SCALES[match['scale']]}"


def _ordinal(match: re.Match[str]) -> str:
    return number.ordinal(match[1].replace(",", ""), "en")


# Fractions and powers


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match["whole"], match["top"], match["bottom"]
    part = _part(int(top), int(bottom), bool(whole))
    return f"{count(whole)} and {part}" if whole else part


def _part(top: int, bottom: int, mixed: bool) -> str:
    """Say top / bottom: "three quarters", "seven out of ten", "five over zero"."""
    if bottom in (10, 100) and not mixed:
        return f"{count(str(top))} out of {count(str(bottom))}"
    if not (2 <= bottom <= 10 or (top < bottom and bottom in (12, 16, 32, 64, 100, 1000))):
        return f"{count(str(top))} over {count(str(bottom))}"
    name = {2: "half", 4: "quarter"}.get(bottom) or number.ordinal(str(bottom), "en")
    if top == 1:
        return f"{'a' if mixed else 'one'} {name}"
    return f"{count(str(top))} {'halves' if bottom == 2 else f'{name}s'}"


def _vulgar(match: re.Match[str]) -> str:
    value = Fraction(numeric(match[2])).limit_denominator(10)
    part = _part(value.numerator, value.denominator, mixed=bool(match[1]))
    return f"{count(match[1])} and {part}" if match[1] else part


def _power(match: re.Match[str]) -> str:
    written = "".join(SUPERSCRIPTS.get(character, character) for character in match[0].lstrip("^"))
    minus = "minus " if written.startswith(("-", "⁻")) else ""
    digits = written.lstrip("-⁻")
    if not minus and digits in ("2", "3"):
        return " squared" if digits == "2" else " cubed"
    return f" to the power of {minus}{count(digits)}"


# Symbols


def _symbol(match: re.Match[str]) -> str:
    return spaced(match, SYMBOLS[match[0]])


def _slash(match: re.Match[str]) -> str:
    """Read a slash: "and/or" has its own words, one between small words means "or"."""
    left, right = match[1], match[2]
    if (left, right) == ("and", "or"):
        return "and or"
    return f"{left} {'or' if (left + right).islower() else 'slash'} {right}"


def _other_digits(match: re.Match[str]) -> str:
    return count(str(int(numeric(match[0]))))


_SIGN = r"(?:(?<![\w.)])(?P<sign>[-−]))?"
_SCALE = rf"(?:(?:\s?(?P<scale>{any_of(list(SCALES))}))(?![\w]))?"
_SCALE_WORD = r"(?:\s(?P<scale>hundred|thousand|million|billion|trillion))?"
_PER = rf"(?:\s?/\s?(?P<per>{any_of(PER)})\b)?"
_PER_UNIT = rf"(?:/(?P<per>{any_of([*PER, *(unit for unit in UNITS if unit.isalpha())])})\b)?"
_PREFIX = any_of([name for name in CURRENCIES if name != "¢"])

_ABBREVIATIONS = [
    rule(rf"\b({any_of(list(BEFORE_NUMBER))})\.\s?(?=\d)", lambda m: f"{BEFORE_NUMBER[m[1]]} "),
    rule(rf"\b({any_of(list(TITLES))})\.(?=\s+(?:[A-Z]|and Mrs|or Mrs|& Mrs))", lambda m: TITLES[m[1]]),
    rule(rf"(?<!\w)([A-Z][\w'’]+,? )({any_of(list(AFTER_NAME))})\.", _after_name),
    rule(rf"(?<![\w.])(?<!\d )({any_of(list(ABBREVIATIONS))})(?!\w)", _abbreviation),
    rule(rf"\b({any_of(REGNAL)}) ([IVX]{{2,}}|[VX]|I(?=[.,;:)]|$))(?![\w'’])", _ruler),
    rule(rf"\b({any_of(NUMBERED)}) ([IVX]+)(?![\w'’])", _numbered),
]
_DIGITS = [
    rule(r"(?<![\d/])(?:24/7|50/50|9/11|20/20)(?![\d/])", lambda m: " ".join(map(count, m[0].split("/")))),
    rule(r"\b911\b(?![,.-]\d)|(?<=\b[Dd]ial )\d{3}\b|(?<=\b[Cc]all )\d{3}\b(?!-)", _grouped),
    rule(r"(?<![\w+])(?:\+?1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}\b(?![-.]\d)", _grouped),
    rule(r"(?<![\w-])\d{3}-\d{4}\b(?!-)", _local_phone),
    rule(r"(?<!\w)\+\d{1,3}(?:[ -]?\(?\d{1,5}\)?){2,6}", _international_phone),
    rule(r"(?<![\w-])\d{3}-\d\d-\d{4}\b(?!-)", _grouped),
    rule(r"\b\d{4}(?:[- ]\d{4}){2,4}\b", _grouped),
    rule(r"(?<![\w.,])0\d{2,4}(?:[ -]\d{3,6}){1,3}\b", _grouped),
    rule(r"(?<![\d,.])\d+(?:\.\d+){2,}", _dotted),
    rule(rf"{START}\d{{10,}}{END}", _long_digits),
    rule(rf"{START}\d{{1,2}}(?:[-–]\d{{1,2}}){{2,}}{END}", _score),
]
_QUANTITIES = [
    rule(rf"{_SIGN}(?P<currency>(?<![A-Za-z])(?:{_PREFIX}))\s?{RANGE}{_SCALE}{_PER}", _money),
    rule(rf"{START}{_SIGN}{RANGE}{_SCALE}\s?(?P<currency>{any_of(list(CURRENCIES))})(?![A-Za-z]){_PER}", _money),
    rule(rf"{START}({N})\s?[x×]\s?({N})(?:\s?[x×]\s?({N}))?", _product),
    rule(rf"{START}({N})\s?[x×](?![\w])", lambda m: f"{count(m[1])} times"),
    rule(r"(?<!\w)(\d)['’′](\d{1,2})[\"”″]", _height),
    rule(r"(?<![\w.,])(\d) ?(?:ft|feet|foot)\.? (\d{1,2}) ?in\b\.?", _height),
    rule(r"(?<=[a-z.] )[x×](?= \d)", "by"),
    rule(rf"{START}{RANGE}\s?(?P<unit>{any_of(list(SQUARED))})(?P<power>[²³23]|\^[23])(?!\w)", _area),
    rule(rf"{START}{RANGE}\s?(?P<power>sq|cu)\.? ?(?P<unit>{any_of(list(SQUARED))})\b", _area),
    rule(
        rf"{START}{_SIGN}{RANGE}{_SCALE_WORD}(?P<glue>[- ]?)"
        rf"(?P<unit>{any_of(list(UNITS))})(?:(?<=[a-z])\.(?=[,;]|\s[a-z0-9]))?(?!\w){_PER_UNIT}",
        _quantity,
    ),
    rule(rf"{START}{RANGE}(?P<scale>{any_of([key for key in SCALES if len(key) < 4 and key != 'K'])})\b", _scaled),
    rule(r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", _ordinal),
    rule(r"(?<![\d/.,])(?:(?P<whole>\d+) )?(?P<top>\d{1,9})[/⁄](?P<bottom>\d{1,9})(?![\d/]|[.,]\d)", _fraction),
    rule(rf"(?:(?<!\d)(\d+)\s?)?([{VULGAR}])", _vulgar),
    rule(r"(?<=[\w)])(?:[⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^[-−]?\d+)", _power),
]
_NUMBERS = [
    rule(r"#\s?(?=\d)", "number "),
    rule(r"[~≈]\s?(?=[$€£]?\d)", "about "),
    rule(r"(?<![\w<])<\s?(?=[$€£]?\d)", "less than "),
    rule(r"(?<![\w>])>\s?(?=[$€£]?\d)", "more than "),
    rule(rf"{START}({N})\s+[-−]\s+(?={N})", lambda m: f"{count(m[1])} minus "),
    rule(rf"{START}({N})(?:[-–—]|\s[–—]\s)(?={N})", lambda m: f"{count(m[1])} to "),
    rule(rf"{START}({N})\s?\*\s?(?={N})", lambda m: f"{count(m[1])} times "),
    rule(r"(?<![\w.)])[-−](?=\d|\.\d)", "minus "),
    rule(rf"(?<![\w.,]){YEAR}(?!\w|[.,]\d)", bare_year),
    rule(rf"{START}{N}|\d+", lambda m: count(m[0])),
    rule("[²³¹⁰-⁹₀-₉①-⑨⓪❶-❾➀-➈➊-➒⓵-⓽⑴-⑼⒈-⒐]", _other_digits),
]
_LETTER = r"[^\W\d_]"
_WORDLIKE = [name for name in SYMBOLS if name.isalpha()]
_SYMBOLS = [
    rule(rf"(?<!{_LETTER})(?:{any_of(_WORDLIKE)})(?!{_LETTER})", _symbol),
    rule(any_of([name for name in SYMBOLS if not name.isalpha()]), _symbol),
    rule(r"\++", lambda m: " ".join(["plus"] * len(m[0]))),
    rule(r"\s*=+\s*", " equals "),
    rule(rf"#(?={_LETTER})", "hashtag "),
    rule(rf"\b({_LETTER}+)/({_LETTER}+)\b", _slash),
]


@cache
def _rules(month_first: bool) -> list[Rule]:
    dates = DATES_MONTH_FIRST if month_first else DATES_DAY_FIRST
    return [*_ABBREVIATIONS, *dates, *DATES, *TIMES, *_DIGITS, *_QUANTITIES, *_NUMBERS, *_SYMBOLS]
