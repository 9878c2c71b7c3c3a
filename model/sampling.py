"""Choosing the next id from logits.

Shapes: N = streams that choose at once, V = vocabulary of one stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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


GREEDY = Sampling()


def choose(
    logits_NV: Tensor,
    sampling: Sampling,
    generator: torch.Generator | None = None,
    said: Sequence[Sequence[int]] = (),
    specials_from: int | None = None,
) -> list[int]:
    """Choose one id in each row.

    Args:
        logits_NV: any float dtype.
        sampling: how.
        generator: where chance comes from, on the logits' device; not needed when greedy.
        said: for each row, the ids that its stream has said so far; empty when nothing repeats.
        specials_from: the first special id; from it on the penalty does not apply.

    Returns:
        N ids.
    """
    logits_NV = logits_NV.float()
    if sampling.repetition_penalty != 1 and said:
        logits_NV = _penalised(logits_NV, sampling, said, specials_from)
    if sampling.temperature == 0 or sampling.top_k == 1:
        return [int(x) for x in logits_NV.argmax(-1).tolist()]
    if sampling.top_k is not None:
        values, ids = logits_NV.topk(min(sampling.top_k, logits_NV.shape[-1]))
        logits_NV = torch.full_like(logits_NV, -torch.inf).scatter(-1, ids, values)
    logits_NV = logits_NV / sampling.temperature
    if sampling.top_p < 1:
        logits_NV = _nucleus(logits_NV, sampling.top_p)
    drawn = torch.multinomial(logits_NV.softmax(-1), 1, generator=generator)
    return [int(x) for x in drawn[:, 0].tolist()]


def _penalised(
    logits_NV: Tensor, sampling: Sampling, said: Sequence[Sequence[int]], specials_from: int | None
) -> Tensor:
    logits_NV = logits_NV.clone()
    for row, ids in enumerate(said):
        lately = {x for x in ids[-sampling.repetition_window :] if specials_from is None or x < specials_from}
        at = torch.tensor(sorted(lately), dtype=torch.int64, device=logits_NV.device)
        x = logits_NV[row, at]
        logits_NV[row, at] = torch.where(x > 0, x / sampling.repetition_penalty, x * sampling.repetition_penalty)
    return logits_NV


def _nucleus(logits_NV: Tensor, top_p: float) -> Tensor:
    """Keep the likeliest ids up to the one that brings the sum of probabilities to top_p."""
    ordered, ids = logits_NV.sort(descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    return torch.full_like(logits_NV, -torch.inf).scatter(-1, ids, ordered.masked_fill(before >= top_p, -torch.inf))
