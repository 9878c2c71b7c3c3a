"""German numbers, fractions, units and money, as they are said."""

# ruff: noqa: RUF001  apostrophes that part thousands

import re

from anytalk.synth.text import number
from anytalk.synth.text.quantity import LENGTHS, Amount, Factor, Number, Quantity, Unit

from .table import CURRENCIES, MASCULINE, ONE_OF, ONLY_DIVIDING, SCALE_LETTERS, SCALES, UNITS

NAMES = UNITS | ONLY_DIVIDING
SIGNS = {"-": "minus ", "+": "plus ", "±": "plus minus ", "": ""}
YEAR = r"1[1-9]\d\d"
_PARTS = {2: "Halbe", 3: "Drittel", 7: "Siebtel", 8: "Achtel"}
_ACCUSATIVE, _NOMINATIVE, _DATIVE = 0, 1, 2


def count(written: str) -> str:
    """Say a number: points part its thousands, a comma its decimals."""
    whole, _, decimals = re.sub(r"[.'’\u202f]", "", written).partition(",")
    said = number.cardinal(whole, "de")
    return f"{said} Komma {number.digit_by_digit(decimals, 'de')}" if decimals else said


def year(written: str) -> str:
    """Say a year."""
    return number.year(written, "de") if re.fullmatch(YEAR, written) else count(written)


def say_part(top: int, bottom: int) -> str:
    """Say top / bottom: "drei Viertel"; "ein halb" for a half."""
    if not 2 <= bottom <= 20:
        return f"{count(str(top))} durch {count(str(bottom))}"
    upper = "ein" if top == 1 else count(str(top))
    if bottom == 2 and top == 1:
        return "ein halb"
    name = _PARTS.get(bottom) or f"{count(str(bottom)).capitalize()}{'tel' if bottom < 20 else 'stel'}"
    return f"{upper} {name}"


def say_number(found: Number) -> str:
    """Say any number: "zweieinhalb", "drei mal zehn hoch acht"."""
    if found.bottom:
        if not found.whole:
            return say_part(int(found.top), int(found.bottom))
        whole = "ein" if found.whole == "1" else count(found.whole)
        if (found.top, found.bottom) == ("1", "2"):
            return f"{whole}einhalb"
        return f"{whole} {say_part(int(found.top), int(found.bottom))}"
    said = (
        count(f"{found.whole or '0'},{found.decimals}" if found.decimals else found.whole)
        if found.whole or found.decimals
        else ""
    )
    if not found.power:
        return said
    power = f"zehn hoch {'minus ' if found.power[0] == '-' else ''}{count(found.power.lstrip('-'))}"
    return f"{said} mal {power}" if said else power


def say_unit(unit: Unit, singular: bool) -> str:
    """Say a unit: "Kilogramm pro Kubikmeter"."""
    *first, last = [_factor(factor) for factor in unit.over]
    name = "".join([*(one for one, _ in first), last[0] if singular else last[1]])
    joined = name[0] + name[1:].lower() if first else name
    return joined + "".join(f" pro {_factor(factor)[0]}" for factor in unit.under)


def _factor(factor: Factor) -> tuple[str, str]:
    one, many = NAMES[factor.symbol]
    if factor.power == 1:
        return one, many
    if factor.symbol in LENGTHS and factor.power in (2, 3):
        kind = "Quadrat" if factor.power == 2 else "Kubik"
        return kind + one.lower(), kind + many.lower()
    power = "zum Quadrat" if factor.power == 2 else f"hoch {count(str(factor.power))}"
    return f"{one} {power}", f"{many} {power}"


def _rate(rate: Unit | str) -> str:
    if isinstance(rate, str):
        return f" pro {rate}"
    return f" pro {count(rate.per)} {say_unit(rate, False)}" if rate.per else f" pro {say_unit(rate, True)}"


def say_quantity(found: Quantity) -> str:
    """Say a quantity."""
    low, high = found.low, found.high
    last = high or low
    currency = low.currency or last.currency
    if currency:
        said = _money(low, high, currency)
    elif last.unit:
        said = _measured(found, last, last.unit)
    else:
        said = _ends(low, high)
    return said + "".join(map(_rate, found.rates))


def _ends(low: Amount, high: Amount | None) -> str:
    if high is None:
        return _scaled(low)
    first = low._replace(scale="" if low.scale == high.scale else low.scale)
    return f"{_scaled(first)} bis {_scaled(high)}"


def _scaled(amount: Amount) -> str:
    scale = (SCALE_LETTERS | SCALES)[amount.scale] if amount.scale else ""
    sign = SIGNS[amount.sign]
    if amount.number == Number("1") and scale:
        one = ONE_OF.get(scale, scale)
        return f"{sign}{'ein' if one == 'tausend' else 'eine'} {one}"
    return f"{sign}{say_number(amount.number)} {scale}".strip()


def _measured(found: Quantity, amount: Amount, unit: Unit) -> str:
    sign, value = SIGNS[amount.sign], amount.number
    alone = found.high is None and not amount.scale
    name = say_unit(unit, singular=True)
    feminine = NAMES[unit.over[-1].symbol][1].endswith("n") and NAMES[unit.over[-1].symbol][0].endswith("e")
    if alone and value == Number("1"):
        return f"{sign}{'eine' if feminine else 'ein'} {name}"
    if alone and value == Number("", "", "1", "2"):
        return f"{sign}{_half(name, feminine, _case(found))}"
    if alone and value.is_fraction and not value.whole:
        return f"{sign}{say_number(value).lower()} {name}"
    return f"{_ends(found.low, found.high)} {say_unit(unit, singular=False)}"


def _case(found: Quantity) -> int:
    """Case of what is measured: an object, unless it begins the sentence or follows certain words."""
    before = found.text[max(0, found.start - 12) : found.start]
    if re.search(r"\b(?:[Mm]it|[Vv]on|[Aa]us|[Bb]ei|[Nn]ach|[Zz]u|[Vv]or|[Ss]eit) $", before):
        return _DATIVE
    is_subject = not before.strip() or re.search(r"[.!?] $|\b(?:ist|war|bleibt|fehlt|reicht|genügt|sind) $", before)
    return _NOMINATIVE if is_subject else _ACCUSATIVE


def _half(name: str, feminine: bool, case: int) -> str:
    if feminine:
        return f"{'einer halben' if case == _DATIVE else 'eine halbe'} {name}"
    if case == _DATIVE:
        return f"einem halben {name}"
    if not name.startswith(("Quadrat", "Kubik")) and not name.endswith(MASCULINE):
        return f"ein halbes {name}"
    return f"{'ein halber' if case == _NOMINATIVE else 'einen halben'} {name}"


def _money(low: Amount, high: Amount | None, currency: str) -> str:
    note, coin = CURRENCIES[currency]
    if high is None:
        return _sum(low, note, coin)
    if coin and any(len(amount.number.decimals) == 2 and not amount.scale for amount in (low, high)):
        return f"{_sum(low, note, coin)} bis {_sum(high, note, coin)}"
    return f"{_ends(low, high)} {note}"


def _sum(amount: Amount, note: str, coin: str) -> str:
    value, sign = amount.number, SIGNS[amount.sign]
    if value.is_fraction and not value.whole and not amount.scale:
        half = (value.top, value.bottom) == ("1", "2")
        return f"{sign}{'einen halben' if half else say_number(value).lower()} {note}"
    if amount.scale or value.is_fraction or value.power or (value.decimals and (len(value.decimals) != 2 or not coin)):
        return f"{_scaled(amount)} {note}"
    coins = int(value.decimals or 0)
    said = (
        [f"{'ein' if value.whole == '1' else count(value.whole or '0')} {note}"]
        if value.whole.strip("0") or not coins
        else []
    )
    said += [f"{'ein' if coins == 1 else count(str(coins))} {coin}"] if coins else []
    return sign + " und ".join(said)
