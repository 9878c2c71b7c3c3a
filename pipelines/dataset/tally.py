"""Yield of each check: how many rows pass at the first attempt, how many at a later one, and what stopped the others.

A row counts under the check that its first attempt failed, so that the checks of a side add up to the rows that did not
pass at the first attempt.
"""

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
    return {side: _add(_one(row[side]) for row in rows if side in row) for side in SIDES}


def _one(outcome: Outcome) -> dict[str, Any]:
    if outcome.first_reason is None:
        return _nothing() | {"rows": 1, "passed_first": 1}
    end = "passed_later" if outcome.passed else "failed"
    by_check = {outcome.first_reason: {"passed_later": 0, "failed": 0} | {end: 1}}
    return _nothing() | {"rows": 1, end: 1, "by_gate": by_check}


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(COUNTS, 0) | {"by_gate": {}}


def _add(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    total = _nothing()
    for more in counts:
        for name in COUNTS:
            total[name] += more[name]
        for reason, ends in more["by_gate"].items():
            known = total["by_gate"].setdefault(reason, dict.fromkeys(ends, 0))
            for end, rows in ends.items():
                known[end] += rows
    stopped = sorted(total["by_gate"].items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return total | {"by_gate": dict(stopped)}


def total(tallies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add the tallies of several units."""
    return {side: _add(one[side] for one in tallies) for side in SIDES}


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
