"""Figures over all rows of a dataset, counted as they pass: nothing grows with the number of rows."""

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from anytalk.pipelines.dataset import MEASURES, RATES_HZ, SIDES
from anytalk.pipelines.recipe import Check
from anytalk.pipelines.speech import Attempt
from anytalk.synth.judge.policy import GATES

from .rows import ACCEPTED, REJECTED

BINS = 40
RANGES = {
    "wer": (0.0, 1.0),
    "cer": (0.0, 1.0),
    "mos": (1.0, 5.0),
    "seconds_per_word": (0.0, 1.6),
    "leading_silence_s": (0.0, 2.0),
    "trailing_silence_s": (0.0, 2.0),
    "inner_silence_s": (0.0, 2.0),
    "clipped_share": (0.0, 0.005),
    "peak_db": (-20.0, 0.0),
    "repetition": (0.0, 1.0),
    "similarity": (-0.2, 1.0),
    "language_probability": (0.0, 1.0),
    "end_drop_db": (0.0, 80.0),
    "missing_end_words": (0.0, 5.0),
}
"""What a histogram of each measure spans; values beyond count in its first or last bar."""

LENGTHS_S = {"question": (0.0, 30.0), "answer": (0.0, 60.0)}


class Histogram:
    """Counts of values that passed and of values that did not, in bars of equal width."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.passed, self.failed = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)

    def add(self, values: NDArray[Any], *, passed: bool) -> None:
        """Count values; those that are not numbers are left out."""
        known = values[np.isfinite(values)]
        places = np.clip((known - self.low) / (self.high - self.low) * BINS, 0, BINS - 1).astype(np.int64)
        counts = self.passed if passed else self.failed
        counts += np.bincount(places, minlength=BINS)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.passed.sum() + self.failed.sum())


@dataclass
class Voice:
    """What a voice spoke on one side."""

    passed: int = 0
    failed: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    """Sum of each measure, and under `n_` how many values it has."""

    def mean(self, measure: str) -> float | None:
        """Mean of a measure over all that was spoken."""
        return self.sums[measure] / self.sums[f"n_{measure}"] if self.sums[f"n_{measure}"] else None


def bounds_of(check: Check, side: str, measure: str) -> dict[str, float]:
    """The thresholds of a measure by name."""
    policy = getattr(check, side)
    named = {bound: getattr(policy, bound) for _, gated, bound in GATES if gated == measure}
    return {bound: value for bound, value in named.items() if value is not None}


class Figures:
    """Counts of a dataset.

    Args:
        check: thresholds, which the histograms' ranges take in.
    """

    def __init__(self, check: Check) -> None:
        self.histograms: dict[tuple[str, str], Histogram] = {}
        for side in SIDES:
            for measure in MEASURES:
                low, high = RANGES[measure]
                bounds = bounds_of(check, side, measure).values()
                self.histograms[side, measure] = Histogram(
                    min(low, *bounds, low), max(high, *(1.25 * b for b in bounds), high)
                )
        self.lengths = {side: Histogram(*LENGTHS_S[side]) for side in SIDES}
        self.outcomes: Counter[str] = Counter()
        self.languages: dict[str, Counter[str]] = {}
        self.labels: dict[str, Counter[str]] = {}
        self.voices: dict[tuple[str, str], Voice] = {}

    def add(self, rows: pa.Table, attempts: pa.Table) -> None:
        """Count the rows of a unit (`rows.FLAT`) and the attempts that are stored beside them (`rows.ATTEMPT`)."""
        accepted = rows.filter(pc.equal(rows["outcome"], ACCEPTED))
        for column, counts in (("language", self.languages), ("split_name", self.labels)):
            for found in rows.group_by([column, "outcome"]).aggregate([([], "count_all")]).to_pylist():
                name = found[column] or "not known"
                counts.setdefault(name, Counter())[found["outcome"]] += found["count_all"]
        self.outcomes[ACCEPTED] += accepted.num_rows
        self.outcomes[REJECTED] += rows.num_rows - accepted.num_rows
        for side in SIDES:
            for measure in MEASURES:
                self.histograms[side, measure].add(_numbers(accepted[f"{side}_{measure}"]), passed=True)
            self.lengths[side].add(_numbers(accepted[f"{side}_samples"]) / RATES_HZ[side], passed=True)
            self._spoken(side, accepted, f"{side}_", passed=True)
        self._attempts(attempts, pc.is_in(attempts["id"], accepted["id"].combine_chunks()))

    def _attempts(self, attempts: pa.Table, is_accepted: pa.ChunkedArray) -> None:
        """Count the stored attempts; those that passed at an accepted row are counted as the row already."""
        has_passed = pc.is_null(attempts["reason"])
        for passed in (True, False):
            chosen = pc.and_(has_passed, pc.invert(is_accepted)) if passed else pc.invert(has_passed)
            own = attempts.filter(chosen)
            for side in SIDES if own.num_rows else ():
                of_side = own.filter(pc.equal(own["side"], side))
                for measure in MEASURES:
                    self.histograms[side, measure].add(_numbers(of_side[measure]), passed=passed)
                self._spoken(side, of_side, "", passed=passed)

    def _spoken(self, side: str, table: pa.Table, prefix: str, *, passed: bool) -> None:
        columns = (table[f"{prefix}{name}"].to_pylist() for name in ("voice", "wer", "mos"))
        for label, wer, mos in zip(*columns, strict=True):
            if label is None:
                continue
            voice = self.voices.setdefault((side, speaker_of(label)), Voice())
            voice.passed, voice.failed = voice.passed + passed, voice.failed + (not passed)
            for measure, value in (("wer", wer), ("mos", mos)):
                if value is not None:
                    voice.sums[measure] += value
                    voice.sums[f"n_{measure}"] += 1


@functools.lru_cache(maxsize=65536)
def speaker_of(label: str) -> str:
    """Name of a voice, without speed, pitch and seed."""
    return Attempt(0, label).speaker or label


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    found: NDArray[np.float64] = pc.cast(column, pa.float64()).to_numpy()
    return found
