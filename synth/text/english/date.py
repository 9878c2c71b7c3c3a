"""English dates, years and times of day."""

# ruff: noqa: RUF001  typographic dashes and quotes are what is looked for

import re

from anytalk.synth.text import number
from anytalk.synth.text.number import DASH, END, START
from anytalk.synth.text.rule import rule, text_after

from .table import MONTHS, NOT_PLURAL

MONTH = rf"(?P<month>(?:{'|'.join(MONTHS)})\b|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\b\.?)"
YEAR = r"(?:10[1-9]|1[1-9]\d|20\d)\d"
MONTH_FIRST = frozenset({"", "US", "PH", "CA"})
"""Regions whose dates in digits start with the month; the empty one stands for a bare `en`."""


def _month(written: str) -> str:
    return next(name for name in MONTHS if name.startswith(written[:3]))


def _day(written: str) -> str | None:
    return number.ordinal(written, "en") if 1 <= int(written) <= 31 else None


def _count(digits: str) -> str:
    return number.cardinal(digits, "en")


def _year(written: str) -> str:
    return number.year(written, "en")


def _month_day(match: re.Match[str]) -> str | None:
    first, last = _day(match["day"]), _day(match["last"] or match["day"])
    if first is None or last is None or (match[0][-1].isdigit() and not match["year"] and counts_things(match)):
        return None
    year = f"{match['comma']} {_year(match['year'])}" if match["year"] else ""
    return f"{_month(match['month'])} {first}{f' to {last}' if match['last'] else ''}{year}"


def _day_month(match: re.Match[str]) -> str | None:
    first, last = _day(match["day"]), _day(match["last"] or match["day"])
    if first is None or last is None:
        return None
    year = f"{match['comma']} {_year(match['year'])}" if match["year"] else ""
    the = "" if re.search(r"\b[Tt]he $", match.string[: match.start()]) else "the "
    return f"{the}{first}{f' to {last}' if match['last'] else ''} of {_month(match['month'])}{year}"


def _month_year(match: re.Match[str]) -> str:
    return f"{_month(match['month'])}{match['comma']} {_year(match['year'])}"


def _date(year: str, month: int, day: int, month_first: bool) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    name, said = list(MONTHS)[month - 1], number.ordinal(str(day), "en")
    if len(year) == 2:
        year = ("20" if int(year) < 50 else "19") + year
    return f"{name} {said}, {_year(year)}" if month_first else f"the {said} of {name} {_year(year)}"


def _iso_date(match: re.Match[str]) -> str | None:
    return _date(match[1], int(match[3]), int(match[4]), month_first=True)


def _iso_date_day_first(match: re.Match[str]) -> str | None:
    return _date(match[1], int(match[3]), int(match[4]), month_first=False)


def _slash_date(match: re.Match[str]) -> str | None:
    first, second, year = int(match[1]), int(match[2] or match[4]), match[3] or match[5]
    return _date(year, first, second, True) or _date(year, second, first, False)


def _slash_date_day_first(match: re.Match[str]) -> str | None:
    first, second, year = int(match[1]), int(match[2] or match[4]), match[3] or match[5]
    return _date(year, second, first, False) or _date(year, first, second, True)


def _plural(words: str) -> str:
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _decade(match: re.Match[str]) -> str | None:
    """Read the 1990s, the '90s and the 90s; 30s alone are seconds."""
    named = re.search(
        r"\b(?:[Tt]he|[Hh]is|[Hh]er|[Tt]heir|[Mm]y|[Yy]our|[Oo]ur|early|late|mid|low|high|upper) ?-?$",
        match.string[: match.start()],
    )
    if not (match["century"] or match["short"] or named):
        return None
    first = _year(match["century"] + match["tens"]) if match["century"] else _count(match["tens"])
    if not match["last"]:
        return _plural(first)
    last = match["last"]
    return f"{_plural(first)} to {_plural(_year(last) if len(last) == 4 else _count(last))}"


def _year_range(match: re.Match[str]) -> str:
    last = match[2]
    return f"{_year(match[1])} to {_year(last) if len(last) == 4 else _count(last)}"


def counts_things(match: re.Match[str]) -> bool:
    """Whether a plural follows a number: 1440 minutes, in May 20 people."""
    following = re.match(r"\s([a-z]+)\b", text_after(match))
    word = following[1] if following else ""
    return word in ("people", "men", "women", "children", "feet") or (word.endswith("s") and word not in NOT_PLURAL)


def bare_year(match: re.Match[str]) -> str | None:
    """Say a four-digit number as a year, unless it counts something."""
    return None if counts_things(match) else _year(match[0])


def _half_day(match: re.Match[str]) -> str | None:
    hour, minutes = int(match["hour"]), match["minutes"]
    if hour > 23 or int(minutes or 0) > 59:
        return None
    part = f"{match['part'].lower()}.m."
    said = _count(str(hour))
    if minutes and int(minutes):
        said += f" {_minutes(minutes)}"
    return f"{said} {part}"


def _minutes(digits: str) -> str:
    return f"oh {_count(digits[1])}" if int(digits[0]) == 0 else _count(digits)


_RATIO = re.compile(r" (?:ratio|scale|odds|mix|mixture|dilution|lead|win|split|aspect)\b")


def _clock(match: re.Match[str]) -> str:
    hour, minutes, seconds = int(match["hour"]), match["minutes"], match["seconds"]
    if hour > 24 or int(minutes) > 59 or (_RATIO.match(text_after(match)) and not seconds):
        return f"{_count(match['hour'])} to {_count(str(int(minutes)))}"
    said = _count(str(hour))
    if int(minutes):
        said += f" {_minutes(minutes)}"
    elif hour in (0, 24):
        said = "midnight"
    else:
        said += " o'clock" if hour <= 12 else " hundred"
    return f"{said} and {_count(str(int(seconds)))} seconds" if seconds and int(seconds) else said


def _duration(match: re.Match[str]) -> str:
    units = ("hour", "minute", "second")
    parts = [(int(match[f"{unit}s"]), unit) for unit in units if match[f"{unit}s"]]
    return " ".join(f"{_count(str(value))} {unit}{'' if value == 1 else 's'}" for value, unit in parts if value)


_HOURS = r"(?<![\w.,:])(?P<hours>\d+) ?h(?:rs?|ours?)?"
_MINUTES = r"(?P<minutes>[0-5]?\d)"
_SECONDS = r"(?P<seconds>[0-5]?\d)"
_TIME = r"\d{1,2}(?::\d\d)?\s?[AaPp]\.?[Mm]\b\.?"
_DAY = rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:{DASH}(?P<last>\d{{1,2}})(?:st|nd|rd|th)?)?"
DATES = [
    rule(rf"\b{MONTH}\s+{_DAY}(?:(?P<comma>,?)\s+(?P<year>{YEAR})\b)?(?![\d:%/])(?![.,]\d)", _month_day),
    rule(rf"\b{_DAY}(?: of)?\s+{MONTH}(?:(?P<comma>,?)\s+(?P<year>{YEAR})\b)?", _day_month),
    rule(rf"\b{MONTH}(?P<comma>,?)\s+(?P<year>{YEAR})\b(?![.,:]\d)", _month_year),
    rule(
        r"(?<![\w'’])(?:(?P<century>1[1-9]|20)|(?P<short>['’]))?(?P<tens>\d0)['’]?s(?:[-–]['’]?(?P<last>(?:1\d|20)?\d0)['’]?s)?\b",
        _decade,
    ),
    rule(rf"\b({YEAR})/(\d\d)\b(?![-–—.,:/\d])", lambda m: f"{_year(m[1])} {_count(m[2])}"),
    rule(rf"\b({YEAR})\s?[-–—]\s?({YEAR}|\d\d)\b(?![-–—.,:/]\d)", _year_range),
]
_ISO = r"\b(\d{4})([-/])(\d\d)\2(\d\d)\b(?![-/])"
_SLASHED = r"(?<![\d/-])(\d{1,2})(?:/(\d{1,2})/(\d{4}|\d\d)|-(\d{1,2})-(\d{4}))\b(?![/-])"
_DOTTED = r"(?<![\d.])(\d{1,2})\.(\d{1,2})\.(\d{4})\b(?!\.\d)"
DATES_MONTH_FIRST = [
    rule(_ISO, _iso_date),
    rule(_SLASHED, _slash_date),
    rule(_DOTTED, lambda m: _date(m[3], int(m[2]), int(m[1]), False)),
]
DATES_DAY_FIRST = [
    rule(_ISO, _iso_date_day_first),
    rule(_SLASHED, _slash_date_day_first),
    rule(_DOTTED, lambda m: _date(m[3], int(m[2]), int(m[1]), False)),
]
TIMES = [
    rule(rf"\b(\d{{1,2}}(?::\d\d)?|{_TIME})\s?[-–—]\s?(?={_TIME})", lambda m: f"{m[1]} to "),
    rule(r"\b(\d{1,2}:\d\d)\s?[-–—]\s?(?=\d{1,2}:\d\d)", lambda m: f"{m[1]} to "),
    rule(rf"{_HOURS} ?{_MINUTES} ?m(?:ins?)?(?: ?{_SECONDS} ?s(?:ecs?)?)?(?![\w:])", _duration),
    rule(rf"{_HOURS}{_MINUTES}(?P<seconds>)(?![\w:])", _duration),
    rule(rf"(?<![\w.,:])(?P<hours>)(?P<minutes>\d+) ?m(?:ins?)? ?{_SECONDS} ?s(?:ecs?)?(?![\w:])", _duration),
    rule(rf"(?<![\w.,:])(?P<hours>)(?P<minutes>\d{{1,3}}):{_SECONDS} ?min(?:utes?|s)?\b", _duration),
    rule(r"(?<=\b(?:took|last) )(?P<hours>\d{1,2}):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)(?![:\d])", _duration),
    rule(r"\b(?P<hour>\d{1,2})(?:[:.](?P<minutes>\d\d))?\s?(?P<part>[AaPp])\.?[Mm]\b\.?", _half_day),
    rule(rf"{START}(?P<hour>\d{{1,2}}):(?P<minutes>\d\d)(?::(?P<seconds>\d\d))?{END}(?: o['’]clock)?", _clock),
    rule(rf"{START}(\d+):(\d+){END}", lambda m: f"{_count(m[1])} to {_count(m[2])}"),
]
