"""What is measured of one utterance: its transcript against its text, its sound, its pace, its silences."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from anytalk.synth.audio import Waveform

from .contract import Span
from .error_rate import DECIMALS, compare
from .error_rate import word_error_rate as word_error_rate
from .pace import spoken_words

CLIPPED_FROM = 0.999
CLIPPED_RUN = 3
"""Fewer samples at full scale in a row are a peak that fits, not a clipped one."""
SILENT_DB = -120.0
END_S = 0.06
"""Of the sound's end that must be quieter than the speech: a word that ends itself does not stop at full level."""


@dataclass(frozen=True)
class Measures:
    """Measures of one utterance, rounded to four decimals.

    Attributes:
        wer: word error rate of the transcript; over 1 if there are more errors than words. Of characters in scripts
            without spaces between words.
        cer: character error rate of the transcript.
        mos: mean opinion score, as an engine guesses it.
        seconds_per_word: from the first to the last speech, over the words that are said (`spoken_words`); 0 without
            speech.
        leading_silence_s: before the first speech; the whole length without speech.
        trailing_silence_s: after the last speech; the whole length without speech.
        inner_silence_s: the longest between two stretches of speech.
        clipped_share: samples in runs of at least three at full scale (0.999), over all samples.
        peak_db: loudest sample in decibels of full scale, at least -120.
        repetition: share of the transcript's words that say again what was said just before, as a voice or a
            recogniser does that loops; what the text itself repeats is taken off.
        similarity: of the speaker to the voice's reference, -1 to 1; None where the one or the other is not known.
        language_probability: that the row's language is the one that is heard, of all that the recogniser knows; None
            where it knows only English.
        end_drop_db: how far the level of the last 60 ms lies below that of the speech; about 0 where the sound breaks
            off within a word, at most 120. None without speech.
        missing_end_words: words at the end of the text that are not in the transcript; half a word for each character
            in scripts without spaces.
    """

    wer: float
    cer: float
    mos: float
    seconds_per_word: float
    leading_silence_s: float
    trailing_silence_s: float
    inner_silence_s: float
    clipped_share: float
    peak_db: float
    repetition: float = 0.0
    similarity: float | None = None
    language_probability: float | None = None
    end_drop_db: float | None = None
    missing_end_words: float | None = None


def measure(
    *,
    text: str,
    transcript: str,
    language: str,
    waveform: Waveform,
    rate_hz: int,
    spans: Sequence[Span],
    mos: float,
    similarity: float | None = None,
    language_probability: float | None = None,
) -> Measures:
    """Measure one utterance from what the engines said of it.

    Args:
        text: what was to be said, in its spoken form.
        transcript: what was heard.
        language: BCP-47 tag of both.
        waveform: float32, mono, as it will be stored.
        rate_hz: its rate.
        spans: stretches of speech in it, in seconds.
        mos: its mean opinion score.
        similarity: of its speaker to the voice's reference, if that is known.
        language_probability: see `Heard`.

    Returns:
        The measures.
    """
    difference = compare(text, transcript, language)
    length_s = len(waveform) / rate_hz
    first_s, last_s = (spans[0][0], spans[-1][1]) if spans else (length_s, 0.0)
    gaps_s = [after[0] - before[1] for before, after in pairwise(spans)]
    values = Measures(
        wer=difference.wer,
        cer=difference.cer,
        mos=mos,
        seconds_per_word=max(0.0, last_s - first_s) / spoken_words(text, language),
        leading_silence_s=first_s,
        trailing_silence_s=max(0.0, length_s - last_s),
        inner_silence_s=max(gaps_s, default=0.0),
        clipped_share=clipped_share(waveform),
        peak_db=_peak_db(waveform),
        repetition=repetition(difference.text, difference.transcript),
        similarity=similarity,
        language_probability=language_probability,
        end_drop_db=_end_drop_db(waveform, rate_hz, spans),
        missing_end_words=difference.missing_end_words,
    )
    return rounded(values)


def rounded(measures: Measures) -> Measures:
    """Round measures to what a stored row can give back; what is not known stays so."""
    known = {name: round(float(value), DECIMALS) for name, value in vars(measures).items() if value is not None}
    return Measures(**known)


def repetition(wanted: Sequence[str], heard: Sequence[str]) -> float:
    """Measure how much of what was heard only repeats what stands just before it, beyond what was wanted.

    Args:
        wanted: words of the text.
        heard: words of the transcript.

    Returns:
        Share of the words heard, 0 to 1.

    >>> repetition("we go home".split(), "we go home go home go home".split())
    0.5714285714285714
    >>> repetition("bye bye".split(), "bye bye".split())
    0.0
    """
    return max(0, _repeats(heard) - _repeats(wanted)) / max(1, len(heard))


def _repeats(words: Sequence[str]) -> int:
    """Count the words that lie in a copy of the run of words just before it, runs of any length."""
    copied = np.zeros(len(words), bool)
    spelled = np.array(words, dtype=object)
    for length in range(1, len(words) // 2 + 1):
        same = np.concatenate([[False], spelled[length:] == spelled[:-length], [False]])
        edges = np.flatnonzero(np.diff(same.astype(np.int8)))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if end - start >= length:  # Else it is no whole copy.
                copied[start + length : end + length] = True
    return int(copied.sum())


def clipped_share(waveform: Waveform) -> float:
    """Measure how much of a waveform lies in runs at full scale.

    Args:
        waveform: float32 samples.

    Returns:
        Share of the samples, 0 to 1.

    >>> clipped_share(np.array([0, 1, 0, 1, 1, 1, 0, -1], np.float32))
    0.375
    """
    loud = np.abs(waveform) >= CLIPPED_FROM
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum()) / max(1, len(waveform))


def _end_drop_db(waveform: Waveform, rate_hz: int, spans: Sequence[Span]) -> float | None:
    """Level of the speech over that of the end, in decibels."""
    speech = [waveform[round(start * rate_hz) : round(end * rate_hz)] for start, end in spans]
    if not sum(map(len, speech)):
        return None
    return max(0.0, _level_db(np.concatenate(speech)) - _level_db(waveform[-round(END_S * rate_hz) :]))


def _level_db(waveform: Waveform) -> float:
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    return max(SILENT_DB, 10 * float(np.log10(power))) if power > 0 else SILENT_DB


def _peak_db(waveform: Waveform) -> float:
    peak = float(np.max(np.abs(waveform), initial=0.0))
    return max(SILENT_DB, 20 * float(np.log10(peak))) if peak > 0 else SILENT_DB
