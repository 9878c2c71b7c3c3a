"""Rows that a person asks for: of an outcome, for a reason, that meet a condition, the worst or best of a measure."""

import dataclasses
import heapq
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from anytalk.pipelines.dataset import SIDES, Store, Where, parse_where
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.synth.errors import SetupError, near_matches
from anytalk.synth.judge.policy import GATES, REASONS

from .rows import FLAT, flat_tables

LOW_IS_WORSE = {measure for _, measure, bound in GATES if bound.startswith("min_")} - {
    measure for _, measure, bound in GATES if bound.startswith("max_")
}
"""Measures that have only a lower bound."""


TOLD_UNITS = 64
"""Units that are read before anything is told: of a small dataset, the rows are there at once."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which rows are wanted, and in which order.

    Attributes:
        outcome: accepted or rejected; None for both.
        reason: of rejected rows.
        where: a condition over the columns of `FLAT`; see `dataset.parse_where`.
        by: column by which the worst or best are chosen; None for plan order.
        worst: whether the worst come first, else the best.
        limit: most rows.
    """

    outcome: str | None = None
    reason: str | None = None
    where: str | None = None
    by: str | None = None
    worst: bool = True
    limit: int = 20


class Top:
    """The rows of the highest scores among all that are offered; of equal ones those that came first."""

    def __init__(self, count: int) -> None:
        self.count, self._seen = count, 0
        self._heap: list[tuple[float, int, dict[str, Any]]] = []

    def offer(self, scores: NDArray[np.float64], table: pa.Table) -> None:
        """Take some rows (`FLAT`) with their scores; a score that is not a number is none."""
        lowest = self._heap[0][0] if len(self._heap) == self.count else -np.inf
        for place in np.flatnonzero(scores > lowest).tolist() if self.count else ():
            key = float(scores[place]), -(self._seen + place)
            if len(self._heap) < self.count:
                heapq.heappush(self._heap, (*key, table.slice(place, 1).to_pylist()[0]))
            elif key > self._heap[0][:2]:
                heapq.heapreplace(self._heap, (*key, table.slice(place, 1).to_pylist()[0]))
        self._seen += table.num_rows

    def rows(self) -> list[dict[str, Any]]:
        """The rows, the highest score first."""
        return [row for _, _, row in sorted(self._heap, key=lambda one: one[:2], reverse=True)]


def select(dataset: str, wanted: Selection, progress: Reporter | None = None) -> tuple[list[dict[str, Any]], int]:
    """Read the rows that are wanted; no more than `limit` are in memory, and those of a unit.

    Args:
        dataset: folder or URL.
        wanted: which rows.
        progress: who is told how far it is, where that takes more than a moment.

    Returns:
        The rows (`FLAT`), and how many there are in all.

    Raises:
        SetupError: there is no dataset, or the selection names a column or a reason that is not there.
    """
    store = Store(dataset)
    where = None if wanted.where is None else parse_where(wanted.where, FLAT)
    if wanted.by is not None:
        _check_ordered(wanted.by)
    tables, reasons = _matching(store, wanted, where, progress or Quiet()), set[str]()
    found, count = list[dict[str, Any]](), 0
    top = Top(wanted.limit)
    for table in tables:
        if wanted.by is None:
            found += table.slice(0, wanted.limit - len(found)).to_pylist()
        else:
            values = pc.cast(table[wanted.by], pa.float64(), safe=False).to_numpy()
            top.offer(values if wanted.worst != is_low_worse(wanted.by) else -values, table)
        count += table.num_rows
        reasons.update(pc.unique(table["reason"]).to_pylist())
    if wanted.reason is not None and not count:
        _check_reason(store, wanted.reason)
    if wanted.by is not None:
        found = top.rows()
    return found, count


def is_low_worse(column: str) -> bool:
    """Whether low values of a column are the bad ones."""
    return any(column == f"{side}_{measure}" for side in SIDES for measure in LOW_IS_WORSE)


def _matching(store: Store, wanted: Selection, where: Where | None, progress: Reporter) -> Iterator[pa.Table]:
    rows = 0
    for number, (table, _) in enumerate(flat_tables(store), start=1):
        rows += table.num_rows
        if number % TOLD_UNITS == 0:
            progress.phase("reading rows", rows)
        for column, value in (("outcome", wanted.outcome), ("reason", wanted.reason)):
            if value is not None:
                table = table.filter(pc.equal(table[column], value))
        yield table if where is None or not table.num_rows else where.kept(table)
    progress.stop()


def _check_ordered(column: str) -> None:
    if column not in FLAT.names:
        raise SetupError(f"--by {column}: there is no such column{near_matches(column, FLAT.names)}")
    kind = FLAT.field(column).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise SetupError(f"--by {column}: it holds {kind}, and rows are ordered by a number, such as answer_wer")


def _check_reason(store: Store, reason: str) -> None:
    """Tell a reason that no row has from one that does not exist."""
    there: set[str] = set()
    for table, _ in flat_tables(store):
        there.update(one for one in pc.unique(table["reason"]).to_pylist() if one is not None)
    if reason not in {*there, *REASONS}:
        raise SetupError(f"no row was rejected as {json.dumps(reason)}{near_matches(reason, there or REASONS)}")
