"""Choosing the next id from logits.

Shapes: N = streams that choose at once, V = vocabulary of one stream, W = steps of the repetition window.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Sampling:
    """How to choose. The default is greedy, which is what the original's top_k = 1 amounts to.

    Args:
        temperature: divides the logits; 0 is greedy, and then the next two do nothing.
        top_k: keep the k likeliest ids; all when None.
        top_p: keep the fewest ids whose probability reaches p.
        repetition_penalty: divides positive and multiplies negative logits of ids that the stream said lately
            (https://arxiv.org/abs/1909.05858); 1 is off. Special ids are exempt: padding must repeat.
        repetition_window: how many steps back "lately" is.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    repetition_window: int = 64

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.repetition_penalty <= 0:
            raise ValueError(f"temperature must be >= 0, top_p in (0, 1], repetition_penalty > 0; got {self}")
        if (self.top_k is not None and self.top_k < 1) or self.repetition_window < 1:
            raise ValueError(f"top_k and repetition_window must be at least 1; got {self}")

    @property
    def is_greedy(self) -> bool:
        """Whether nothing is left to chance."""
        return self.temperature == 0 or self.top_k == 1


GREEDY = Sampling()


def choose(
    logits_NV: Tensor,
    sampling: Sampling,
    chance_N: Tensor | None = None,
    recent_NW: Tensor | None = None,
    specials_from: int | None = None,
) -> Tensor:
    """Choose one id in each row. Nothing waits for the device, so that a CUDA graph can hold it.

    Args:
        logits_NV: any float dtype.
        sampling: how.
        chance_N: a number in [0, 1) for each row, drawn evenly; not needed when greedy.
        recent_NW: the ids that each row's stream said in the last `repetition_window` steps, in any order, and -1 where
            it said nothing; None when nothing repeats.
        specials_from: the first special id; from it on the penalty does not apply.

    Returns:
        N ids, int64.
    """
    logits_NV = logits_NV.float()
    if sampling.repetition_penalty != 1 and recent_NW is not None:
        logits_NV = _penalised(logits_NV, sampling.repetition_penalty, recent_NW, specials_from)
    if sampling.is_greedy:
        return logits_NV.argmax(-1)
    if chance_N is None:
        raise ValueError(f"chance_N is needed: {sampling} is not greedy")
    ids_NV = None  # in order of their logits, where that matters
    if sampling.top_k is not None:
        logits_NV, ids_NV = logits_NV.topk(min(sampling.top_k, logits_NV.shape[-1]))
    elif sampling.top_p < 1:
        logits_NV, ids_NV = logits_NV.sort(descending=True)
    likely_NV = (logits_NV / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        before_NV = likely_NV.cumsum(-1) - likely_NV
        likely_NV = likely_NV.masked_fill(before_NV >= sampling.top_p, 0)
    # In float64, in which no number below 1 times the sum is the sum: what is drawn is always one of the likely.
    summed_NV = likely_NV.cumsum(-1, dtype=torch.float64)
    drawn_N1 = torch.searchsorted(summed_NV, summed_NV[:, -1:] * chance_N[:, None].double(), right=True)
    return (drawn_N1 if ids_NV is None else ids_NV.gather(-1, drawn_N1))[:, 0]


def _penalised(logits_NV: Tensor, penalty: float, recent_NW: Tensor, specials_from: int | None) -> Tensor:
    V = logits_NV.shape[-1]
    exempt_NW = (recent_NW < 0) | (recent_NW >= (V if specials_from is None else specials_from))
    at_NW = recent_NW.masked_fill(exempt_NW, V)  # a column that nobody chooses
    padded_NV = functional.pad(logits_NV, (0, 1))
    x_NW = padded_NV.gather(-1, at_NW)
    return padded_NV.scatter(-1, at_NW, torch.where(x_NW > 0, x_NW / penalty, x_NW * penalty))[:, :V]
