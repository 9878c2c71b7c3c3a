"""German dates, decades, times of day and scores."""

# ruff: noqa: RUF001  typographic dashes and quotes are what is looked for

import re

from anytalk.synth.text.number import DASH, END, START
from anytalk.synth.text.rule import rule, text_after

from .number import YEAR, count, year
from .ordinal import CALLED_FOR, ending, ordinal
from .table import DAYS, MONTHS

MONTH = rf"(?:{'|'.join(MONTHS)}\b|(?:Jan|Feb|Mär|Apr|Jun|Jul|Aug|Sept|Sep|Okt|Nov|Dez)\.)"
_LINK = r",? (?:und|oder|bis|sowie|bis zum) "
_RESULT = re.compile(
    r"\b(?:sieg\w*|gewann\w*|gewinn\w*|verl\w+|Verhältnis\w*|Maßstab|Ergebnis|steht|stand|Spielstand|Endstand|mit|endete|Tore?|Stand)\b",
    re.IGNORECASE,
)


def _month(written: str) -> str:
    if written.isdigit():
        return MONTHS[int(written) - 1] if 1 <= int(written) <= 12 else ""
    return next(name for name in MONTHS if name.startswith(written.rstrip(".")[:3]))


def _in_month(match: re.Match[str], day: str, after: str) -> str:
    return ordinal(day, ending(match.string[: match.start()], after))


def _date(match: re.Match[str]) -> str | None:
    month = _month(match["month"])
    if not (month and 1 <= int(match["day"]) <= 31):
        return None
    written = match["year"] or ""
    if len(written) == 2:
        written = ("20" if int(written) < 50 else "19") + written
    said = _in_month(match, match["day"], f" {month}")
    return f"{said} {month}{f' {year(written)}' if written else ''}"


def _iso(match: re.Match[str]) -> str | None:
    month, day = _month(match[2]), int(match[3])
    if not (month and 1 <= day <= 31):
        return None
    return f"{_in_month(match, str(day), f' {month}')} {month} {year(match[1])}"


def _two_ordinals(match: re.Match[str]) -> str | None:
    """Read 1. und 2. Januar: both have the ending of the first."""
    after = text_after(match)
    end = ending(match.string[: match.start()], after)
    first, second = match["day"], match["last"]
    if not (int(first) and int(second)):
        return None
    link = " bis " if match["dash"] else match["link"]
    return f"{ordinal(first, end)}{link}{ordinal(second, end)}"


def _ordinal(match: re.Match[str]) -> str | None:
    """A number with a full stop is an ordinal after an article, or before a word in small letters."""
    before, after = match.string[: match.start()], text_after(match)
    called_for = not before or CALLED_FOR.search(before)
    if not int(match["day"]) or not (called_for or after[1:2].islower()):
        return None
    return ordinal(match["day"], ending(before, after))


def _decade(match: re.Match[str]) -> str:
    said = f"{year(match['tens'])}er{match['dative']}"
    return said if re.match(r"[- ]Jahr", text_after(match)) or match["tens"][-1] != "0" else said.capitalize()


def _clock(match: re.Match[str]) -> str | None:
    hour, minutes = int(match["hour"]), int(match["minutes"] or 0)
    if hour > 24 or minutes > 59:
        return None
    said = "ein Uhr" if hour == 1 else f"{count(str(hour))} Uhr"
    return f"{said} {count(str(minutes))}" if minutes else said


def _bare_clock(match: re.Match[str]) -> str | None:
    """Read 7:30 as a time unless it is a result."""
    return None if _RESULT.search(match.string, max(0, match.start() - 25), match.start()) else _clock(match)


def _hours(match: re.Match[str]) -> str | None:
    """Read 9-17 Uhr: the first time is said without its word."""
    first, minutes = int(match["first"]), int(match["past"] or 0)
    if first > 24 or minutes > 59:
        return None
    if minutes:
        return f"{count(str(first))} Uhr {count(str(minutes))} bis "
    return f"{'eins' if first == 1 else count(str(first))} bis "


def _stunden(digits: str) -> str:
    return "eine Stunde" if digits == "1" else f"{count(digits)} Stunden"


def _ratio(match: re.Match[str]) -> str:
    return f"{count(match[1])} zu {count(match[2])}"


_DAY = rf"\b({'|'.join(DAYS)})\b\.?"
DAY_RANGES = [
    rule(rf"{_DAY}\s?[-–]\s?{_DAY}", lambda m: f"{DAYS[m[1]]} bis {DAYS[m[2]]}"),
    rule(
        r"(?:(?<=\b[Aa]m )|(?<=\b[Aa]b )|(?<=\b[Bb]is )|(?<=\b[Vv]on )|(?<=\b[Jj]eden )|(?<=\bbis )|(?<=tag und ))"
        rf"({'|'.join(DAYS)})\.(?=[\s,;])",
        lambda m: DAYS[m[1]],
    ),
]
DATES = [
    rule(r"\b(\d{4})-(\d\d)-(\d\d)\b(?!-)", _iso),
    rule(
        rf"\b(?P<day>\d{{1,2}})\.(?:(?P<dash>\s?[-–]\s?)|(?P<link>{_LINK}))(?P<last>\d{{1,2}})\.(?=\s?[A-ZÄÖÜa-zäöü])",
        _two_ordinals,
    ),
    rule(rf"\b(?P<day>\d{{1,2}})\.\s?(?P<month>{MONTH})(?:\s(?P<year>\d{{4}})\b)?", _date),
    rule(r"\b(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4}|\d\d)\b(?![.,:]\d|\sUhr)", _date),
    rule(
        r"(?:(?<=[Aa]m )|(?<=[Vv]om )|(?<=[Bb]is )|(?<=[Zz]um )|(?<=[Dd]er )|(?<=[Dd]en )|(?<=[Aa]b ))"
        r"(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.(?P<year>)(?!\d)",
        _date,
    ),
    rule(rf"\b({YEAR}|20\d\d){DASH}({YEAR}|20\d\d)\b(?![.,:]\d)", lambda m: f"{year(m[1])} bis {year(m[2])}"),
    rule(rf"\b({YEAR}|20\d\d)/(\d\d)\b(?![-/.,\d])", lambda m: f"{year(m[1])} {count(m[2])}"),
    rule(r"(?<![\w.,])['’]?(?P<tens>\d+)er(?P<dative>n?)\b", _decade),
]
TIMES = [
    rule(r"(?<![\w.,])(\d{1,2})h([0-5]\d)(?!\w)", lambda m: f"{_stunden(m[1])} {count(m[2])}"),
    rule(rf"{START}(\d+):(?=\d+\s?=)", lambda m: f"{count(m[1])} geteilt durch "),
    rule(
        rf"{START}(?P<first>\d{{1,2}})(?:[:.](?P<past>\d\d))?(?: Uhr)?\s?[-–—]\s?"
        r"(?=\d{1,2}(?:[:.]\d\d)?\s?(?:Uhr|h)\b)",
        _hours,
    ),
    rule(rf"{START}(?P<hour>\d{{1,2}})(?:[:.](?P<minutes>\d\d))?\s?Uhr\b", _clock),
    rule(rf"{START}(?P<hour>\d{{1,2}}):(?P<minutes>\d\d)\s?h\b", _clock),
    rule(r"(?:(?<=\b[Uu]m )|(?<=\b[Aa]b )|(?<=\b[Bb]is )|(?<=\bgegen ))(?P<hour>\d{1,2})(?P<minutes>)\s?h\b", _clock),
    rule(rf"{START}(?P<hour>\d{{1,2}}):(?P<minutes>\d\d){END}(?!:)", _bare_clock),
    rule(rf"{START}(\d+):(\d{{1,3}}(?:\.\d{{3}})+|\d+){END}(?!:)", _ratio),
    rule(r"\b(?P<day>\d{1,3})\.(?=\s[A-ZÄÖÜa-zäöü])", _ordinal),
]
