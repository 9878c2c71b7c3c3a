"""English signs, slashes and addresses."""

import re

from anytalk.synth.text.rule import any_of, rule, spaced
from anytalk.synth.text.speakable import ADDRESS, EMAIL

from .table import SYMBOLS as SIGNS

_LETTER = r"[^\W\d_]"
_WORDLIKE = [name for name in SIGNS if name.isalpha()]


def _symbol(match: re.Match[str]) -> str:
    return spaced(match, SIGNS[match[0]])


def _slash(match: re.Match[str]) -> str:
    """Read a slash: "and/or" has its own words, one between small words means "or"."""
    left, right = match[1], match[2]
    if (left, right) == ("and", "or"):
        return "and or"
    return f"{left} {'or' if (left + right).islower() else 'slash'} {right}"


def _email(match: re.Match[str]) -> str:
    return match[0].replace("@", " at ").replace(".", " dot ").replace("_", " underscore ").replace("-", " dash ")


def _address(match: re.Match[str]) -> str:
    bare = re.sub(r"^(?:https?|ftp|file)://", "", match[0]).removeprefix("www.").rstrip("/.,;:!?)")
    end = match[0].rstrip("/")[len(match[0].rstrip("/.,;:!?)")) :]
    said = bare.replace(".", " dot ").replace("/", " slash ").replace("-", " dash ").replace("_", " underscore ")
    return re.sub(r"[?&=#%~:]", " ", said) + end


ADDRESSES = [rule(EMAIL, _email), rule(ADDRESS, _address)]
SYMBOLS = [
    rule(r"\^(?=[a-z]\b)", " to the power of "),
    rule(r"\s/\s", " or "),
    rule(r"\b([A-G])#(?!\w)|\b(F)#", lambda m: f"{m[1] or m[2]} sharp"),
    rule(rf"(?<!{_LETTER})(?:{any_of(_WORDLIKE)})(?!{_LETTER})", _symbol),
    rule(any_of([name for name in SIGNS if not name.isalpha()]), _symbol),
    rule(r"\++", lambda m: " ".join(["plus"] * len(m[0]))),
    rule(r"\s*=+\s*", " equals "),
    rule(rf"#(?={_LETTER})", "hashtag "),
    rule(rf"\b({_LETTER}+)/({_LETTER}+)\b", _slash),
]
