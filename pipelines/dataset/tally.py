"""Yield of each check: how many rows pass at the first attempt, how many at a later one, and what stopped the others.

A row counts under the check that its first attempt failed, so that the checks of a side add up to the rows that did not
pass at the first attempt.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from anytalk.pipelines.recipe import Side

from .schema import SIDES

COUNTS = ("rows", "passed_first", "passed_later", "failed")


class Outcome(NamedTuple):
    """What became of one side of a row: why its first attempt failed (None where it passed), and whether one passed."""

    first_reason: str | None
    passed: bool


def tally(rows: Sequence[Mapping[Side, Outcome]]) -> dict[str, dict[str, Any]]:
    """Count what became of some rows, by side.

    Args:
        rows: of each, the sides that count.

    Returns:
        For each side the rows that were attempted, those that passed at the first attempt, those that passed at a
        later one, those that failed; and by the reason of the first attempt the rows that passed later or failed.
    """
    return {side: _total(_one(row[side]) for row in rows if side in row) for side in SIDES}


def _one(outcome: Outcome) -> dict[str, Any]:
    if outcome.first_reason is None:
        return {"rows": 1, "passed_first": 1, "by_gate": {}}
    passed = {"passed_later": int(outcome.passed), "failed": int(not outcome.passed)}
    return {"rows": 1, **passed, "by_gate": {outcome.first_reason: passed}}


class _Total:
    """Tallies of a side, added up."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(COUNTS, 0)
        self._by_check: dict[str, Counter[str]] = {}

    def add(self, one: Mapping[str, Any]) -> None:
        for name in COUNTS:
            self._counts[name] += one.get(name, 0)
        for reason, outcomes in one["by_gate"].items():
            self._by_check.setdefault(reason, Counter()).update(outcomes)

    def counts(self) -> dict[str, Any]:
        order = commonest_first({reason: outcomes.total() for reason, outcomes in self._by_check.items()})
        return {**self._counts, "by_gate": {reason: dict(self._by_check[reason]) for reason in order}}


def _total(tallies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    total = _Total()
    for one in tallies:
        total.add(one)
    return total.counts()


def counted(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, the commonest first."""
    return commonest_first(Counter(names))


def commonest_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts in order of their size, and of their names where they are equal."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def added(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Add up counts by name, names in the order in which they first occur."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


class Total:
    """Tallies of several units, added up one after the other."""

    def __init__(self) -> None:
        self._sides = {side: _Total() for side in SIDES}

    def add(self, tallies: Mapping[str, Any]) -> None:
        """Add that of a unit."""
        for side, total in self._sides.items():
            total.add(tallies[side])

    def counts(self) -> dict[str, Any]:
        """What they come to, as `tally` gives it."""
        return {side: total.counts() for side, total in self._sides.items()}


def total(tallies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add the tallies of several units."""
    found = Total()
    for one in tallies:
        found.add(one)
    return found.counts()


def table(tallies: Mapping[str, Any]) -> list[list[str]]:
    """A tally as cells, the heading first: sides, and under each the checks that a row's first attempt failed."""
    lines = [["check", "attempted", "passed first try", "passed on retry", "failed"]]
    for side in SIDES:
        counts = tallies[side]
        if counts["rows"]:
            lines.append([side, *(str(counts[name]) for name in COUNTS)])
        for reason, ends in counts["by_gate"].items():
            stopped = sum(ends.values())
            lines.append([f"{side}: {reason}", str(stopped), "", str(ends["passed_later"]), str(ends["failed"])])
    return lines


def text(tallies: Mapping[str, Any]) -> list[str]:
    """A tally as lines for a person."""
    lines = table(tallies)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    ]
