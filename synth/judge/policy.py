"""Which utterances are good enough.

Measures are stored, verdicts follow from them: another policy can judge the same rows again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .measure import Measures


@dataclass(frozen=True)
class Policy:
    """Bounds of a good utterance, each included; None switches a gate off.

    Attributes:
        max_wer: word error rate.
        min_mos: mean opinion score.
        min_seconds_per_word: pace; less is too fast.
        max_seconds_per_word: pace; more is too slow.
        max_leading_silence_s: silence before the speech.
        max_trailing_silence_s: silence after the speech.
        max_inner_silence_s: longest silence within the speech.
        max_clipped_share: share of clipped samples.
        max_repetition: share of words that repeat the words just before them.
        min_similarity: of the speaker to the voice's reference, where there is one.
        min_language_probability: language-ID probability of the row's language (multilingual Whisper only).
        min_end_drop_db: how far the level of the last 60 ms lies below that of the speech.
        max_missing_end_words: words at the end of the text that the transcript lacks.

    Raises:
        ValueError: if a bound is negative or not a number, or the slowest pace is faster than the fastest.
    """

    max_wer: float | None = 0.15
    min_mos: float | None = 2.8
    min_seconds_per_word: float | None = 0.12
    max_seconds_per_word: float | None = 1.2
    max_leading_silence_s: float | None = 0.6
    max_trailing_silence_s: float | None = 0.8
    max_inner_silence_s: float | None = 1.5
    max_clipped_share: float | None = 0.001
    max_repetition: float | None = 0.2
    min_similarity: float | None = None
    min_language_probability: float | None = None
    min_end_drop_db: float | None = 10.0
    max_missing_end_words: float | None = 0.5

    def __post_init__(self) -> None:
        for name, bound in vars(self).items():
            if bound is not None and not bound >= 0:
                raise ValueError(f"{name} must be 0 or more, or None; got {bound}")
        fastest, slowest = self.min_seconds_per_word, self.max_seconds_per_word
        if fastest is not None and slowest is not None and fastest > slowest:
            raise ValueError(f"min_seconds_per_word {fastest} is over max_seconds_per_word {slowest}")


GATES = (
    ("other_language", "language_probability", "min_language_probability"),
    ("high_wer", "wer", "max_wer"),
    ("missing_end", "missing_end_words", "max_missing_end_words"),
    ("repetition", "repetition", "max_repetition"),
    ("low_mos", "mos", "min_mos"),
    ("other_speaker", "similarity", "min_similarity"),
    ("too_fast", "seconds_per_word", "min_seconds_per_word"),
    ("too_slow", "seconds_per_word", "max_seconds_per_word"),
    ("leading_silence", "leading_silence_s", "max_leading_silence_s"),
    ("trailing_silence", "trailing_silence_s", "max_trailing_silence_s"),
    ("inner_silence", "inner_silence_s", "max_inner_silence_s"),
    ("cut_off", "end_drop_db", "min_end_drop_db"),
    ("clipped", "clipped_share", "max_clipped_share"),
)
"""Reason, measure and bound of each gate, in the order in which they stand: what was said, how it sounds, its pace, its
silences, its end and its peaks."""

REASONS = tuple(reason for reason, _, _ in GATES)


@dataclass(frozen=True)
class FailedCheck:
    """A gate that an utterance fails.

    Attributes:
        reason: one of `REASONS`.
        measure: name of the measure.
        value: of the measure.
        bound: that it oversteps.
    """

    reason: str
    measure: str
    value: float
    bound: float

    def __str__(self) -> str:
        side = "over" if self.value > self.bound else "under" if self.value < self.bound else "no number, against"
        return f"{self.measure} {self.value:g} is {side} {self.bound:g}"


def failures(measures: Measures, policy: Policy) -> Iterator[FailedCheck]:
    """Find every gate that an utterance fails, in the order of `GATES`.

    Args:
        measures: of the utterance.
        policy: the bounds.

    Yields:
        The gates. A measure that is not a number fails its gate, one that is not known passes it.
    """
    for reason, measure, name in GATES:
        value, bound = getattr(measures, measure), getattr(policy, name)
        if bound is None or value is None:
            continue
        passes = value <= bound if name.startswith("max_") else value >= bound
        if not passes:
            yield FailedCheck(reason, measure, value, bound)


def first_failure(measures: Measures, policy: Policy) -> FailedCheck | None:
    """Find the first gate that an utterance fails, which names it; None if it passes. See `failures`."""
    return next(failures(measures, policy), None)


def verdict(measures: Measures, policy: Policy) -> str | None:
    """Name the first gate that an utterance fails: one of `REASONS`; None if it passes."""
    failure = first_failure(measures, policy)
    return None if failure is None else failure.reason
