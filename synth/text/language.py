"""Whether a text is in the language that it should be in: by its script, and by an identifier where one is given."""

import itertools
import unicodedata
from typing import Protocol

from anytalk.synth.language import primary, same_language, script

SCRIPTS = {
    "am": ("ETHIOPIC",),
    "ar": ("ARABIC",),
    "be": ("CYRILLIC",),
    "bg": ("CYRILLIC",),
    "bn": ("BENGALI",),
    "el": ("GREEK",),
    "fa": ("ARABIC",),
    "gu": ("GUJARATI",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "hy": ("ARMENIAN",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"),
    "ka": ("GEORGIAN",),
    "kk": ("CYRILLIC",),
    "km": ("KHMER",),
    "kn": ("KANNADA",),
    "ko": ("HANGUL", "CJK"),
    "lo": ("LAO",),
    "mk": ("CYRILLIC",),
    "ml": ("MALAYALAM",),
    "mr": ("DEVANAGARI",),
    "my": ("MYANMAR",),
    "ne": ("DEVANAGARI",),
    "pa": ("GURMUKHI",),
    "ru": ("CYRILLIC",),
    "si": ("SINHALA",),
    "sr": ("CYRILLIC", "LATIN"),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
    "uk": ("CYRILLIC",),
    "ur": ("ARABIC",),
    "yue": ("CJK", "BOPOMOFO"),
    "zh": ("CJK", "BOPOMOFO"),
}
"""First words of the Unicode names of a language's letters, by `primary` code; other languages are written in Latin."""

WIDTHS = ("FULLWIDTH", "HALFWIDTH")


class Identifier(Protocol):
    """Tells the language of a text."""

    def probability(self, text: str, language: str) -> float | None:
        """Probability that a text is in a language, 0 to 1; None for a language that it does not know."""


class Langid:
    """The naive Bayes classifier of py3langid: 97 languages, its model of 4.5 MB in the wheel.

    Source: https://github.com/adbar/py3langid (0.4.0, BSD-3-Clause).
    """

    def __init__(self) -> None:
        from py3langid import langid

        self._identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)

    def probability(self, text: str, language: str) -> float | None:
        """See `Identifier.probability`."""
        # It knows some languages under several codes: no, nb and nn.
        found = [float(share) for code, share in self._identifier.rank(text) if same_language(code, language)]
        return sum(found) if found else None


def scripts(language: str) -> tuple[str, ...]:
    """First words of the Unicode names of a language's letters; romanised text says so in its tag: cmn-Latn-pinyin."""
    return ("LATIN",) if script(language) == "Latn" else SCRIPTS.get(primary(language), ("LATIN",))


def foreign_script(text: str, language: str) -> str | None:
    """Find letters that are not of a language's script.

    Args:
        text: any.
        language: BCP-47 tag.

    Returns:
        The first foreign word of two letters or more; None if there is none. Latin words are at home everywhere, as
        names and brands, unless they outnumber the others.

    >>> foreign_script("She said привет to me.", "en")
    'привет'
    >>> foreign_script("我喜欢 YouTube。", "zh") is None
    True
    """
    wanted = scripts(language)
    runs = [(name, "".join(run)) for name, run in itertools.groupby(text, key=_script) if name is not None]
    at_home = sum(_word_count(name, run) for name, run in runs if name in wanted)
    latin_is_foreign = at_home < sum(name == "LATIN" for name, _ in runs)
    for name, run in runs:
        guest = name == "LATIN" and not latin_is_foreign
        if name not in wanted and not guest and len(run) > 1:
            return run
    return None


def _word_count(script: str, run: str) -> int:
    """Words of a run of letters: where words are not parted, each character is taken for one."""
    return len(run) if script in ("CJK", "HIRAGANA", "KATAKANA") else 1


def _script(character: str) -> str | None:
    """First word of a letter's Unicode name; None for what is no letter or belongs to every script."""
    if not unicodedata.category(character).startswith("L"):
        return None
    words = unicodedata.name(character, "").split()
    script = next((word for word in words if word not in WIDTHS), None)
    return None if script in ("MODIFIER", "FEMININE", "MASCULINE") else script
