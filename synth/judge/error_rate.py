"""How a transcript differs from its text: word and character error rates, repeated words, words missing at the end.

Words are compared as Whisper's paper does (https://arxiv.org/abs/2212.04356, appendix C): the normaliser makes
"twenty" and "20", "colour" and "color" the same word. Words that are only parted otherwise ("e-mail", "C O two") are
the same too, and so are those that sound the same. Scripts without spaces are compared by characters.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import jiwer

from anytalk.synth.language import primary
from anytalk.synth.text import normalise

from .spelling import HOMOPHONES, characters, is_spaceless, respelled, sound_key

DECIMALS = 4
JOINED = 8
"""Most words that may be written as one: the letters of an abbreviation."""
SHORT = 3
"""Words of a text so short that one name in another spelling would be a third of it or more."""
LARGEST_REGION = 1200
"""Cells of a table of words against words; larger regions are mostly wrong, and are not searched for joins."""


class Difference(NamedTuple):
    """How a transcript differs from its text.

    Attributes:
        wer: word error rate; where words are not parted by spaces, wrong characters over those of the longer of both.
        cer: character error rate.
        missing_end_words: words at the end of the text that are not in the transcript; half a word for each
            character where words are not parted.
        text: words of the text, as they were compared.
        transcript: words of the transcript, as they were compared.
    """

    wer: float
    cer: float
    missing_end_words: float
    text: list[str]
    transcript: list[str]


def compare(text: str, transcript: str, language: str) -> Difference:
    """Compare a transcript with its text, in the kindest of several readings.

    Args:
        text: what was to be said, in its spoken form.
        transcript: what was heard.
        language: BCP-47 tag of both.
    """
    return min((_difference(*each) for each in _readings(text, transcript, language)), key=_rank)


def _rank(found: Difference) -> tuple[float, float, float]:
    return found.wer, found.missing_end_words, found.cer


def word_error_rate(text: str, transcript: str, language: str) -> float:
    """Compare words alone: the `wer` that `measure` gives.

    Args:
        text: what was to be said, in its spoken form.
        transcript: what was heard.
        language: BCP-47 tag of both.

    >>> word_error_rate("It is twenty past nine.", "it's 9:20", "en")
    0.0
    """
    return round(compare(text, transcript, language).wer, DECIMALS)


def _readings(text: str, transcript: str, language: str) -> list[tuple[list[str], list[str]]]:
    """Text and transcript as they are compared, in two ways of which the kinder one counts."""
    code = primary(language)
    if is_spaceless(text):
        singly = [characters(each, code, one_by_one=True) for each in (text, transcript)]
        return [(characters(text, code), characters(transcript, code)), (singly[0], singly[1])]
    # Whisper writes "2024" where "twenty twenty-four" was said; its own normaliser does not always see that.
    pairs = [(text, transcript), (normalise(text, language), normalise(transcript, language))]
    return [(_words(one, code), _words(other, code)) for one, other in pairs]


def _words(text: str, code: str) -> list[str]:
    found = whisper_normaliser(code)(respelled(text, code)).split()
    return [HOMOPHONES.get(word, word) for word in found] if code == "en" else found


def _difference(wanted: list[str], heard: list[str]) -> Difference:
    if not wanted or not heard:
        rate = 1.0 if wanted or heard else 0.0
        parts = 2 if is_spaceless("".join(wanted)) else 1
        return Difference(rate, rate, len(wanted) / parts, wanted, heard)
    errors, missing = _count(wanted, heard)
    if errors and len(wanted) <= SHORT:
        errors, missing = _count([*map(sound_key, wanted)], [*map(sound_key, heard)])
    if is_spaceless("".join(wanted)):
        rate = errors / max(len(wanted), len(heard))
        return Difference(rate, rate, missing / 2, wanted, heard)
    cer = jiwer.cer(" ".join(wanted), " ".join(heard)) if errors else 0.0
    return Difference(errors / len(wanted), cer, float(missing), wanted, heard)


def _count(wanted: list[str], heard: list[str]) -> tuple[int, int]:
    """Count wrong words, and those that are missing at the end; words parted otherwise are no error."""
    errors, missing = 0, 0
    found = jiwer.process_words(" ".join(wanted), " ".join(heard)).alignments[0]
    start: tuple[int, int] | None = None
    for chunk in found:
        if chunk.type == "equal":
            if start is not None:
                errors += _region(wanted[start[0] : chunk.ref_start_idx], heard[start[1] : chunk.hyp_start_idx])
            start = None
        elif start is None:
            start = chunk.ref_start_idx, chunk.hyp_start_idx
    if start is not None:
        last = _region(wanted[start[0] :], heard[start[1] :])
        errors += last
        missing = min(last, max(0, len(wanted) - start[0] - (len(heard) - start[1])))
    return errors, missing


class Run(NamedTuple):
    """Words of a text and of its transcript that stand at the same place, and whether they count as the same."""

    text: list[str]
    transcript: list[str]
    is_same: bool


def aligned(found: Difference) -> list[Run]:
    """Lay a text beside its transcript, run by run, as they were compared.

    >>> aligned(compare("It is ten past nine.", "It is ten passed five.", "en"))
    [Run(text=['it', 'is', 'ten'], transcript=['it', 'is', 'ten'], is_same=True), \
Run(text=['past', 'nine'], transcript=['passed', 'five'], is_same=False)]
    """
    wanted, heard = found.text, found.transcript
    if not wanted or not heard or not found.wer:
        return [Run(wanted, heard, not found.wer)] if wanted or heard else []
    runs: list[Run] = []
    for chunk in jiwer.process_words(" ".join(wanted), " ".join(heard)).alignments[0]:
        words = wanted[chunk.ref_start_idx : chunk.ref_end_idx], heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if runs and runs[-1].is_same == (chunk.type == "equal"):
            runs[-1] = Run(runs[-1].text + words[0], runs[-1].transcript + words[1], runs[-1].is_same)
        else:
            runs.append(Run(*words, chunk.type == "equal"))
    # Words that are only parted otherwise are no error.
    return [run._replace(is_same=run.is_same or _joined(run.text) == _joined(run.transcript)) for run in runs]


def _region(wanted: Sequence[str], heard: Sequence[str]) -> int:
    """Fewest wrong words between two runs that differ, where runs of words may be written as one."""
    if _joined(wanted) == _joined(heard):
        return 0
    rows, columns = len(wanted) + 1, len(heard) + 1
    if rows * columns > LARGEST_REGION or min(rows, columns) == 1:
        return max(rows, columns) - 1
    best = [[max(i, j) if 0 in (i, j) else 0 for j in range(columns)] for i in range(rows)]
    for i in range(1, rows):
        for j in range(1, columns):
            same = wanted[i - 1] == heard[j - 1]
            best[i][j] = min(best[i - 1][j] + 1, best[i][j - 1] + 1, best[i - 1][j - 1] + (not same))
            for a in range(1, min(i, JOINED) + 1):
                joined = _joined(wanted[i - a : i])
                for b in range(1, min(j, JOINED) + 1):
                    if a + b > 2 and joined == _joined(heard[j - b : j]):
                        best[i][j] = min(best[i][j], best[i - a][j - b])
    return best[-1][-1]


def _joined(parts: Sequence[str]) -> str:
    """Words in one; the letter O within them is taken for a zero by Whisper's normaliser."""
    return "".join(parts).replace("0", "o")


def error_rate(rate: Callable[[str, str], float], wanted: str, heard: str) -> float:
    """Take jiwer's rate of two normalised texts; against an empty one, something heard counts as all wrong.

    Args:
        rate: `jiwer.wer` or `jiwer.cer`.
        wanted: the reference.
        heard: what is compared with it.
    """
    if not wanted:
        return 1.0 if heard else 0.0
    return rate(wanted, heard)


@cache
def whisper_normaliser(language: str) -> Callable[[str], str]:
    """Text normaliser that words are compared after: Whisper's for English, its basic one elsewhere.

    Args:
        language: ISO 639-1 code, such as `en`.
    """
    # Imported here: whisper_normalizer reads a table of spellings, which only those who measure need.
    whisper_normalise: Callable[[str], str]
    if language == "en":
        from whisper_normalizer.english import EnglishTextNormalizer

        whisper_normalise = EnglishTextNormalizer()
    else:
        from whisper_normalizer.basic import BasicTextNormalizer

        # Without its marks, a word of Hindi or Thai loses its vowels.
        whisper_normalise = BasicTextNormalizer(preserve_marks=True)
    # Of an ellipsis the English normaliser leaves a full stop, as if it were a word.
    return lambda text: " ".join(word for word in whisper_normalise(text).split() if any(map(str.isalnum, word)))
