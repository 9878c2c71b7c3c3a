"""Quantities within English text: where they stand decides what they are."""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re
from unicodedata import numeric

from anytalk.synth.text import number
from anytalk.synth.text.number import START
from anytalk.synth.text.quantity import VULGAR, Grammar, Notation, Number, Quantity, Unit
from anytalk.synth.text.rule import Reader, Rule, rule, text_after

from .currency import CURRENCIES, SCALE_LETTERS, SCALES
from .date import YEAR, bare_year, counts_things
from .number import NAMES, count, say_quantity
from .unit import AREAS, ONLY_DIVIDING, UNITS

N = r"(?:(?:\d{1,3}(?:[,\u202f]\d{3})+(?!\d)|\d{1,2}(?:,\d\d)+,\d{3}(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
"""Pattern of a number as it is written, without its sign."""
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))
_INCHES = (
    r"\.?[\"”)]*\s*$|\.\s+[A-Z]|\.\s+[a-z]|\.?,|\.\)|\s?[x×/]\s?|\s[-–]\s|\s(?:by|wide|long|tall|high|deep|thick|across"
    r"|square|in diameter|of (?:rain|snow|water)|diameter|(?:pipe|bolt|nail|screw|board|screen|monitor|ruler)s?)\b"
    rf"|(?:(?<=/\d in)|(?<=/\d\d in)|(?<=[{VULGAR}] in))\s(?!the|an?\b|all|favor|[A-Z\d])"
)
"""What follows "in" where it is an inch."""
GRAMMAR = Grammar(
    Notation(
        parts=",\u202f",
        point=".",
        units=UNITS,
        scales=SCALES,
        scale_letters=SCALE_LETTERS,
        currencies=CURRENCIES,
        areas=AREAS,
        dividing=ONLY_DIVIDING,
        guarded={"in": _INCHES},
    )
)
_ABBREVIATED = frozenset(["fl", "h", *(name for name in NAMES if name.isalpha() and name.islower() and len(name) > 1)])
_ALONE = frozenset(
    ["km", "m", "cm", "mm", "mi", "ft", "in", "kg", "g", "mg", "µg", "l", "L", "ml", "mL", "kWh", "MB", "GB"]
)
"""Units that are read without a number before them."""
_SIDES = (
    r"\s?(?:cm|mm|m|km|ft|in|yd|px|feet|foot|inch|inches|meters?|grid|table|board|matrix|room|array|photo|rug|tile)\b"
)


def _quantity(text: str, start: int) -> tuple[str, int] | None:
    """Read a quantity with a unit, a currency, a fraction, a scale or a range; bare numbers may be years."""
    before = text[max(0, start - 2) : start]
    inside = before[-1:] in (".", ",", ":", "/") and before[:1].isdigit() and text[start].isdigit()
    if before[-1:].isalpha() or inside:
        return None
    found = GRAMMAR.read(text, start)
    if found is None or _is_bare(found):
        return None
    if found.low.number in (Number(power="2"), Number(power="3")) and not (found.high or found.low.unit):
        return None  # Ten squared.
    end = found.end
    last = found.rates[-1] if found.rates else (found.high or found.low).unit
    if isinstance(last, Unit) and re.match(r"\.(?=[,;:)]|\s+[a-z0-9(])", text[end:]):
        symbol = (last.under or last.over)[-1].symbol
        end += symbol in _ABBREVIATED
    return say_quantity(found, _before_a_thing(found)), end


def _is_bare(found: Quantity) -> bool:
    low = found.low
    plain = not (low.number.is_fraction or low.number.power or low.scale or low.currency or low.unit)
    return plain and found.high is None and (not low.sign or low.sign == "-")


def _before_a_thing(found: Quantity) -> bool:
    """Whether the unit stands in the singular before a noun: a 5 km run."""
    if found.high is not None or not re.match(r"\s[a-z]", found.text[found.end :]):
        return False
    return re.search(r"\b(?:[Aa]n?|[Ee]very|[Ee]ach) $", found.text[max(0, found.start - 7) : found.start]) is not None


def _scaled_letter(match: re.Match[str]) -> str | None:
    """Read 1.5M users, 50K people and 20k; the 3M company, 4K and a 10K run have letters."""
    letter = match["letter"]
    counts = counts_things(match) or re.match(r"\+? [a-z]+s\b", text_after(match)) is not None
    named = re.match(
        r" (?:run|race|walk|fun|tv|TV|video|resolution|display|monitor|screen|camera)\b", text_after(match)
    )
    scaled = "." in match["low"] or counts or (letter == "k" and not named) or (letter == "K" and len(match["low"]) > 1)
    if not scaled or (named and not counts):
        return None
    return f"{count(match['low'])} {SCALE_LETTERS[letter]}"


def _bare_unit(text: str, start: int) -> tuple[str, int] | None:
    """Read a unit without a number: km/h, per m²."""
    if not text[start].isalpha() or (start and (text[start - 1].isalnum() or text[start - 1] in "/.")):
        return None
    found = GRAMMAR.unit(text, start)
    if found is None:
        return None
    unit, end = found
    symbol = unit.over[0].symbol
    if not (unit.under or unit.over[0].power > 1) or symbol not in _ALONE:
        return None
    singular = re.search(r"\b(?:per|an?|each|every|one|half) $", text[max(0, start - 6) : start]) is not None
    low = GRAMMAR.amount("1" if singular else "2", 0)
    assert low is not None
    said = say_quantity(Quantity(low[0]._replace(unit=unit), None, (), start, end, text), singular)
    return said.partition(" ")[2], end


def _height(match: re.Match[str]) -> str:
    return f"{count(match[1])} foot {count(match[2])}"


def _coordinate(match: re.Match[str]) -> str:
    seconds = f" {count(match[3])} seconds" if match[3] else ""
    return f"{count(match[1])} degrees {count(match[2])} minutes{seconds}"


def _product(match: re.Match[str]) -> str:
    """Read a times sign: "by" between the sides of a thing, "times" in a sum."""
    sides = [side for side in (match[1], match[2], match[3]) if side]
    glued = "x" in match[0] and " " not in match[0] and "=" not in text_after(match)[:2]
    sized = re.match(_SIDES, text_after(match)) or all(len(side) > 2 for side in sides)
    return f" {'by' if glued or sized else 'times'} ".join(sides)


def _scaled_power(match: re.Match[str]) -> str:
    written = "".join(SUPERSCRIPTS.get(character, character) for character in match[0].lstrip("^"))
    minus = "minus " if written.startswith(("-", "−", "⁻")) else ""
    digits = written.lstrip("-−⁻")
    if not minus and digits in ("2", "3"):
        return "squared" if digits == "2" else "cubed"
    return f"to the power of {minus}{count(digits)}"


def _ordinal(match: re.Match[str]) -> str:
    said = number.ordinal(match[1].replace(",", ""), "en")
    return said.capitalize() if re.match(r" (?:St|Ave|Av|Blvd|Rd|Ln|Street|Avenue)\b", text_after(match)) else said


def _other_digits(match: re.Match[str]) -> str:
    return count(str(int(numeric(match[0]))))


MEASURES: list[Rule | Reader] = [
    rule(r"(?<!\w)(\d)['’′] ?(\d{1,2})(?:[\"”″]|(?=[\s,.;]|$))", _height),
    rule(r"(?<![\w.,])(\d) ?(?:ft|feet|foot)\.? (\d{1,2}) ?in\b\.?", _height),
    rule(r"(?<![\w.,])(\d{1,3})° ?(\d{1,2})[′'](?: ?(\d{1,2})[″\"])?", _coordinate),
    rule(rf"{START}({N})\s?[x×]\s?({N})(?!\d|\.\d|[eE]\d|\^|[⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹])(?:\s?[x×]\s?({N}))?", _product),
    rule(rf"{START}({N})\s?[x×](?![\w])(?! ?10[\^⁰¹²³⁴⁵⁶⁷⁸⁹⁻])(?!\s?\d)", lambda m: f"{count(m[1])} times"),
    rule(rf"{START}({N})\s?[-−]\s?(?={N}\s?=)", lambda m: f"{count(m[1])} minus "),
    rule(rf"{START}({N})(?:\s?÷\s?|\s/\s)(?={N})", lambda m: f"{count(m[1])} divided by "),
    rule(rf"{START}(\d+)/(?=(\d+)\s?=)", lambda m: f"{count(m[1])} divided by " if int(m[1]) > int(m[2]) else None),
    rule(
        rf"{START}(\d+\.\d+)/(?=\d+(?![\d/]|\.\d))|{START}(\d+)/(?=\d+ stars?\b)",
        lambda m: f"{count(m[1] or m[2])} out of ",
    ),
    rule(
        rf"(?<=\b[Ww]hat is )({N})\s?[-−]\s?(?={N})|(?<=\b[Ww]hat['’]s )({N})\s?[-−]\s?(?={N})",
        lambda m: f"{count(m[1] or m[2])} minus ",
    ),
    rule(r"\b(\d+)(?:st|nd|rd|th)\s?[-–]\s?(?=\d+(?:st|nd|rd|th)\b)", lambda m: f"{_ordinal(m)} to "),
    rule(r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", _ordinal),
    rule(rf"(?<![\w.,])(?P<low>{N})(?P<letter>[kKMB])\b", _scaled_letter),
    _quantity,
    _bare_unit,
]
NUMBERS = [
    rule(r"#\s?(?=\d)", "number "),
    rule(r"(?<!\w)[~≈]\s?(?=[$€£¥₹]?\.?\d)", "about "),
    rule(r"(?<=[\da-z)] )<\s?(?=[$€£]?\d)", lambda m: "is less than " if _follows_a_value(m) else "less than "),
    rule(r"(?<=[\da-z)] )>\s?(?=[$€£]?\d)", lambda m: "is greater than " if _follows_a_value(m) else "more than "),
    rule(r"(?<![\w<])<\s?(?=[$€£]?\d)", "less than "),
    rule(r"(?<![\w>])>\s?(?=[$€£]?\d)", "more than "),
    rule(r"(?<=(?<![^\W\d_])[a-z] )[-−] (?=\d)", "minus "),
    rule(rf"{START}({N})\s+[-−]\s+(?={N})", lambda m: f"{count(m[1])} minus "),
    rule(rf"{START}({N})\s?\*\s?(?={N})", lambda m: f"{count(m[1])} times "),
    rule(r"(?<![\w.)])[-−](?=\d|\.\d)", "minus "),
    rule(rf"(?<![\w.,]){YEAR}(?!\w|[.,]\d)", bare_year),
    rule(rf"{START}{N}|\d+", lambda m: count(m[0])),
    rule(r"(?:[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^[-−]?\d+)", lambda m: _scaled_power(m) if _raised(m) else None),
    rule("[²³¹⁰-⁹₀-₉①-⑨⓪❶-❾➀-➈➊-➒⓵-⓽⑴-⑼⒈-⒐]", _other_digits),
]
"""What no quantity is."""


def _follows_a_value(match: re.Match[str]) -> bool:
    """Whether a number or a letter of a formula stands before a sign of comparison."""
    return re.search(r"(?:\d|(?<!['’\w])[b-z]|[)°%]) $", match.string[: match.start()]) is not None


def _raised(match: re.Match[str]) -> bool:
    """Whether a power has something to raise before it."""
    before = match.string[match.start() - 1 : match.start()]
    return before.isalnum() or before == ")"
