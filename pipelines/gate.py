"""Yield of each gate: how many rows pass a side at once, how many after another attempt, and what stopped the others.

A row counts under the gate that stopped its first attempt, so that the gates of a side add up to the rows that did not
pass at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .attempt import SIDES, Ended

COUNTS = ("rows", "passed_first", "passed_later", "failed")


def tally(ended: Sequence[Ended]) -> dict[str, dict[str, Any]]:
    """Count what became of some rows, by side.

    Returns:
        For each side the rows that were attempted, those that passed at the first attempt, those that passed at a
        later one, those that failed; and by the reason of the first attempt the rows that passed later or failed.
    """
    return {side: _add(_one(row, side) for row in ended) for side in SIDES}


def _one(row: Ended, side: Any) -> dict[str, Any]:
    made, chosen = row.within(side), row.chosen(side)
    # An answer that was spoken for a question which another policy refuses is not asked for.
    if not made or (side == "answer" and row.failed_side == "question"):
        return _nothing()
    if made[0].reason is None:
        return _nothing() | {"rows": 1, "passed_first": 1}
    end = "failed" if chosen is None else "passed_later"
    by_gate = {made[0].reason: {"passed_later": 0, "failed": 0} | {end: 1}}
    return _nothing() | {"rows": 1, end: 1, "by_gate": by_gate}


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


def table(gates: Mapping[str, Any]) -> list[list[str]]:
    """A tally as cells, the heading first: sides, and under each the gates that stopped a row's first attempt."""
    lines = [["gate", "rows", "at once", "later", "failed"]]
    for side in SIDES:
        counts = gates[side]
        if counts["rows"]:
            lines.append([side, *(str(counts[name]) for name in COUNTS)])
        for reason, ends in counts["by_gate"].items():
            stopped = sum(ends.values())
            lines.append([f"{side}: {reason}", str(stopped), "", str(ends["passed_later"]), str(ends["failed"])])
    return lines


def text(gates: Mapping[str, Any]) -> list[str]:
    """A tally as lines for a person."""
    lines = table(gates)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    ]
