"""Digits, quantities and numbers within German text: where they stand decides what they are."""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re
from unicodedata import numeric

from anytalk.synth.text import number
from anytalk.synth.text.quantity import SUPERSCRIPTS, Grammar, Notation, Unit
from anytalk.synth.text.rule import Reader, Rule, rule, text_after

from .abbreviation import ends_sentence
from .number import YEAR, count, say_quantity, say_unit, year
from .ordinal import one
from .table import CURRENCIES, ONLY_DIVIDING, SCALE_LETTERS, SCALES, UNITS

N = r"(?:(?:\d{1,3}(?:[.'’\u202f]\d{3})+(?!\d)|\d+)(?:,\d+)?)"
_ALONE = frozenset(["km", "m", "dm", "cm", "mm", "kg", "g", "mg", "l", "L", "ml", "kWh", "MB", "GB", "Mbit"])
"""Units that are read without a number before them."""
START = r"(?<!\d)(?<!\d[.,])"
GRAMMAR = Grammar(
    Notation(
        parts=".'’\u202f",
        point=",",
        units=UNITS,
        scales=SCALES,
        scale_letters=SCALE_LETTERS,
        currencies=CURRENCIES,
        areas={},
        dividing=ONLY_DIVIDING,
    )
)


def _quantity(text: str, start: int) -> tuple[str, int] | None:
    """Read a quantity with a unit, a currency, a fraction, a scale or a range; bare numbers may be years."""
    before = text[max(0, start - 2) : start]
    if before[-1:].isalpha() or (before[-1:] in (".", ",", ":", "/") and before[:1].isdigit()):
        return None
    found = GRAMMAR.read(text, start)
    if found is None:
        return None
    low = found.low
    plain = not (low.number.is_fraction or low.number.power or low.scale or low.currency or low.unit)
    if plain and found.high is None and low.sign in ("", "-"):
        return None
    end = found.end
    last = found.rates[-1] if found.rates else (found.high or low).unit
    if isinstance(last, Unit) and not found.high and not found.rates and ends_sentence(text[end:]):
        # The stop of "5 Min. Dann" ends the sentence too.
        end -= text[end - 1] == "."
    return say_quantity(found), end


def _bare_unit(text: str, start: int) -> tuple[str, int] | None:
    """Read a unit without a number: km/h, pro m²."""
    if not text[start].isalpha() or (start and (text[start - 1].isalnum() or text[start - 1] in "/.")):
        return None
    found = GRAMMAR.unit(text, start)
    if found is None or not (found[0].under or found[0].over[0].power > 1):
        return None
    unit, end = found
    if unit.over[0].symbol not in _ALONE:
        return None
    singular = re.search(r"\b(?:pro|je|ein|jeder|einen?) $", text[max(0, start - 7) : start]) is not None
    return say_unit(unit, singular), end


def _phone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(number.digit_by_digit(group, "de") for group in re.findall(r"\d+", match[0]))


def _dotted(match: re.Match[str]) -> str:
    return " Punkt ".join(count(part) for part in match[0].split("."))


def _compound(match: re.Match[str]) -> str:
    """Read 5-jährig, 18-Jährige, 3-mal as one word."""
    said = count(match[1]) + match[2].lower()
    return said.capitalize() if match[2][0].isupper() else said


def _percent(match: re.Match[str]) -> str:
    return f"{count(match[1])}prozentig{match[2]}"


def _coefficient(match: re.Match[str]) -> str | None:
    before, after = match.string[: match.start()], text_after(match)
    if re.match(r"\s?[+=^²³)÷]|\s[-−/*] ?[\da-z]", after) or re.search(r"[=(÷]\s?$|[\dxyz²³)]\s?[-+−*]\s?$", before):
        return f"{count(match[1])} {match[2]}"
    return None


def _area(match: re.Match[str]) -> str:
    return f"{count(match[1])} Quadratmeter"


def _power(match: re.Match[str]) -> str | None:
    before = match.string[match.start() - 1 : match.start()]
    if not (before.isalnum() or before == ")"):
        return None
    digits = match[0].lstrip("^").translate(SUPERSCRIPTS)
    minus = "minus " if digits.startswith(("-", "−")) else ""
    return f"hoch {minus}{count(digits.lstrip('-−'))}"


_LABEL = re.compile(
    r"\b(?:Nummer|Absatz|Seite|Kapitel|Artikel|Paragraf|Band|Abbildung|Platz|Teil|Zimmer|Gleis|Linie|Stufe) $"
)


def _number(match: re.Match[str]) -> str:
    named = _LABEL.search(match.string[: match.start()])
    noun = re.match(r" ([A-ZÄÖÜ]\w+)", text_after(match)) if match[0] == "1" and not named else None
    return one(noun[1]) if noun else count(match[0])


DIGITS: list[Rule | Reader] = [
    rule(r"(?<![\d/])24/7(?![\d/])", "vierundzwanzig sieben"),
    rule(r"(?<![\d/])(?:\+\d{1,3}[ -]?)(?:\(?\d{1,5}\)?[ /-]?){2,6}\d", _phone),
    rule(r"(?<![\w.,(])\(?0\d{2,5}\)?\s?[ /-]\s?\d{3,}(?:[ -]\d+)*", _phone),
    rule(r"(?<![\w.,])(\d+)-?([Mm]al)\b", lambda m: f"{'ein' if m[1] == '1' else count(m[1])}mal"),
    rule(r"(?<![\w.,])(\d+)-([a-zäöüß]{4,}|Jährige\w*)(?!\w)", _compound),
    rule(r"(?<![\w.,])(\d+(?:,\d+)?)\s?%-?ig(\w*)", _percent),
    rule(r"(?<![\w.,])(\d+)([a-z])(?![^\W_])", _coefficient),
    rule(rf"{START}({N})\s?qm\b", _area),
    rule(r"(?<=[A-Za-z])\d+(?=[A-Za-z])|(?<=[A-Za-z])\d{1,3}(?![\d.,:/-])", lambda m: count(m[0])),
]
MEASURES: list[Rule | Reader] = [
    rule(rf"{START}({N})\s?[x×]\s?(?={N})(?! ?10[\^⁰¹²³⁴⁵⁶⁷⁸⁹⁻])", lambda m: f"{count(m[1])} mal "),
    rule(rf"{START}({N})\s?[x×](?!\w)(?! ?10[\^⁰¹²³⁴⁵⁶⁷⁸⁹⁻])", lambda m: f"{count(m[1])} mal"),
    rule(rf"{START}({N})(?:\s?÷\s?|\s/\s|\s:\s)(?={N})", lambda m: f"{count(m[1])} geteilt durch "),
    rule(rf"{START}({N})\s?[-−]\s?(?={N}\s?=)", lambda m: f"{count(m[1])} minus "),
    rule(rf"{START}(\d+)/(?=(\d+)\s?=)", lambda m: f"{count(m[1])} geteilt durch " if int(m[1]) > int(m[2]) else None),
    _quantity,
    _bare_unit,
]
NUMBERS: list[Rule | Reader] = [
    rule(r"#\s?(?=\d)", "Nummer "),
    rule(r"(?<!\w)[~≈]\s?(?=[$€£]?\d)", "etwa "),
    rule(r"(?<![\w<])<\s?(?=[$€£]?\d)", "weniger als "),
    rule(r"(?<![\w>])>\s?(?=[$€£]?\d)", "mehr als "),
    rule(r"(?<![\d,.])\d+(?:\.\d{1,2}\b)+(?:\.\d+)*(?!\d)", _dotted),
    rule(rf"{START}({N})\s[-−]\s(?={N})", lambda m: f"{count(m[1])} minus "),
    rule(rf"{START}({N})\s?\*\s?(?={N})", lambda m: f"{count(m[1])} mal "),
    rule(r"(?<![\w.)])[-−](?=\d)", "minus "),
    rule(rf"(?<![\w.,]){YEAR}(?!\w|[.,]\d)", lambda m: year(m[0])),
    rule(rf"{START}{N}|\d+", _number),
    rule(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^[-−]?\d+", _power),
    rule("[²³¹⁰-⁹₀-₉①-⑨⓪❶-❾➀-➈➊-➒⓵-⓽⑴-⑼⒈-⒐]", lambda m: count(str(int(numeric(m[0]))))),
]
"""What no quantity is."""
