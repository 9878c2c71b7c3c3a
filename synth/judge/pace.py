"""How many words a text is said in, whatever the script and however numbers are written."""

import re

from anytalk.synth.text import normalise
from anytalk.synth.text.word import SPACELESS, words

LONG_WORD = 10
"""Letters; each further ten count as a word more. German writes 149,597,870 as one word of 94 letters."""
FEWEST_WORDS = 1.5
"""A lone word is said more slowly than a word in a sentence."""
SYLLABLES_PER_WORD = 2.0
"""In scripts without spaces, where syllables are counted."""
CHARACTERS_PER_SYLLABLE = 2.5
"""Of Thai, Lao, Burmese and Khmer letters with their marks; a Han or kana character is a syllable or about one."""

_HAN_OR_KANA = re.compile(
    "[\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
)
_OTHER_SPACELESS = re.compile(f"[{SPACELESS}]")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def spoken_words(text: str, language: str) -> float:
    """Count the words that a voice says, at least 1.5.

    Args:
        text: what is to be said, with numbers as digits or in words.
        language: BCP-47 tag.

    Returns:
        Words; in scripts without spaces, half the syllables.

    >>> spoken_words("555-867-5309", "en"), spoken_words("Yes.", "en"), spoken_words("我们去公园吧。", "zh")
    (10.0, 1.5, 3.5)
    """
    said = normalise(text, language)
    pieces = words(said) if _OTHER_SPACELESS.search(said) else []
    syllables = sum(1 for piece in pieces if _HAN_OR_KANA.match(piece))
    letters = sum(1 for piece in pieces if _OTHER_SPACELESS.match(piece)) - syllables
    plain = _OTHER_SPACELESS.sub(" ", said)
    counted = sum(-(-len(word) // LONG_WORD) for word in _WORD.findall(plain))
    parted = (syllables + letters / CHARACTERS_PER_SYLLABLE) / SYLLABLES_PER_WORD
    return max(FEWEST_WORDS, counted + parted)
