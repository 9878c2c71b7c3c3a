"""Languages other than English and German: their numbers, and the few signs that are sure.

A language that is not in the table keeps its digits; `unspeakable` then finds them.
"""

# ruff: noqa: RUF001  typographic dashes, quotes and signs are what is looked for

import re
from dataclasses import dataclass
from functools import cache

from num2words import num2words

from . import number
from .letterform import unified
from .rule import Rule, any_of, apply, rule, spaced, until_stable

SPACES = r"[ \u00a0\u202f]"


@dataclass(frozen=True)
class Tongue:
    """How a language writes and says its numbers.

    Attributes:
        point: word of the decimal point.
        minus: word of a minus sign.
        signs: what is said for signs.
        ordinals: endings of an ordinal in digits, and what its last letter becomes (empty: nothing changes).
        money: whether num2words' currencies are right.
        parts: pattern of what parts thousands; all of them write a decimal comma.
    """

    point: str
    minus: str
    signs: dict[str, str]
    ordinals: dict[str, str]
    money: bool = False
    parts: str = r"[.\u00a0\u202f]"


TONGUES = {
    "fr": Tongue(
        "virgule",
        "moins",
        {
            "%": "pour cent",
            "&": "et",
            "°C": "degrés Celsius",
            "+": "plus",
            "=": "égale",
            "€": "euros",
            "§": "paragraphe",
        },
        {"ers": "s", "er": "", "ème": "", "e": ""},
        money=True,
        parts=SPACES,
    ),
    "es": Tongue(
        "coma",
        "menos",
        {"%": "por ciento", "&": "y", "°C": "grados Celsius", "+": "más", "=": "igual a", "€": "euros"},
        {"º": "", "ª": "a"},
        money=True,
    ),
    "it": Tongue(
        "virgola",
        "meno",
        {"%": "per cento", "&": "e", "°C": "gradi Celsius", "+": "più", "=": "uguale", "€": "euro"},
        {"º": "", "°": "", "ª": "a"},
        money=True,
    ),
    "pt": Tongue(
        "vírgula",
        "menos",
        {"%": "por cento", "&": "e", "°C": "graus Celsius", "+": "mais", "=": "igual a", "€": "euros"},
        {"º": "", "ª": "a"},
        money=True,
    ),
    "nl": Tongue(
        "komma",
        "min",
        {"%": "procent", "&": "en", "°C": "graden Celsius", "+": "plus", "=": "is", "€": "euro"},
        {"e": "", "de": "", "ste": ""},
        money=True,
    ),
    "sv": Tongue("komma", "minus", {"%": "procent", "&": "och", "+": "plus"}, {}, parts=SPACES),
    "da": Tongue("komma", "minus", {"%": "procent", "&": "og", "+": "plus"}, {}),
    "no": Tongue("komma", "minus", {"%": "prosent", "&": "og", "+": "pluss"}, {}, parts=SPACES),
    "fi": Tongue("pilkku", "miinus", {"%": "prosenttia", "&": "ja", "+": "plus"}, {}, parts=SPACES),
}
CODES = {"€": "EUR", "$": "USD", "£": "GBP"}


def normalise_other(text: str, language: str) -> str:
    """Write out the numbers and signs of a language of `TONGUES`; text of another one comes back as it is.

    >>> normalise_other("Il y a 21 chats et 3,5 litres.", "fr")
    'Il y a vingt et un chats et trois virgule cinq litres.'
    """
    text = unified(text)
    return until_stable(lambda written: apply(_rules(language), written), text) if language in TONGUES else text


@cache
def _rules(language: str) -> list[Rule]:
    tongue = TONGUES[language]
    number_pattern = rf"(?:(?:\d{{1,3}}(?:{tongue.parts}\d{{3}})+(?!\d)|\d+)(?:,\d+)?)"

    def count(written: str) -> str:
        whole, _, decimals = re.sub(tongue.parts, "", written).replace(",", ".").partition(".")
        said = number.cardinal(whole, language)
        return f"{said} {tongue.point} {number.digit_by_digit(decimals, language)}" if decimals else said

    def money(match: re.Match[str]) -> str:
        written = match["before"] or match["after"]
        amount = re.sub(tongue.parts, "", written).replace(",", ".")
        whole, _, decimals = amount.partition(".")
        code = CODES[match["sign_before"] or match["sign_after"]]
        if len(decimals) not in (0, 2) or len(whole) > number.LONGEST:
            return match[0]
        said = str(num2words(f"{whole}.{decimals or '00'}", lang=language, to="currency", currency=code, cents=True))
        zero = num2words(0, lang=language)
        said = said.replace(",", "")
        return re.split(rf" (?:et|con|e|en)? ?{zero} ", said)[0] if not int(decimals or 0) else said

    def ordinal(match: re.Match[str]) -> str:
        said = number.ordinal(match[1], language)
        ending = tongue.ordinals[match[2]]
        return said + "s" if ending == "s" else (said[:-1] + ending if ending else said)

    rules = (
        [rule(rf"(?<![\d.,])(\d{{1,4}}) ?({any_of(list(tongue.ordinals))})(?!\w)", ordinal)] if tongue.ordinals else []
    )
    if tongue.money:
        sign = any_of(list(CODES))
        rules.append(
            rule(
                rf"(?P<sign_before>{sign})\s?(?P<before>{number_pattern})|"
                rf"(?<![\d.,])(?P<after>{number_pattern})\s?(?P<sign_after>{sign})",
                money,
            )
        )
    rules += [
        rule(r"(?<![\w.)])[-−](?=\d)", f"{tongue.minus} "),
        rule(rf"(?<!\d)(?<!\d[.,]){number_pattern}|\d+", lambda match: count(match[0])),
        rule(any_of(list(tongue.signs)), lambda match: spaced(match, tongue.signs[match[0]])),
    ]
    return rules
