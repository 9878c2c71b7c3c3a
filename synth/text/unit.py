"""Symbols of units that take prefixes, and which prefixes each of them takes in texts."""

from collections.abc import Mapping

PREFIXES = {
    "m": "kdcmµn",
    "g": "kmµn",
    "l": "hdcmµ",
    "L": "dcmµ",
    "s": "mµn",
    "Hz": "kMGT",
    "W": "mkMGT",
    "Wh": "mkMGT",
    "V": "mkµ",
    "VA": "kM",
    "A": "mkµ",
    "Ah": "mk",
    "Ω": "kM",
    "Pa": "hkMG",
    "bar": "m",
    "J": "kMG",
    "N": "kM",
    "eV": "kMGT",
    "cal": "k",
    "mol": "mµ",
    "M": "mµ",
    "B": "kKMGTP",
    "bit": "kMGT",
    "Sv": "mµ",
    "Bq": "kMGT",
    "t": "kM",
}
"""By symbol; K stands for kilo before a byte. A symbol without a prefix is a unit where a language names it."""


def with_prefixes(bases: Mapping[str, tuple[str, str]], prefixes: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name the prefixed units of a language.

    Args:
        bases: singular and plural of the symbols of `PREFIXES`.
        prefixes: names of the prefixes, by letter.

    Returns:
        Singular and plural by symbol.

    >>> with_prefixes({"t": ("ton", "tons")}, {"k": "kilo", "M": "mega"})
    {'kt': ('kiloton', 'kilotons'), 'Mt': ('megaton', 'megatons')}
    """
    found = {}
    for symbol, (one, many) in bases.items():
        for letter in PREFIXES[symbol]:
            prefix = prefixes["k" if letter == "K" else letter]
            names = (prefix + one, prefix + many)
            for written in ("µ", "μ") if letter == "µ" else (letter,):
                found[written + symbol] = names
    return found
