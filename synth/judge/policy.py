"""Which utterances are good enough.

Measures are stored, verdicts follow from them: another policy can judge the same rows again.
"""

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

    def __post_init__(self) -> None:
        for name, bound in vars(self).items():
            if bound is not None and not bound >= 0:
                raise ValueError(f"{name} must be 0 or more, or None; got {bound}")
        fastest, slowest = self.min_seconds_per_word, self.max_seconds_per_word
        if fastest is not None and slowest is not None and fastest > slowest:
            raise ValueError(f"min_seconds_per_word {fastest} is over max_seconds_per_word {slowest}")


REASONS = (
    "high_wer",
    "low_mos",
    "too_fast",
    "too_slow",
    "leading_silence",
    "trailing_silence",
    "inner_silence",
    "clipped",
)
"""In the order in which the gates stand: what was said, how it sounds, its pace, its silences, its peaks."""


def verdict(measures: Measures, policy: Policy) -> str | None:
    """Name the first gate that an utterance fails.

    Args:
        measures: of the utterance.
        policy: the bounds.

    Returns:
        One of `REASONS`; None if it passes. A measure that is not a number fails its gate.
    """
    failed = (
        _over(measures.wer, policy.max_wer),
        _under(measures.mos, policy.min_mos),
        _under(measures.seconds_per_word, policy.min_seconds_per_word),
        _over(measures.seconds_per_word, policy.max_seconds_per_word),
        _over(measures.leading_silence_s, policy.max_leading_silence_s),
        _over(measures.trailing_silence_s, policy.max_trailing_silence_s),
        _over(measures.inner_silence_s, policy.max_inner_silence_s),
        _over(measures.clipped_share, policy.max_clipped_share),
    )
    return next((reason for reason, fails in zip(REASONS, failed, strict=True) if fails), None)


def _over(value: float, bound: float | None) -> bool:
    return bound is not None and not value <= bound


def _under(value: float, bound: float | None) -> bool:
    return bound is not None and not value >= bound
