"""German as it is said. Words keep the gender and case that can be told from the words beside the number.

What cannot be told is said in the commonest way: a lone 1 before a noun is "ein".
"""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re

from . import number
from .rule import any_of, apply, rule, spaced

MONTHS = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
]

ABBREVIATIONS = {
    "z. B.": "zum Beispiel",
    "d. h.": "das heißt",
    "u. a.": "unter anderem",
    "u. U.": "unter Umständen",
    "i. d. R.": "in der Regel",
    "o. Ä.": "oder Ähnliches",
    "u. Ä.": "und Ähnliches",
    "s. o.": "siehe oben",
    "s. u.": "siehe unten",
    "z. T.": "zum Teil",
    "v. a.": "vor allem",
    "v. Chr.": "vor Christus",
    "n. Chr.": "nach Christus",
    "usw.": "und so weiter",
    "etc.": "et cetera",
    "bzw.": "beziehungsweise",
    "bspw.": "beispielsweise",
    "ca.": "circa",
    "evtl.": "eventuell",
    "ggf.": "gegebenenfalls",
    "inkl.": "inklusive",
    "exkl.": "exklusive",
    "zzgl.": "zuzüglich",
    "max.": "maximal",
    "min.": "minimal",
    "mind.": "mindestens",
    "vgl.": "vergleiche",
    "sog.": "sogenannt",
    "geb.": "geboren",
    "gest.": "gestorben",
    "vs.": "gegen",
    "Jh.": "Jahrhundert",
    "Tel.": "Telefon",
    "Std.": "Stunden",
    "Min.": "Minuten",
    "Sek.": "Sekunden",
}
ENDS_SENTENCE = {"usw.", "etc.", "o. Ä.", "u. Ä.", "v. Chr.", "n. Chr.", "Jh.", "s. o.", "s. u."}

TITLES = {"Dr": "Doktor", "Prof": "Professor", "Hr": "Herr", "Fr": "Frau", "St": "Sankt"}
BEFORE_NUMBER = {"Nr": "Nummer", "S": "Seite", "Abb": "Abbildung", "Kap": "Kapitel", "Art": "Artikel", "Abs": "Absatz"}

UNITS = {
    "km": "Kilometer",
    "m": "Meter",
    "cm": "Zentimeter",
    "mm": "Millimeter",
    "km/h": "Kilometer pro Stunde",
    "m/s": "Meter pro Sekunde",
    "m²": "Quadratmeter",
    "km²": "Quadratkilometer",
    "m³": "Kubikmeter",
    "kg": "Kilogramm",
    "g": "Gramm",
    "mg": "Milligramm",
    "l": "Liter",
    "L": "Liter",
    "ml": "Milliliter",
    "ha": "Hektar",
    "W": "Watt",
    "kW": "Kilowatt",
    "kWh": "Kilowattstunden",
    "V": "Volt",
    "Hz": "Hertz",
    "kHz": "Kilohertz",
    "MHz": "Megahertz",
    "GHz": "Gigahertz",
    "MB": "Megabyte",
    "GB": "Gigabyte",
    "TB": "Terabyte",
    "dB": "Dezibel",
    "kcal": "Kilokalorien",
    "min": "Minuten",
    "Min.": "Minuten",
    "h": "Stunden",
    "Std.": "Stunden",
    "s": "Sekunden",
    "Sek.": "Sekunden",
    "°C": "Grad Celsius",
    "°F": "Grad Fahrenheit",
    "°": "Grad",
    "%": "Prozent",
    "‰": "Promille",
}
FEMININE = {
    "Minuten": "Minute",
    "Stunden": "Stunde",
    "Sekunden": "Sekunde",
    "Kilowattstunden": "Kilowattstunde",
    "Kilokalorien": "Kilokalorie",
    "Millionen": "Million",
    "Milliarden": "Milliarde",
}
SCALES = {"Mio.": "Millionen", "Mrd.": "Milliarden", "Tsd.": "tausend"} | {
    word: word for word in ("Millionen", "Million", "Milliarden", "Milliarde", "tausend")
}

CURRENCIES = {
    "€": ("Euro", "Cent"),
    "EUR": ("Euro", "Cent"),
    "$": ("Dollar", "Cent"),
    "USD": ("US-Dollar", "Cent"),
    "£": ("Pfund", "Pence"),
    "GBP": ("Pfund", "Pence"),
    "CHF": ("Franken", "Rappen"),
}

SYMBOLS = {
    "&": "und",
    "@": "at",
    "%": "Prozent",
    "‰": "Promille",
    "°C": "Grad Celsius",
    "°": "Grad",
    "±": "plus minus",
    "×": "mal",
    "÷": "geteilt durch",
    "−": "minus",
    "=": "gleich",
    "+": "plus",
    "≈": "ungefähr",
    "§§": "Paragrafen",
    "§": "Paragraf",
    "€": "Euro",
    "$": "Dollar",
    "£": "Pfund",
    "®": "",
    "™": "",
}

N = r"(?:(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?)"
START = r"(?<!\d)(?<!\d[.,])"
END = r"(?!\d)(?![.,]\d)"
RANGE = rf"(?P<low>{N})(?:\s?[-–—]\s?(?P<high>{N}))?"
YEAR = r"1[1-9]\d\d"
SIGN = r"(?:(?<![\w.)])(?P<sign>[-−]))?"
SCALE = rf"(?:\s?(?P<scale>{any_of(list(SCALES))})(?!\w))?"
VULGAR = {"½": "ein halb", "¼": "ein Viertel", "¾": "drei Viertel", "⅓": "ein Drittel", "⅔": "zwei Drittel"}
DATIVE = r"\b(?:[Aa]m|[Vv]om|[Zz]um|[Bb]eim|[Ii]m|[Dd]em|[Dd]en|[Dd]es|[Dd]er|[Bb]is|[Aa]b|[Ss]eit|[Vv]or|[Nn]ach)"


def normalise_german(text: str) -> str:
    """Write German out as it is said.

    >>> normalise_german("Am 3. Mai kostete es z. B. 3,50 €.")
    'Am dritten Mai kostete es zum Beispiel drei Euro und fünfzig Cent.'
    """
    return apply(_RULES, text)


def count(written: str) -> str:
    """Say a number: points part its thousands, a comma its decimals."""
    whole, _, decimals = written.replace(".", "").partition(",")
    said = number.cardinal(whole, "de")
    return f"{said} Komma {number.digit_by_digit(decimals, 'de')}" if decimals else said


def _counts(match: re.Match[str]) -> str:
    low, high = count(match["low"]), match["high"]
    return f"{low} bis {count(high)}" if high else low


def _abbreviation(match: re.Match[str]) -> str:
    short = re.sub(r"\.\s?(?=\w)", ". ", match[0])
    ends = short in ENDS_SENTENCE and re.match(r"\s*$|\s+[A-ZÄÖÜ]\w+ [a-zäöü]", match.string[match.end() :])
    return ABBREVIATIONS[short] + ("." if ends else "")


def _ordinal(match: re.Match[str]) -> str:
    """Inflect an ordinal by the word before it: "der dritte", "am dritten", "dritter"."""
    stem = number.ordinal(match["day"], "de")
    before = match.string[: match.start()]
    if re.search(r"\b(?:[Dd]er|[Dd]ie|[Dd]as) $", before):
        return stem
    return stem + ("n" if re.search(rf"{DATIVE} $", before) else "r")


def _date(match: re.Match[str]) -> str | None:
    if not 1 <= int(match["day"]) <= 31:
        return None
    month = match["month"]
    if month.isdigit():
        if not 1 <= int(month) <= 12:
            return None
        month = MONTHS[int(month) - 1]
    else:
        month = next(name for name in MONTHS if name.startswith(month.rstrip(".")[:3]))
    year = f" {_year(match['year'])}" if match["year"] else ""
    return f"{_ordinal(match)} {month}{year}"


def _numbered_noun(match: re.Match[str]) -> str | None:
    """A number with a full stop is an ordinal after an article, or before a word in small letters."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    article = not before or re.search(rf"(?:{DATIVE}|\b[Dd]ie|\b[Dd]as) $", before)
    return _ordinal(match) if int(match["day"]) and (article or after[1].islower()) else None


def _year(written: str) -> str:
    return number.year(written, "de") if re.fullmatch(YEAR, written) else count(written)


def _clock(match: re.Match[str]) -> str | None:
    hour, minutes = int(match["hour"]), int(match["minutes"] or 0)
    if hour > 24 or minutes > 59:
        return None
    said = "ein Uhr" if hour == 1 else f"{count(str(hour))} Uhr"
    return f"{said} {count(str(minutes))}" if minutes else said


def _money(match: re.Match[str]) -> str:
    note, coin = CURRENCIES[match["currency"]]
    whole, _, decimals = match["low"].partition(",")
    minus = "minus " if match["sign"] else ""
    if len(decimals) == 2 and not match["high"] and not match["scale"]:
        coins = "ein" if int(decimals) == 1 else count(str(int(decimals)))
        notes = "ein" if whole == "1" else count(whole)
        said = [f"{notes} {note}"] if whole.strip("0.") or not int(decimals) else []
        said += [f"{coins} {coin}"] if int(decimals) else []
        return minus + " und ".join(said)
    return f"{minus}{_scaled_count(match)} {note}"


def _scaled_count(match: re.Match[str]) -> str:
    scale = SCALES[match["scale"]] if match["scale"] else ""
    if match["low"] == "1" and not match["high"]:
        one = "eine" if scale in FEMININE or scale in FEMININE.values() else "ein"
        return f"{one} {FEMININE.get(scale, scale)}".strip()
    return f"{_counts(match)} {scale}".strip()


def _scaled(match: re.Match[str]) -> str | None:
    return _scaled_count(match) if match["scale"] else None


def _quantity(match: re.Match[str]) -> str:
    name = UNITS[match["unit"]]
    minus = "minus " if match["sign"] else ""
    if match["low"] == "1" and not match["high"] and not match["scale"]:
        return f"{minus}eine {FEMININE[name]}" if name in FEMININE else f"{minus}ein {name}"
    return f"{minus}{_scaled_count(match)} {name}"


def _fraction(match: re.Match[str]) -> str | None:
    top, bottom = int(match["top"]), int(match["bottom"])
    if not 2 <= bottom <= 10:
        return f"{count(match['top'])} durch {count(match['bottom'])}"
    upper = "ein" if top == 1 else count(match["top"])
    names = {2: "halb" if top == 1 else "Halbe", 3: "Drittel", 7: "Siebtel", 8: "Achtel"}
    return f"{upper} {names.get(bottom) or f'{count(str(bottom)).capitalize()}tel'}"


def _phone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(number.digit_by_digit(group, "de") for group in re.findall(r"\d+", match[0]))


def _number(match: re.Match[str]) -> str:
    before_noun = match[0] == "1" and re.match(r" [A-ZÄÖÜ]", match.string[match.end() :])
    return "ein" if before_noun else count(match[0])


def _dotted(match: re.Match[str]) -> str:
    return " Punkt ".join(count(part) for part in match[0].split("."))


_SHORT = sorted((key.replace(" ", "").split(".") for key in ABBREVIATIONS), key=len, reverse=True)
_SHORT_PATTERN = "|".join(r"\.\s?".join(map(re.escape, parts[:-1])) + r"\." for parts in _SHORT)
_MONTH = rf"(?P<month>{'|'.join(MONTHS)}|(?:Jan|Feb|Mär|Apr|Jun|Jul|Aug|Sept|Sep|Okt|Nov|Dez)\.)"

_RULES = [
    rule(rf"\b({any_of(list(TITLES))})\.(?=\s*[A-ZÄÖÜ])", lambda m: TITLES[m[1]]),
    rule(rf"\b({any_of(list(BEFORE_NUMBER))})\.\s?(?=\d)", lambda m: f"{BEFORE_NUMBER[m[1]]} "),
    rule(r"\b(\w*[Ss]tr)\.(?!\w)", lambda m: f"{m[1]}aße"),
    rule(rf"(?<![\w.])(?<!\d )(?<!\d)(?:{_SHORT_PATTERN})(?!\w)", _abbreviation),
    rule(rf"\b(?P<day>\d{{1,2}})\.\s?{_MONTH}(?:\s(?P<year>\d{{4}})\b)?", _date),
    rule(r"\b(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})\b", _date),
    rule(
        r"(?:(?<=[Aa]m )|(?<=[Vv]om )|(?<=[Bb]is )|(?<=[Zz]um )|(?<=[Dd]er ))"
        r"(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.(?P<year>)(?!\d)",
        _date,
    ),
    rule(rf"\b({YEAR}|20\d\d)[-–—]({YEAR}|20\d\d)\b", lambda m: f"{_year(m[1])} bis {_year(m[2])}"),
    rule(r"(?<![\d/])(?:\+\d{1,3}[ -]?)(?:\(?\d{2,5}\)?[ /-]?){2,5}\d", _phone),
    rule(r"(?<![\d.,])0\d{2,5}[ /-]\d{3,}(?:[ -]\d+)*", _phone),
    rule(rf"{START}(?P<hour>\d{{1,2}})(?:[:.](?P<minutes>\d\d))?\sUhr\b", _clock),
    rule(rf"{START}(?P<hour>\d{{1,2}}):(?P<minutes>\d\d){END}", _clock),
    rule(rf"{START}{SIGN}{RANGE}{SCALE}\s?(?P<currency>{any_of(list(CURRENCIES))})(?!\w)", _money),
    rule(rf"{SIGN}(?P<currency>{any_of(list(CURRENCIES))})\s?{RANGE}{SCALE}", _money),
    rule(rf"{START}{SIGN}{RANGE}{SCALE}[\s-]?(?P<unit>{any_of(list(UNITS))})(?!\w)", _quantity),
    rule(rf"{START}{RANGE}{SCALE}", _scaled),
    rule(rf"{START}(?P<top>\d{{1,9}})/(?P<bottom>\d{{1,9}})(?![\d/])", _fraction),
    rule(r"(?<!\d)(\d+)½", lambda m: "eineinhalb" if m[1] == "1" else f"{count(m[1])}einhalb"),
    rule("[½¼¾⅓⅔]", lambda m: VULGAR[m[0]]),
    rule(r"\b(?P<day>\d{1,3})\.(?=\s[A-ZÄÖÜa-zäöü])", _numbered_noun),
    rule(r"(?<![\d,.])\d+(?:\.\d{1,2}\b)+(?:\.\d+)*(?!\d)", _dotted),
    rule(rf"{START}({N})\s?[x×]\s?(?={N})", lambda m: f"{count(m[1])} mal "),
    rule(rf"{START}({N})\s?[x×](?!\w)", lambda m: f"{count(m[1])} mal"),
    rule(rf"{START}({N})\s[-−]\s(?={N})", lambda m: f"{count(m[1])} minus "),
    rule(rf"{START}({N})(?:[-–—]|\s[–—]\s)(?={N})", lambda m: f"{count(m[1])} bis "),
    rule(r"(?<![\w.)])[-−](?=\d)", "minus "),
    rule(rf"(?<![\w.,]){YEAR}(?!\w|[.,]\d)", lambda m: _year(m[0])),
    rule(rf"{START}{N}|\d+", _number),
    rule(any_of(list(SYMBOLS)), lambda m: spaced(m, SYMBOLS[m[0]])),
]
