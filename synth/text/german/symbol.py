"""German signs, slashes and addresses."""

import re

from anytalk.synth.text.rule import any_of, rule, spaced
from anytalk.synth.text.speakable import ADDRESS, EMAIL

from .table import SYMBOLS as SIGNS

_LETTER = r"[^\W\d_]"


def _symbol(match: re.Match[str]) -> str:
    return spaced(match, SIGNS[match[0]])


def _slash(match: re.Match[str]) -> str:
    """Read a slash: "und/oder" has its own words, one between small words means "oder"."""
    left, right = match[1], match[2]
    if (left, right) == ("und", "oder"):
        return "und oder"
    return f"{left} {'oder' if right.islower() or (left + right).istitle() else 'Schrägstrich'} {right}"


def _email(match: re.Match[str]) -> str:
    said = match[0].replace("@", " at ").replace(".", " Punkt ")
    return said.replace("_", " Unterstrich ").replace("-", " Minus ")


def _address(match: re.Match[str]) -> str:
    whole = match[0].rstrip("/")
    bare = re.sub(r"^(?:https?|ftp|file)://", "", whole).removeprefix("www.").rstrip(".,;:!?)")
    said = (
        bare.replace(".", " Punkt ")
        .replace("/", " Schrägstrich ")
        .replace("-", " Minus ")
        .replace("_", " Unterstrich ")
    )
    return re.sub(r"[?&=#%~:]", " ", said) + whole[len(whole.rstrip(".,;:!?)")) :]


ADDRESSES = [rule(EMAIL, _email), rule(ADDRESS, _address)]
SYMBOLS = [
    rule(r"\^(?=[a-z]\b)", " hoch "),
    rule(r"\s/\s", " oder "),
    rule(r"\b([A-G])#(?!\w)", lambda m: f"{m[1]} sharp"),
    rule(any_of([name for name in SIGNS if name != "="]), _symbol),
    rule(r"\++", lambda m: " ".join(["plus"] * len(m[0]))),
    rule(r"\s*=+\s*", " gleich "),
    rule(rf"#(?={_LETTER})", "Hashtag "),
    rule(rf"\b({_LETTER}+)/({_LETTER}+)\b", _slash),
]
