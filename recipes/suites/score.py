"""How right an answer is: words wrong of how many, equal to a reference, or holding one.

Texts are compared as `synth.judge.error_rate` compares them: after Whisper's normaliser, and once more with numbers
written out, of which the kinder reading counts. `contains` is the measure of VocalBench's knowledge set
(`utils/knowledge.py` of SJTU-OmniAgent/VocalBench at 980d4ab), but on whole words, so that "14" does not hold "4".
Where the reference is the letter of an option, the option that the answer chooses is compared, as VoiceBench does for
its multiple choices.
"""

import re
from collections.abc import Sequence

import jiwer

from anytalk.synth.judge.error_rate import whisper_normaliser
from anytalk.synth.judge.spelling import characters, is_spaceless
from anytalk.synth.language import primary
from anytalk.synth.text import normalise

OPTION = re.compile(r"[A-H]")
"""A reference that is the letter of an option."""

_CHOICES = (
    re.compile(
        r"\b(?:answer|option|choice)s?\b(?:\s+(?:is|would be|should be|was))?[\s:]*[\"'(*]*([A-H])\b(?!')", re.I
    ),
    re.compile(r"^[\s\"'(*]*([A-H])(?:[).:,*\"']|\s*$)", re.I),
    re.compile(r"[(*\"']([A-H])[)*\"'.:]"),
    re.compile(r"(?<![\w'])([B-H])(?![\w'])"),
)
"""Ways to choose an option, the plainest first. A lone A may be an article, so the last way leaves it out."""


def word_errors(reference: str, said: str, language: str) -> tuple[int, int]:
    """Count wrong, missing and extra words, and the words of the reference; characters where words are not parted.

    >>> word_errors("The cat sat.", "the cat sat down", "en")
    (1, 3)
    """
    wanted, heard = _words(reference, language), _words(said, language)
    if not wanted:
        return len(heard), 0
    if not heard:
        return len(wanted), len(wanted)
    found = jiwer.process_words(" ".join(wanted), " ".join(heard))
    return found.substitutions + found.deletions + found.insertions, len(wanted)


def is_exact(said: str, references: Sequence[str], language: str) -> bool:
    """Whether an answer is one of the references, apart from case, punctuation and how numbers are written."""
    return any(_agree(reference, said, language, whole=True) for reference in references)


def contains(said: str, references: Sequence[str], language: str) -> bool:
    """Whether an answer holds one of the references, word for word.

    >>> contains("I think it is Paris, in France.", ["Paris"], "en"), contains("fourteen", ["4"], "en")
    (True, False)
    """
    return any(_agree(reference, said, language, whole=False) for reference in references)


def chosen_option(said: str) -> str | None:
    """The letter of the option that an answer chooses.

    >>> chosen_option("The answer is B, a lever."), chosen_option("(c) water"), chosen_option("A lever is one.")
    ('B', 'C', None)
    """
    for way in _CHOICES:
        if found := way.search(said):
            return found[1].upper()
    return None


def _agree(reference: str, said: str, language: str, *, whole: bool) -> bool:
    if OPTION.fullmatch(reference):
        return chosen_option(said) == reference
    for wanted, heard in _readings(reference, said, language):
        if wanted and (wanted == heard if whole else f" {wanted} " in f" {heard} "):
            return True
    return False


def _readings(reference: str, said: str, language: str) -> list[tuple[str, str]]:
    written = [(reference, said), (normalise(reference, language), normalise(said, language))]
    return [(" ".join(_words(one, language)), " ".join(_words(other, language))) for one, other in written]


def _words(text: str, language: str) -> list[str]:
    code = primary(language)
    return characters(text, code) if is_spaceless(text) else whisper_normaliser(code)(text).split()
