"""German abbreviations, titles, streets and Roman numerals."""

import re

from anytalk.synth.text import number
from anytalk.synth.text.quantity import SPACED_THOUSANDS, Factor, Unit
from anytalk.synth.text.rule import any_of, rule, text_after

from .date import DAY_RANGES
from .number import count, say_unit
from .ordinal import ending
from .table import ABBREVIATIONS, BEFORE_NUMBER, DAYS, ENDS_SENTENCE, REGNAL, STARTERS, TITLES

_PARTS = sorted((key.replace(" ", "").split(".")[:-1] for key in ABBREVIATIONS), key=len, reverse=True)
_ANY = "|".join(
    r"\.\s?".join([f"[{parts[0][0].upper()}{parts[0][0]}]{parts[0][1:]}", *parts[1:]]) + r"\." for parts in _PARTS
)
SHORT = (
    frozenset([*TITLES, *BEFORE_NUMBER, *DAYS, "u", "Str", "str"])
    | {part[:1].swapcase() + part[1:] for parts in _PARTS for part in parts}
    | {part for parts in _PARTS for part in parts}
)
"""Words that a full stop shortens."""


def ends_sentence(after: str) -> bool:
    """Whether a full stop before a text is its sentence's too."""
    following = re.match(r"[\"“)]*\s+[\"„(]?(\w+)", after)
    return not after.strip('"“”)') or bool(following and STARTERS.fullmatch(following[1]))


def _abbreviation(match: re.Match[str]) -> str:
    short = re.sub(r"\.\s?(?=\w)", ". ", match[0])
    key = short if short in ABBREVIATIONS else short[0].swapcase() + short[1:]
    words = ABBREVIATIONS[key]
    words = words[0].upper() + words[1:] if short[0].isupper() and key != short else words
    return words + ("." if key in ENDS_SENTENCE and ends_sentence(text_after(match)) else "")


def _street(match: re.Match[str]) -> str:
    return f"{match[1]}aße" + ("." if ends_sentence(text_after(match)) else "")


def _ruler(match: re.Match[str]) -> str | None:
    value = number.roman(match[2])
    if not value:
        return None
    dative = re.search(r"\b(?:[Vv]on|[Uu]nter|[Mm]it|[Bb]ei|[Nn]ach|[Zz]u|[Aa]us) $", match.string[: match.start()])
    said = number.ordinal(str(value), "de").capitalize()
    stop = "." if match[0].endswith(".") and ends_sentence(text_after(match)) else ""
    return f"{match[1]} {'dem' if dative else 'der'} {said}{'n' if dative else ''}{stop}"


def _numbered(match: re.Match[str]) -> str | None:
    value = number.roman(match[2])
    return f"{match[1]} {count(str(value))}" if value else None


def _roman_ordinal(match: re.Match[str]) -> str | None:
    value = number.roman(match[1])
    before, after = match.string[: match.start()], text_after(match)
    return number.ordinal(str(value), "de") + ending(before, after) if value else None


_UNITS = any_of(["kg", "g", "mg", "km", "cm", "mm", "ml", "l", "kWh", "MB", "GB", "TB", "Std", "Min", "Sek", "h"])
PER_UNIT = rf"\b(pro|je) ({_UNITS})\b(?![/²³^-])"
"""Units that need no number before them, behind a word that none but a unit follows."""

BEFORE_NUMBERS = [
    rule(PER_UNIT + r"(?:\.(?=[,;:)]| [a-zäöüß0-9(]))?", lambda m: f"{m[1]} {say_unit(Unit((Factor(m[2]),)), True)}"),
    rule(r"(?<=\d) ?f\.(?!\w)", lambda m: " folgende" + ("." if ends_sentence(text_after(m)) else "")),
    rule(r"(?<=\d) ?ff\.(?!\w)", lambda m: " fortfolgende" + ("." if ends_sentence(text_after(m)) else "")),
    rule(r"(?:(?<=CHF )|(?<=Fr\. ))(\d+)\.(\d\d)(?!\d)", lambda m: f"{m[1]},{m[2]}"),
    rule(r"(?<![\d.,])(\d+)\.(\d\d)(?= ?(?:CHF|Fr\.|Franken)(?!\w))", lambda m: f"{m[1]},{m[2]}"),
    rule(SPACED_THOUSANDS, lambda m: m[0].replace(" ", "\u202f")),
    rule(rf"\b({any_of(list(BEFORE_NUMBER))})\.\s?(?=\d)", lambda m: f"{BEFORE_NUMBER[m[1]]} "),
    rule(rf"\b({REGNAL.pattern}) ([IVX]+)\b\.?", _ruler),
    rule(r"\b(Kapitel|Teil|Band|Akt|Artikel|Klasse|Stufe|Buch|Hartz|Abschnitt) ([IVX]+)\b(?!\.\s[a-zäöü])", _numbered),
    rule(r"\b([IVX]+)\.(?= (?:Weltkrieg|Weltkriegs|Jahrhundert|Quartal|Akt|Internationale)\b)", _roman_ordinal),
]
ABBREVIATED = [
    *DAY_RANGES,
    rule(rf"(?<![\w./])(?<!\d )(?<!\d)(?:{_ANY})(?!\w)", _abbreviation),
    rule(rf"\b({any_of(list(TITLES))})\.(?=[\s-]*[A-ZÄÖÜ])", lambda m: TITLES[m[1]]),
    rule(r"\b(\w*[Ss]tr)\.(?!\w)", _street),
    rule(r"(?<=[a-zäöüß] )u\.(?= [A-Za-zÄÖÜäöü])", "und"),
]
