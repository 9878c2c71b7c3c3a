"""Which rows a page shows: the worst, those nearest to a threshold, the rejected, the best, and a sample of all."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from anytalk.pipelines.dataset import SIDES
from anytalk.pipelines.recipe import Check
from anytalk.synth.judge.policy import GATES
from anytalk.synth.seed import derive_seed

from .rows import ACCEPTED, REJECTED
from .select import Top

SHARES = {"worst": 0.3, "borderline": 0.2, "rejected": 0.25, "best": 0.1, "sample": 0.15}
"""Groups in the order in which they stand, and how much of the page each may take."""

WORST_BY = (("answer_wer", 1), ("answer_mos", -1), ("question_wer", 1), ("question_mos", -1))


@dataclasses.dataclass
class Chosen:
    """A row of the page (`rows.FLAT`), and the groups that it is in."""

    row: dict[str, Any]
    groups: list[str]


class Chooser:
    """Chooses rows as they pass; only those that may be shown are in memory.

    Args:
        check: thresholds, for the borderline.
        count: of rows that are shown at most.
        seed: of the sample.
    """

    def __init__(self, check: Check, count: int, seed: int) -> None:
        self._check, self._seed = check, seed
        self._counts = {group: max(1, round(share * count)) for group, share in SHARES.items()}
        self._worst = [Top(-(-self._counts["worst"] // len(WORST_BY))) for _ in WORST_BY]
        self._tops = {group: Top(self._counts[group]) for group in ("borderline", "best", "sample")}
        self._rejected: dict[str, Top] = {}

    def add(self, rows: pa.Table) -> None:
        """Look at the rows of a unit (`rows.FLAT`)."""
        accepted = rows.filter(pc.equal(rows["outcome"], ACCEPTED))
        numbers = {f"{side}_{name}": _numbers(accepted[f"{side}_{name}"]) for side in SIDES for name in ("wer", "mos")}
        for top, (column, sign) in zip(self._worst, WORST_BY, strict=True):
            scores = sign * numbers[column]
            # A row without a wrong word is not among the worst by words.
            top.offer(np.where(scores == 0, np.nan, scores), accepted)
        wrong = np.nan_to_num(numbers["question_wer"]) + np.nan_to_num(numbers["answer_wer"])
        sound = np.nan_to_num(numbers["question_mos"]) + np.nan_to_num(numbers["answer_mos"])
        self._tops["best"].offer(sound - 100 * wrong, accepted)
        self._tops["borderline"].offer(-_margins(accepted, self._check), accepted)
        self._tops["sample"].offer(self._draws(accepted), accepted)
        rejected = rows.filter(pc.equal(rows["outcome"], REJECTED))
        for reason in pc.unique(rejected["reason"]).to_pylist():
            own = rejected.filter(pc.equal(rejected["reason"], reason))
            self._rejected.setdefault(reason, Top(self._counts["rejected"])).offer(self._draws(own), own)

    def chosen(self) -> list[Chosen]:
        """The rows in the order of their groups; rejected ones take turns by reason."""
        by_reason = [self._rejected[reason].rows() for reason in sorted(self._rejected)]
        groups: dict[str, Iterable[dict[str, Any]]] = {
            "worst": _turns([top.rows() for top in self._worst]),
            "borderline": self._tops["borderline"].rows(),
            "rejected": itertools.islice(_turns(by_reason), self._counts["rejected"]),
            "best": self._tops["best"].rows(),
            "sample": self._tops["sample"].rows(),
        }
        found: dict[str, Chosen] = {}
        for group in SHARES:
            for row in groups[group]:
                own = found.setdefault(row["id"], Chosen(row, []))
                own.groups += [group] if group not in own.groups else []
        return list(found.values())

    def _draws(self, rows: pa.Table) -> NDArray[np.float64]:
        """A number of each row that follows from its id and the seed alone."""
        return np.array([derive_seed(self._seed, "report", name) for name in rows["id"].to_pylist()], np.float64)


def _turns(lists: list[list[dict[str, Any]]]) -> Iterable[dict[str, Any]]:
    return (row for turn in itertools.zip_longest(*lists) for row in turn if row is not None)


def _margins(rows: pa.Table, check: Check) -> NDArray[np.float64]:
    """How far each row is from the nearest threshold, as a share of it; NaN where nothing is measured."""
    nearest = np.full(rows.num_rows, np.nan)
    for side in SIDES:
        for _, measure, name in GATES:
            bound = getattr(getattr(check, side), name)
            if bound is not None:
                distance = np.abs(_numbers(rows[f"{side}_{measure}"]) - bound) / (abs(bound) or 1.0)
                nearest = np.fmin(nearest, distance)
    return nearest


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    found: NDArray[np.float64] = pc.cast(column, pa.float64()).to_numpy()
    return found
