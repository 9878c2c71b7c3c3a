"""What a voice is to say for a text: numbers, dates, units, money, abbreviations and symbols in words.

The written form is the caller's to keep.
"""

from collections.abc import Callable
from typing import Literal

from anytalk.synth.language import primary, region

from .english import normalise_english
from .german import normalise_german
from .nemo import NemoNormaliser
from .other import normalise_other

Engine = Literal["rules", "nemo", "none"]


def normalise(text: str, language: str) -> str:
    """Write a text out as it is said.

    Args:
        text: as written. What is no number, abbreviation or symbol stays, byte for byte.
        language: BCP-47 tag. English and German have rules of their own; French, Spanish, Italian, Portuguese, Dutch,
            Swedish, Danish, Norwegian and Finnish have numbers and a few signs; of another language nothing is
            changed.

    Returns:
        The spoken form; saying it again changes nothing.

    >>> normalise("It's 20°C, i.e. 68°F.", "en")
    "It's twenty degrees Celsius, that is sixty-eight degrees Fahrenheit."
    """
    code = primary(language)
    if code == "en":
        return normalise_english(text, region(language))
    if code == "de":
        return normalise_german(text)
    return normalise_other(text, code)


def load_normaliser(engine: Engine, language: str) -> Callable[[str], str]:
    """Load what writes the texts of a language out.

    Args:
        engine: `rules` for those of `normalise`, `nemo` for NeMo's grammars, `none` to leave texts alone.
        language: BCP-47 tag.

    Raises:
        MissingExtra: NeMo's text processing is not installed.
        SetupError: NeMo has no grammars for the language.
    """
    if engine == "nemo":
        return NemoNormaliser(language)
    if engine == "none":
        return str
    return lambda text: normalise(text, language)
