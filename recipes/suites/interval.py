"""Means and rates over rows, with confidence intervals by bootstrap.

Rows are drawn again with replacement, and the 2.5th and 97.5th percentiles of the figure over these draws are its
bounds: the percentile method (https://doi.org/10.1214/aos/1176344552), from a fixed seed. Every figure is a ratio of
two sums over rows (words wrong over words, right answers over answers), and numerator and denominator of a row are
drawn together. It is what `scipy.stats.bootstrap` does with `paired=True, method="percentile"`, which a test holds it
to; scipy's own warns wherever a draw has a denominator of 0, such as a ceiling without a right answer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0

_AT_ONCE = 4_000_000
"""Values of a batch of draws: some tens of MB."""


class Estimate(NamedTuple):
    """A figure and its 95 % confidence interval, whose bounds are None where they cannot be told."""

    value: float
    low: float | None
    high: float | None
    rows: int


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate | None:
    """Divide the sums of two columns.

    Args:
        numerators: one a row, 0 or more.
        denominators: one a row, 0 or more.

    Returns:
        The ratio and its interval; None where the denominators are 0.

    >>> ratio([1, 0, 0, 1], [1, 1, 1, 1])
    Estimate(value=0.5, low=0.0, high=1.0, rows=4)
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if not below.sum():
        return None
    value, rows = float(above.sum() / below.sum()), len(below)
    if rows < 2:
        return Estimate(value, None, None, rows)
    rng, drawn = np.random.default_rng(SEED), []
    at_once = max(1, _AT_ONCE // rows)
    for first in range(0, RESAMPLES, at_once):
        places = rng.integers(0, rows, (min(at_once, RESAMPLES - first), rows))
        sums_above, sums_below = above[places].sum(axis=1), below[places].sum(axis=1)
        if not sums_below.all():
            return Estimate(value, None, None, rows)
        drawn.append(sums_above / sums_below)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Estimate(value, float(low), float(high), rows)
