"""Draws that keep to quotas: every value gets its share of any number of draws, in an order without a pattern."""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from anytalk.synth.seed import derive_seed

ValueT = TypeVar("ValueT", str, int, float)

Weights = Mapping[ValueT, float] | Sequence[ValueT]
"""Values with their weights, or a list of values with equal ones."""


def check_weights(name: str, weights: Weights[ValueT]) -> None:
    """Raise for weights that nothing can be drawn by.

    Raises:
        ValueError: if there is no value, one stands twice in a list, or a weight is not over 0.
    """
    if not weights:
        raise ValueError(f"{name} must hold at least one value")
    if isinstance(weights, Mapping):
        wrong = {value: weight for value, weight in weights.items() if not 0 < weight < math.inf}
        if wrong:
            raise ValueError(f"weights of {name} must be over 0; got {wrong}")
    elif len(set(weights)) < len(weights):
        raise ValueError(f"{name} holds a value twice; give it a weight instead: {{{weights[0]}: 2}}")


def shares_of(weights: Weights[ValueT]) -> Mapping[ValueT, float]:
    """Values with their weights, 1 where there are none."""
    return weights if isinstance(weights, Mapping) else dict.fromkeys(weights, 1.0)


def deal(weights: Weights[ValueT], seed: int, name: str) -> Iterator[ValueT]:
    """Draw values without end.

    Each value's draws are spread over time, one at a random moment of each of its periods, and a period is as short as
    its weight is large; the draws of all values in the order of time are the result. So the first N draws hold a value
    exactly N * weight / sum times where that is whole, and else less than two more or fewer; and the first N are the
    same however many follow.

    Args:
        weights: how often each value comes, beside the others.
        seed: the same seed gives the same draws.
        name: of what is drawn; two names have nothing to do with each other.
    """
    shares = shares_of(weights)
    # By content, not by place: a value's moments stay when another value joins.
    chance = {value: np.random.default_rng(derive_seed(seed, name, str(value))) for value in shares}
    heap = [(chance[value].random() / share, place, 0, value) for place, (value, share) in enumerate(shares.items())]
    heapq.heapify(heap)
    while True:
        _, place, period, value = heap[0]
        moment = (period + 1 + chance[value].random()) / shares[value]
        heapq.heapreplace(heap, (moment, place, period + 1, value))
        yield value
