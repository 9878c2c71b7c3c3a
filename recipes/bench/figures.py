"""The figures of a benchmark: ours and the naive way in turn, medians and spread, the bound, the machine, the text.

name, unit          what was measured, and in what
value, naive        medians over the repeats
ratio               how many times better ours is: above 1 is better, whatever the unit
bound               the best value that this machine could give
share_of_bound      how near ours comes to it, between 0 and 1
machine, commit     where it was measured, and with which code
spread              lowest and highest of value, naive and ratio; null where there was one run
"""

import math
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, TypeVar

import torch

from anytalk.pipelines.progress import Reporter
from anytalk.recipes.machine import commit_id, machine

REPEATS = 3

Measured = TypeVar("Measured")
"""What one repeat gives."""

Figures = dict[str, Any]
Clock = Callable[[], float]


def clock_of(cores: int, device: torch.device | None = None) -> Clock:
    """Give the clock to time with, in seconds.

    Args:
        cores: on one, what counts is the processor time that this process takes, so that others do not slow it down.
        device: a GPU is waited for.
    """
    if device is not None and device.type == "cuda":

        def synchronised() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return synchronised
    return time.process_time if cores == 1 else time.perf_counter


def seconds_of(action: Callable[[], object], clock: Clock) -> float:
    """Time an action."""
    started = clock()
    action()
    return clock() - started


def best_rate(amount: float, action: Callable[[], object], clock: Clock = time.process_time, tries: int = 6) -> float:
    """Give how much of something an action does in a second: the best of some tries."""
    return amount / min(seconds_of(action, clock) for _ in range(tries))


def matmul_flops_per_s(size: int = 1024) -> float:
    """Measure float32 matrix products on one thread; takes `torch_threads(1)`."""
    a, b = torch.ones(size, size), torch.ones(size, size)
    return best_rate(2 * size**3, lambda: torch.mm(a, b))


def in_turns(
    ours: Callable[[], Measured],
    naive: Callable[[], float],
    progress: Reporter,
    repeats: int = REPEATS,
    limit_s: float = math.inf,
) -> tuple[list[Measured], list[float]]:
    """Measure both ways in turn, so that what else the machine does weighs on both.

    Args:
        ours: gives the figure of one repeat.
        naive: the same of the naive way.
        progress: who is told how far it is.
        repeats: how many of each.
        limit_s: after so long no further repeat begins; there is one at least.

    Returns:
        Figures of ours and of the naive way, one a repeat.
    """
    values: list[Measured] = []
    naives: list[float] = []
    end = time.monotonic() + limit_s
    progress.start("repeats", repeats)
    try:
        while len(values) < repeats and (not values or time.monotonic() < end):
            naives.append(naive())
            values.append(ours())
            progress.advance(1)
    finally:
        progress.stop()
    return values, naives


def compared(
    values: Sequence[float], naives: Sequence[float], bound: float, *, less_is_better: bool = False
) -> Figures:
    """Sum up both ways.

    Args:
        values: of ours, one a repeat.
        naives: of the naive way.
        bound: the best that is possible, in the same unit.
        less_is_better: the unit is a time and not a rate.
    """

    def gain(value: float, than: float) -> float:
        return than / value if less_is_better else value / than

    ratios = [gain(value, naive) for value, naive in zip(values, naives, strict=True)]
    measured = {"value": values, "naive": naives, "ratio": ratios}
    return {
        **{key: round(median(repeats), 2) for key, repeats in measured.items()},
        "bound": round(bound, 2),
        "share_of_bound": round(1 / gain(bound, median(values)), 4),
        "spread": {key: [round(min(repeats), 2), round(max(repeats), 2)] for key, repeats in measured.items()}
        if len(values) > 1
        else None,
    }


def figures(name: str, unit: str, comparison: Figures, **more: Any) -> Figures:
    """Give the object that `--json` prints: what was compared, what a benchmark adds, and where it was measured."""
    return {"name": name, "unit": unit, **comparison, **more, "machine": machine(), "commit": commit_id()}


def comparison_line(name: str, comparison: Figures, unit: str) -> str:
    """Tell a comparison: ours, the naive way, how many times better, from lowest to highest."""
    spread = "" if comparison["spread"] is None else " ({:g} to {:g})".format(*comparison["spread"]["ratio"])
    value, naive = _number(comparison["value"]), _number(comparison["naive"])
    return f"{name}: {value} {unit}, naive {naive}, {comparison['ratio']:g} times as fast{spread}"


def bound_line(comparison: Figures, bound: str) -> str:
    """Tell how near the bound ours comes, and what the bound is."""
    return f"{comparison['share_of_bound']:.1%} of the bound {_number(comparison['bound'])}: {bound}"


def describe(found: Figures, bound: str, *lines: str) -> str:
    """Give the lines for a person.

    Args:
        found: what `figures` gave.
        bound: what the bound is.
        lines: what else to tell.
    """
    head = comparison_line(found["name"], found, found["unit"])
    tail = f"{found['machine']}; commit {found['commit']}"
    return "\n  ".join([head, bound_line(found, bound), *lines, tail])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"
