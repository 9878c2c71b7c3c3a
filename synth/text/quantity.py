"""Quantities as they are written, in one grammar: sign, number, scale, currency or unit, rate and range.

    quantity = amount [dash amount] {rate}
    amount   = [currency] [sign] number [scale] [currency | unit]
    number   = decimal | fraction | decimal fraction | decimal × 10^power
    unit     = factor {"·" factor} {"/" factor}
    factor   = symbol [power]
    rate     = "/" (unit | word)

A language brings its notation: which signs part thousands and decimals, and what is a unit, a scale or a currency. It
says what is read here in its own way.
"""

# ruff: noqa: RUF001, RUF002  typographic dashes and signs are what is looked for

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple
from unicodedata import numeric

from .rule import any_of

VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺−", "0123456789-+-")
SIGNS = "-−+±"
LENGTHS = frozenset(["km", "m", "dm", "cm", "mm", "µm", "μm", "nm", "mi", "ft", "in", "yd", "″", "′"])
"""Units whose powers are areas and volumes, and may be written with a plain 2 or 3."""

SPACED_THOUSANDS = r"(?<![\w.,+-])(?<!\d )[1-9]\d{0,2}(?:(?: \d{3}){2,}| 000)(?![\w-]| \d)"
"""Pattern of a number whose thousands are parted by spaces, as far as it is sure to be one."""

_DASH = re.compile(r"(?P<left>\s?)[-–—−](?P<right>\s?)")
_POWER = r"(?:\^[-−]?\d{1,3}(?!\d)|[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
_TEN = re.compile(rf"[eE](?P<e>[-−+]?\d{{1,3}})(?!\w)|\s?[×x*·⋅]\s?10(?P<ten>{_POWER})")
_POWER_OF_TEN = re.compile(rf"10(?P<ten>{_POWER})")
_FRACTION = re.compile(
    rf"(?:(?P<whole>\d{{1,3}})(?P<join>[ -]?))?(?P<vulgar>[{VULGAR}])"
    r"|(?:(?P<first>\d{1,3})[ -])?(?P<top>\d{1,9})(?P<bar>[/⁄])(?P<bottom>\d{1,9})(?![\d/⁄]|[.,]\d)"
)
_HUNDRED = re.compile(r"/(?P<count>\d{1,4})\s?(?=[^\W\d_])")
_WORD = re.compile(r"\s?/\s?(?P<word>[^\W\d_]{3,})\b")


class Number(NamedTuple):
    """A number: digits alone, without separators; empty where there is none of a part."""

    whole: str = ""
    decimals: str = ""
    top: str = ""
    bottom: str = ""
    power: str = ""
    """Of ten, with its sign; ten alone is raised where there is no whole part."""

    @property
    def value(self) -> float:
        """About how much it is."""
        plain = float(f"{self.whole[-300:] or 0}.{self.decimals or 0}")
        part = int(self.top) / int(self.bottom) if self.bottom and int(self.bottom) else 0.0
        return (plain + part) * 10.0 ** max(-300, min(300, int(self.power or 0))) if plain < 1e300 else plain

    @property
    def is_fraction(self) -> bool:
        """Whether it is a fraction, or a number and a fraction."""
        return bool(self.bottom)


class Factor(NamedTuple):
    """A symbol of a unit, and its power."""

    symbol: str
    power: int = 1


class Unit(NamedTuple):
    """Factors that are multiplied, and those that they are divided by."""

    over: tuple[Factor, ...]
    under: tuple[Factor, ...] = ()
    per: str = ""
    """Of a rate for more than one: 8 L/100 km."""


class Amount(NamedTuple):
    """One end of a quantity."""

    number: Number
    sign: str = ""
    scale: str = ""
    currency: str = ""
    unit: Unit | None = None
    hyphened: bool = False
    """Whether a hyphen stands before the unit: a 5-km run."""


class Quantity(NamedTuple):
    """What was read. Scale, currency and unit that stand at one end of a range hold for both."""

    low: Amount
    high: Amount | None
    rates: tuple[Unit | str, ...]
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Notation:
    """How a language writes quantities.

    Args:
        parts: what parts thousands, as in a class of characters of a pattern.
        point: the decimal separator.
        units: symbols of units.
        scales: words and letters of scales ("million", "k").
        scale_letters: those of them that scale money alone.
        currencies: signs and codes.
        areas: what may stand before a unit for its power: "sq" for 2.
        dividing: further symbols, which are words or letters elsewhere, of units that others are divided by.
        guarded: further symbols, with the pattern of what follows them where they are units.
    """

    parts: str
    point: str
    units: Iterable[str]
    scales: Iterable[str]
    scale_letters: Iterable[str]
    currencies: Iterable[str]
    areas: dict[str, int]
    dividing: Iterable[str] = ()
    guarded: Mapping[str, str] = field(default_factory=dict)


class Grammar:
    """Reads quantities of one notation."""

    def __init__(self, notation: Notation) -> None:
        point = re.escape(notation.point)
        groups = rf"\d{{1,3}}(?:[{notation.parts}]\d{{3}})+(?!\d)"
        indian = r"|\d{1,2}(?:,\d\d)+,\d{3}(?!\d)" if "," in notation.parts else ""
        self._number = re.compile(
            rf"(?P<whole>{groups}{indian}|\d+)(?:{point}(?P<decimals>\d+))?(?!\d|{point}\d)|{point}(?P<only>\d+)"
        )
        self._parts = re.compile(f"[{notation.parts}]")
        currency = f"(?P<currency>{any_of([*notation.currencies])})"
        self._prefix = re.compile(rf"(?<![A-Za-z]){currency}(?:(?<=\W)|(?<=\w)(?![A-Za-z]))\s?")
        self._suffix = re.compile(rf"\s?{currency}(?![^\W\d_])")
        self._scale = re.compile(rf"(?:\s?|-)(?P<scale>{any_of([*notation.scales])})(?!\w)")
        self._letter = re.compile(rf"\s?(?P<scale>{any_of([*notation.scale_letters])})(?!\w)")
        guarded = "".join(f"|{re.escape(symbol)}(?={after})" for symbol, after in notation.guarded.items())
        self._over = self._factor(notation, any_of([*notation.units]) + guarded)
        self._under = self._factor(notation, any_of([*notation.units, *notation.dividing, *notation.guarded]))
        self._areas = notation.areas

    @staticmethod
    def _factor(notation: Notation, symbols: str) -> re.Pattern[str]:
        lengths = any_of([name for name in LENGTHS if name in {*notation.units, *notation.dividing}])
        areas = any_of([*notation.areas]) or "(?!)"
        return re.compile(
            rf"(?:(?P<area>{areas})\.? ?(?P<side>{lengths})"
            rf"|(?P<length>{lengths})(?P<plain>[23]|[²³]|\^[23])|(?P<symbol>{symbols})(?P<power>{_POWER})?)(?![^\W_])"
        )

    def number(self, text: str, start: int) -> tuple[Number, int] | None:
        """Read a number at a place."""
        if fraction := _FRACTION.match(text, start):
            found = _fraction(fraction)
            if found is not None:
                return found, fraction.end()
        if ten := _POWER_OF_TEN.match(text, start):
            return Number(power=str(_integer(ten["ten"]))), ten.end()
        match = self._number.match(text, start)
        if match is None:
            return None
        if match["only"]:
            number = Number("", match["only"])
        else:
            number = Number(self._parts.sub("", match["whole"]), match["decimals"] or "")
        ten = _TEN.match(text, match.end())
        if ten is None:
            return number, match.end()
        return number._replace(power=str(_integer(ten["e"] or ten["ten"]))), ten.end()

    def unit(self, text: str, start: int) -> tuple[Unit, int] | None:
        """Read a unit at a place, with what it is divided by."""
        over, end = self._factors(self._over, text, start)
        if not over:
            return None
        under: list[Factor] = [Factor(f.symbol, -f.power) for f in over if f.power < 0]
        over = [f for f in over if f.power > 0]
        while text.startswith("/", end):
            opens = text.startswith("(", end + 1)
            divided, after = self._factors(self._under, text, end + 1 + opens, many=opens)
            if not divided or (opens and not text.startswith(")", after)):
                break
            under, end = [*under, *divided], after + opens
        return (Unit(tuple(over), tuple(under)), end) if over else None

    def _factors(self, factor: re.Pattern[str], text: str, start: int, many: bool = True) -> tuple[list[Factor], int]:
        found: list[Factor] = []
        end = start
        while match := factor.match(text, end + (1 if found else 0)):
            found, end = [*found, self._read_factor(match)], match.end()
            if not many or text[end : end + 1] not in ("·", "⋅", "*"):
                break
        return found, end

    def _read_factor(self, match: re.Match[str]) -> Factor:
        if match["side"]:
            return Factor(match["side"], self._areas[match["area"]])
        if match["length"]:
            return Factor(match["length"], _integer(match["plain"]))
        return Factor(match["symbol"], _integer(match["power"] or "1") or 1)

    def amount(self, text: str, start: int, money: bool = False) -> tuple[Amount, int] | None:
        """Read one end of a quantity at a place; of money if it has a currency, or the other end has."""
        sign, end = _sign(text, start)
        prefix = self._prefix.match(text, end)
        currency = prefix["currency"] if prefix else ""
        if prefix:
            second, end = _sign(text, prefix.end())
            sign = sign or second
        read = self.number(text, end)
        if read is None:
            return None
        number, end = read
        scale = ""
        if not number.power:
            letter = self._letter.match(text, end) if currency or money else None
            match = letter or self._scale.match(text, end)
            if match:
                scale, end = match["scale"], match.end()
        amount = Amount(number, sign, scale, currency)
        suffix = self._suffix.match(text, end)
        if suffix and (not currency or len(suffix["currency"]) > 1):  # $5 USD
            return amount._replace(currency=suffix["currency"]), suffix.end()
        if not currency and not scale:  # 5 m€, 5k €
            letter = self._letter.match(text, end)
            suffix = self._suffix.match(text, letter.end()) if letter else None
            if letter and suffix:
                return amount._replace(scale=letter["scale"], currency=suffix["currency"]), suffix.end()
        if currency:
            return amount, end
        gap = text[end : end + 1]
        glued = gap not in (" ", "-")
        if found := self.unit(text, end if glued else end + 1):
            return amount._replace(unit=found[0], hyphened=gap == "-"), found[1]
        return amount, end

    def read(self, text: str, start: int) -> Quantity | None:
        """Read a quantity at a place; None if none begins there."""
        first = self.amount(text, start)
        if first is None:
            return None
        (low, end), high = first, None
        if second := self._high(text, end, low):
            high, end = second
        rates: list[Unit | str] = []
        whole = high or low
        measured = whole.unit is not None or bool(low.currency or whole.currency)
        rate: Unit | str
        while True:
            if text.startswith("/", end) and (found := self.unit(text, end + 1)):
                rate, end = found
            elif measured and (hundred := _HUNDRED.match(text, end)) and (found := self.unit(text, hundred.end())):
                rate, end = found
                rate = rate._replace(per=hundred["count"])
            elif measured and (word := _WORD.match(text, end)):
                rate, end = word["word"], word.end()
            else:
                break
            rates.append(rate)
        return Quantity(low, high, tuple(rates), start, end, text)

    def _high(self, text: str, start: int, low: Amount) -> tuple[Amount, int] | None:
        dash = _DASH.match(text, start)
        if dash is None or low.hyphened or low.number.power:
            return None
        second = self.amount(text, dash.end(), money=bool(low.currency))
        if second is None:
            return None
        high, end = second
        spaced = bool(dash["left"]) or bool(dash["right"])
        bare = not (low.unit or high.unit or low.currency or high.currency or low.scale or high.scale)
        if spaced and dash["left"] != dash["right"]:
            return None
        if spaced and bare and (high.number.value <= low.number.value or re.match(r"\s?[=+*×÷/-]", text[end:])):
            return None
        if (low.unit and low.unit != high.unit) or (low.currency and high.currency not in ("", low.currency)):
            return None
        # 555-1234-99 is no range, nor is 5-year-old's 5 with what follows.
        return None if re.match(r"[-–]\d|[^\W\d_]", text[end:]) and bare else (high, end)


def _fraction(match: re.Match[str]) -> Number | None:
    if match["vulgar"]:
        value = Fraction(numeric(match["vulgar"])).limit_denominator(10)
        return Number(match["whole"] or "", "", str(value.numerator), str(value.denominator))
    if match["first"] and not 0 < int(match["top"]) < int(match["bottom"]):
        return None
    return Number(match["first"] or "", "", match["top"], match["bottom"])


def _integer(power: str) -> int:
    return int(power.lstrip("^").translate(SUPERSCRIPTS))


def _sign(text: str, start: int) -> tuple[str, int]:
    """A sign before a number, which no letter, digit or bracket may stand before."""
    sign = text[start : start + 1]
    if not sign or sign not in SIGNS or (start and (text[start - 1].isalnum() or text[start - 1] in "._)")):
        return "", start
    return sign.replace("−", "-"), start + 1 + text.startswith(" ", start + 1) * (sign == "±")
