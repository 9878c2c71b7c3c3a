"""What German abbreviations, units, currencies and symbols are called."""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re

from anytalk.synth.text.unit import with_prefixes

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
DAYS = {name[:2]: name for name in ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag")}

ABBREVIATIONS = {
    "z. B.": "zum Beispiel",
    "zw.": "zwischen",
    "rd.": "rund",
    "p. a.": "pro Jahr",
    "Fa.": "Firma",
    "Jg.": "Jahrgang",
    "Hrsg.": "Herausgeber",
    "z. Zt.": "zurzeit",
    "zz.": "zurzeit",
    "d. h.": "das heißt",
    "u. a.": "unter anderem",
    "u. U.": "unter Umständen",
    "u. v. m.": "und vieles mehr",
    "i. d. R.": "in der Regel",
    "i. A.": "im Auftrag",
    "m. E.": "meines Erachtens",
    "o. Ä.": "oder Ähnliches",
    "o. g.": "oben genannt",
    "u. Ä.": "und Ähnliches",
    "s. o.": "siehe oben",
    "s. u.": "siehe unten",
    "z. T.": "zum Teil",
    "v. a.": "vor allem",
    "v. Chr.": "vor Christus",
    "n. Chr.": "nach Christus",
    "usw.": "und so weiter",
    "usf.": "und so fort",
    "etc.": "et cetera",
    "bzw.": "beziehungsweise",
    "bzgl.": "bezüglich",
    "bspw.": "beispielsweise",
    "ca.": "circa",
    "evtl.": "eventuell",
    "eventl.": "eventuell",
    "ggf.": "gegebenenfalls",
    "gem.": "gemäß",
    "inkl.": "inklusive",
    "exkl.": "exklusive",
    "zzgl.": "zuzüglich",
    "abzgl.": "abzüglich",
    "max.": "maximal",
    "min.": "minimal",
    "mind.": "mindestens",
    "vgl.": "vergleiche",
    "sog.": "sogenannt",
    "geb.": "geboren",
    "gest.": "gestorben",
    "tgl.": "täglich",
    "lt.": "laut",
    "wg.": "wegen",
    "vs.": "gegen",
    "Jh.": "Jahrhundert",
    "Jhd.": "Jahrhundert",
    "Bsp.": "Beispiel",
    "Hbf.": "Hauptbahnhof",
    "Bhf.": "Bahnhof",
    "Tel.": "Telefon",
    "Std.": "Stunden",
    "Min.": "Minuten",
    "Sek.": "Sekunden",
}
ENDS_SENTENCE = {
    "usw.",
    "usf.",
    "etc.",
    "o. Ä.",
    "u. Ä.",
    "u. v. m.",
    "v. Chr.",
    "n. Chr.",
    "Jh.",
    "Jhd.",
    "s. o.",
    "s. u.",
    "Hbf.",
    "Bhf.",
    "Std.",
    "Min.",
    "Sek.",
}
STARTERS = re.compile(
    "Aber|Alle|Als|Also|Auch|Bitte|Da|Dabei|Damit|Danach|Dann|Das|Dass|Davor|Denn|Der|Deshalb|Die|Dies|Diese|Dieser|Doch|Du"
    "|Ein|Eine|Er|Es|Euer|Hier|Ich|Ihr|Im|In|Ja|Jetzt|Man|Mein|Nein|Nur|Oder|Sein|Sie|So|Und|Uns|Unser|Wann|Warum|Was|Wenn"
    "|Wer|Wie|Wir|Wo|Zum|Zur|Zuerst"
)
"""Words that begin a sentence; other words with a capital are nouns."""

TITLES = {
    "Dr": "Doktor",
    "Prof": "Professor",
    "Hr": "Herr",
    "Hrn": "Herrn",
    "Fr": "Frau",
    "St": "Sankt",
    "Ing": "Ingenieur",
    "Mag": "Magister",
}
BEFORE_NUMBER = {
    "Nr": "Nummer",
    "Hausnr": "Hausnummer",
    "Nrn": "Nummern",
    "S": "Seite",
    "Abb": "Abbildung",
    "Tab": "Tabelle",
    "Kap": "Kapitel",
    "Art": "Artikel",
    "Abs": "Absatz",
    "Bd": "Band",
    "Ziff": "Ziffer",
}

_PREFIXES = {
    "n": "Nano",
    "µ": "Mikro",
    "m": "Milli",
    "c": "Zenti",
    "d": "Dezi",
    "h": "Hekto",
    "k": "Kilo",
    "M": "Mega",
    "G": "Giga",
    "T": "Tera",
    "P": "Peta",
}
_BASES = {
    "m": ("Meter", "Meter"),
    "g": ("Gramm", "Gramm"),
    "l": ("Liter", "Liter"),
    "L": ("Liter", "Liter"),
    "s": ("Sekunde", "Sekunden"),
    "Hz": ("Hertz", "Hertz"),
    "W": ("Watt", "Watt"),
    "Wh": ("Wattstunde", "Wattstunden"),
    "V": ("Volt", "Volt"),
    "Ah": ("Amperestunde", "Amperestunden"),
    "Pa": ("Pascal", "Pascal"),
    "bar": ("Bar", "Bar"),
    "J": ("Joule", "Joule"),
    "N": ("Newton", "Newton"),
    "Ω": ("Ohm", "Ohm"),
    "eV": ("Elektronenvolt", "Elektronenvolt"),
    "cal": ("Kalorie", "Kalorien"),
    "mol": ("Mol", "Mol"),
    "t": ("Tonne", "Tonnen"),
    "bit": ("Bit", "Bit"),
}
_PREFIXED = {
    symbol: (one[0] + one[1:].lower(), many[0] + many[1:].lower())
    for symbol, (one, many) in with_prefixes(
        {**_BASES, "A": ("Ampere", "Ampere"), "B": ("Byte", "Byte")}, _PREFIXES
    ).items()
}
UNITS = {
    **_BASES,
    **_PREFIXED,
    "ha": ("Hektar", "Hektar"),
    "ft": ("Fuß", "Fuß"),
    "mi": ("Meile", "Meilen"),
    "lb": ("Pfund", "Pfund"),
    "mph": ("Meile pro Stunde", "Meilen pro Stunde"),
    "Zoll": ("Zoll", "Zoll"),
    "″": ("Zoll", "Zoll"),
    "PS": ("PS", "PS"),
    "kn": ("Knoten", "Knoten"),
    "dB": ("Dezibel", "Dezibel"),
    "U/min": ("Umdrehung pro Minute", "Umdrehungen pro Minute"),
    "Mbit": ("Megabit", "Megabit"),
    "min": ("Minute", "Minuten"),
    "Min": ("Minute", "Minuten"),
    "Min.": ("Minute", "Minuten"),
    "h": ("Stunde", "Stunden"),
    "Std": ("Stunde", "Stunden"),
    "Std.": ("Stunde", "Stunden"),
    "sek": ("Sekunde", "Sekunden"),
    "Sek": ("Sekunde", "Sekunden"),
    "Sek.": ("Sekunde", "Sekunden"),
    "Mon.": ("Monat", "Monate"),
    "J.": ("Jahr", "Jahre"),
    "EL": ("Esslöffel", "Esslöffel"),
    "TL": ("Teelöffel", "Teelöffel"),
    "Stk.": ("Stück", "Stück"),
    "°C": ("Grad Celsius", "Grad Celsius"),
    "° C": ("Grad Celsius", "Grad Celsius"),
    "°F": ("Grad Fahrenheit", "Grad Fahrenheit"),
    "°": ("Grad", "Grad"),
    "%": ("Prozent", "Prozent"),
    "‰": ("Promille", "Promille"),
}
ONLY_DIVIDING = {"A": ("Ampere", "Ampere"), "K": ("Kelvin", "Kelvin"), "d": ("Tag", "Tage"), "a": ("Jahr", "Jahre")}
MASCULINE = ("meter", "liter", "löffel", "Meter", "Liter", "Tag", "Monat", "Zoll", "Hektar", "Knoten")
"""Endings of units that are masculine; those with a plural in -n are feminine, all others neuter."""

SCALES = {
    "Mio.": "Millionen",
    "Mio": "Millionen",
    "Mill.": "Millionen",
    "Mrd.": "Milliarden",
    "Mrd": "Milliarden",
    "Tsd.": "tausend",
} | {word: word for word in ("Millionen", "Million", "Milliarden", "Milliarde", "Billionen", "Billion", "tausend")}
SCALE_LETTERS = {"k": "tausend", "T": "tausend", "K": "tausend", "M": "Millionen"}
ONE_OF = {"Millionen": "Million", "Milliarden": "Milliarde", "Billionen": "Billion"}

CURRENCIES = {
    "€": ("Euro", "Cent"),
    "EUR": ("Euro", "Cent"),
    "Euro": ("Euro", "Cent"),
    "$": ("Dollar", "Cent"),
    "US$": ("US-Dollar", "Cent"),
    "USD": ("US-Dollar", "Cent"),
    "Dollar": ("Dollar", "Cent"),
    "£": ("Pfund", "Pence"),
    "GBP": ("Pfund", "Pence"),
    "CHF": ("Franken", "Rappen"),
    "Fr.": ("Franken", "Rappen"),
    "Franken": ("Franken", "Rappen"),
    "¥": ("Yen", ""),
    "₹": ("Rupien", "Paise"),
    "zł": ("Zloty", "Groschen"),
    "ct": ("Cent", ""),
    "Cent": ("Cent", ""),
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
    "·": "mal",
    "÷": "geteilt durch",
    "−": "minus",
    "=": "gleich",
    "≠": "ungleich",
    "≤": "höchstens",
    "≥": "mindestens",
    "√": "Wurzel aus",
    "∞": "unendlich",
    "π": "Pi",
    "≈": "ungefähr",
    "§§": "Paragrafen",
    "§": "Paragraf",
    "€": "Euro",
    "$": "Dollar",
    "£": "Pfund",
    "®": "",
    "™": "",
}

REGNAL = re.compile(
    "Albrecht|Alexander|August|Benedikt|Christian|Elisabeth|Ferdinand|Franz|Friedrich Wilhelm|Friedrich|Georg|Gregor"
    "|Gustav|Heinrich|Johannes Paul|Johannes|Joseph|Josef|Karl|Katharina|Konrad|Leopold|Ludwig|Maximilian|Napoleon"
    "|Nikolaus|Otto|Paul|Peter|Philipp|Pius|Ramses|Richard|Rudolf|Wilhelm"
)
"""Names of rulers and popes, after which a Roman numeral is an ordinal."""
