"""English numbers, fractions, units and money, as they are said."""

import re

from anytalk.synth.text import number
from anytalk.synth.text.quantity import Amount, Factor, Number, Quantity, Unit

from .currency import CURRENCIES, SCALE_LETTERS, SCALES
from .unit import ONLY_DIVIDING, UNITS

NAMES = UNITS | ONLY_DIVIDING
ALL_SCALES = SCALE_LETTERS | SCALES
OF_PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
SIGNS = {"-": "minus ", "+": "plus ", "±": "plus or minus ", "": ""}


def count(written: str) -> str:
    """Say a number: digits with or without separators and decimals."""
    whole, _, decimals = re.sub("[,\u202f]", "", written).partition(".")
    said = number.cardinal(whole, "en") if whole else ""
    return f"{said} point {number.digit_by_digit(decimals, 'en')}".strip() if decimals else said


def say_number(found: Number) -> str:
    """Say any number: "one and a half", "three times ten to the eight"."""
    if found.bottom:
        part = say_part(int(found.top), int(found.bottom), mixed=bool(found.whole))
        return f"{count(found.whole)} and {part}" if found.whole else part
    said = count(f"{found.whole}.{found.decimals}" if found.decimals else found.whole)
    if not found.power:
        return said
    power = f"{'minus ' if found.power[0] == '-' else ''}{count(found.power.lstrip('-'))}"
    return f"{said} times ten to the {power}" if said else f"ten to the power of {power}"


def say_part(top: int, bottom: int, mixed: bool = False, of_unit: bool = False) -> str:
    """Say top / bottom: "three quarters", "seven out of ten", "five over zero"."""
    if bottom in (10, 100) and not mixed and not of_unit and top > 1:
        return f"{count(str(top))} out of {count(str(bottom))}"
    if not (2 <= bottom <= 10 or (top < bottom and bottom in (12, 16, 20, 25, 32, 50, 64, 100, 1000))):
        return f"{count(str(top))} over {count(str(bottom))}"
    one, many = OF_PARTS.get(bottom) or ((name := number.ordinal(str(bottom), "en")), f"{name}s")
    if top == 1:
        article = "an" if one == "eighth" else "a"
        return f"{article if mixed else 'one'} {one}"
    return f"{count(str(top))} {many}"


def say_unit(unit: Unit, singular: bool) -> str:
    """Say a unit: "meters per second squared"."""
    *first, last = [_factor(factor) for factor in unit.over]
    names = [one for one, _ in first] + [last[0] if singular else last[1]]
    return " ".join(names) + "".join(f" per {_factor(factor)[0]}" for factor in unit.under)


def _factor(factor: Factor) -> tuple[str, str]:
    names = NAMES[factor.symbol]
    if factor.power == 1:
        return names
    if factor.symbol in _AREAS and factor.power in (2, 3):
        kind = "square" if factor.power == 2 else "cubic"
        return f"{kind} {names[0]}", f"{kind} {names[1]}"
    power = {2: "squared", 3: "cubed"}.get(factor.power) or f"to the {number.ordinal(str(factor.power), 'en')}"
    return f"{names[0]} {power}", f"{names[1]} {power}"


_AREAS = frozenset(["km", "m", "dm", "cm", "mm", "µm", "μm", "nm", "mi", "ft", "in", "yd"])


def say_rate(rate: Unit | str) -> str:
    """Say what comes after a slash: " per hour"."""
    if isinstance(rate, str):
        return f" per {rate}"
    return f" per {count(rate.per)} {say_unit(rate, False)}" if rate.per else f" per {say_unit(rate, True)}"


def say_quantity(found: Quantity, singular: bool) -> str:
    """Say a quantity.

    Args:
        found: as it was read.
        singular: whether a single thing's unit stands before a noun: a 5 km run.
    """
    low, high = found.low, found.high
    last = high or low
    currency = low.currency or last.currency
    if currency:
        said = _money(found, currency, singular)
    elif last.unit:
        said = _measured(found, last.unit, last.hyphened, singular)
    else:
        said = _ends(found)
    return said + "".join(map(say_rate, found.rates))


def _ends(found: Quantity) -> str:
    low, high = found.low, found.high
    if high is None:
        return _scaled(low)
    first = low._replace(scale="" if low.scale == high.scale else low.scale)
    return f"{_scaled(first)} to {_scaled(high)}"


def _scaled(amount: Amount) -> str:
    scale = f" {ALL_SCALES[amount.scale]}" if amount.scale else ""
    return f"{SIGNS[amount.sign]}{say_number(amount.number)}{scale}"


def _measured(found: Quantity, unit: Unit, hyphened: bool, singular: bool) -> str:
    amount = found.high or found.low
    fraction = amount.number
    if fraction.is_fraction and not fraction.whole and found.high is None and not hyphened and not singular:
        return f"{SIGNS[amount.sign]}{_part_of(fraction, say_unit(unit, singular=True))}"
    one = found.high is None and not amount.scale and amount.number == Number("1")
    if fraction.is_fraction and not fraction.whole and singular and fraction == Number("", "", "1", "2"):
        return f"half {say_unit(unit, singular=True)}"
    return f"{_ends(found)}{'-' if hyphened else ' '}{say_unit(unit, one or singular or hyphened)}"


def _part_of(fraction: Number, unit: str) -> str:
    """Say part of a unit: "half a milligram", "five eighths of an inch"."""
    article = "an" if unit.startswith(("a", "e", "i", "o", "hour")) else "a"
    if (fraction.top, fraction.bottom) == ("1", "2"):
        return f"half {article} {unit}"
    part = say_part(int(fraction.top), int(fraction.bottom), of_unit=True)
    if unit == "percent":
        return f"{part} {unit}"
    return f"{part} {unit}s" if " over " in part else f"{part} of {article} {unit}"


def _money(found: Quantity, currency: str, singular: bool) -> str:
    if found.high is None:
        return _sum(found.low, currency, singular)
    coins = [amount for amount in (found.low, found.high) if len(amount.number.decimals) == 2]
    if coins and not found.low.scale and not found.high.scale and CURRENCIES[currency][2]:
        return f"{_sum(found.low, currency, False)} to {_sum(found.high, currency, False)}"
    return f"{_ends(found)} {CURRENCIES[currency][1]}"


def _sum(amount: Amount, currency: str, singular: bool) -> str:
    """Say an amount of money: "three dollars and fifty cents"."""
    one, many, cent, cents = CURRENCIES[currency]
    value, sign = amount.number, SIGNS[amount.sign]
    if len(value.decimals) == 2 and cent and not amount.scale and not value.power:
        coins = f"{count(str(int(value.decimals)))} {cent if int(value.decimals) == 1 else cents}"
        notes = f"{count(value.whole or '0')} {one if value.whole == '1' else many}"
        if int(value.decimals) == 0:
            return sign + notes
        return sign + (f"{notes} and {coins}" if value.whole.strip("0") else coins)
    if value.is_fraction and not value.whole and not amount.scale:
        return sign + _part_of(value, one)
    is_one = value == Number("1") and not amount.scale
    return f"{_scaled(amount)} {one if is_one or singular else many}"
