"""What training minimises: the cross-entropy of every stream, only where labels stand.

A prompt carries no label, so its positions never meet a head: the hidden states of labelled positions are gathered
first, and with a text vocabulary of 152,000 that is most of the memory that a plain loop takes.

The original never stated its loss weights. The default here is SLAM-Omni's
(https://github.com/X-LANCE/SLAM-LLM, examples/s2s): the mean over a step's labels in each stream, then the mean over
streams, (text + the sum of seven audio losses) / 8. A stream without any label in a step counts on neither side of that
mean, so a text-only stage minimises the text loss itself and not an eighth of it.

Shapes: B = batch, K = streams (codec layers, then text), L = codec layers, T = positions, D = width, N = labelled
positions, V = vocabulary of one stream, H = heads, R = rows of all heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .layout import IGNORE
from .network import Features, MiniOmni


@dataclass(frozen=True, eq=False)
class OnHost:
    """A tensor that stays where it is. FSDP2 moves every tensor among a module's inputs to the module's device."""

    tensor: Tensor


class StreamLoss(nn.Module):
    """The model with its heads applied to labelled positions; a module, so that FSDP can wrap it.

    Args:
        model: what is trained.
        chunk: labelled positions whose logits under one head exist at once; 0 for all.
    """

    def __init__(self, model: MiniOmni, chunk: int = 0) -> None:
        super().__init__()
        self.model = model
        self.chunk = chunk

    def forward(
        self,
        streams_BKT: Tensor,
        labels_BKT: Tensor | OnHost,
        features: Features | None = None,
        *,
        text: bool = True,
        audio: bool = True,
    ) -> Tensor:
        """Sum the cross-entropy of each stream over its labels.

        Args:
            streams_BKT: shifted ids, int64, padded on the right.
            labels_BKT: local ids, int64, `IGNORE` where nothing is learned; on the CPU they cost no synchronisation,
                and `OnHost` keeps them there.
            features: see `MiniOmni.hidden`.
            text: whether text may be labelled; else its head is left out.
            audio: whether speech may be labelled; else the TTS adapter and the audio head are left out. A head that is
                in takes part even where a batch has no label for it, so that all processes run the same modules.

        Returns:
            (K,) float32; 0 for a stream without labels.
        """
        model, layers = self.model, self.model.layout.layers
        labels_BKT = labels_BKT.tensor if isinstance(labels_BKT, OnHost) else labels_BKT
        hidden = model.hidden(streams_BKT, features, audio=audio)
        sums_K = hidden.text.new_zeros(layers + 1, dtype=torch.float32)
        if text:
            states_ND, labels_N1 = _labelled(hidden.text, labels_BKT[:, layers:])
            sums_K = sums_K + functional.pad(self._text_sums(states_ND, labels_N1), (layers, 0))
        if audio:
            assert hidden.audio is not None
            states_ND, labels_NL = _labelled(hidden.audio, labels_BKT[:, :layers])
            sums_L = linear_cross_entropy(states_ND, model.audio_head.weight, labels_NL, self.chunk)
            sums_K = sums_K + functional.pad(sums_L, (0, 1))
        return sums_K + self._untouched(features)

    def _text_sums(self, states_ND: Tensor, labels_N1: Tensor) -> Tensor:
        weight_VD = self.model.linear_text_head
        if weight_VD is not None:
            return linear_cross_entropy(states_ND, weight_VD, labels_N1, self.chunk)
        if not self.chunk or len(states_ND) <= self.chunk:
            return _sum_over_text_head(self.model, states_ND, labels_N1)
        # Such a head's logits are computed again in the backward pass.
        parts = zip(states_ND.split(self.chunk), labels_N1.split(self.chunk), strict=True)
        sums = [checkpoint(_sum_over_text_head, self.model, *part, use_reentrant=False) for part in parts]
        return torch.stack(sums).sum(0)

    def _untouched(self, features: Features | None) -> Tensor | float:
        """Zero, through the Whisper adapter where nobody speaks: its gradient is zero then, and not missing."""
        adapter = self.model.whisper_adapter
        if not torch.is_grad_enabled() or not adapter.down.weight.requires_grad:
            return 0.0
        if features is not None and any(entry is not None and len(entry) for entry in features):
            return 0.0
        silence = adapter.stacked(torch.zeros(1, adapter.feature_width))
        return 0.0 * adapter(silence).float().sum()


def _labelled(states_BTD: Tensor, labels_BXT: Tensor) -> tuple[Tensor, Tensor]:
    """Gather the positions that carry a label in any of some streams; one position without, where there are none."""
    flat_NX = labels_BXT.transpose(1, 2).flatten(0, 1)
    at_N = (flat_NX != IGNORE).any(1).nonzero().flatten()
    if not len(at_N):
        at_N = at_N.new_zeros(1)
    chosen_NX = flat_NX[at_N].to(states_BTD.device, non_blocking=True)
    return states_BTD.flatten(0, 1).index_select(0, at_N.to(states_BTD.device, non_blocking=True)), chosen_NX


def _sum_over_text_head(model: MiniOmni, states_ND: Tensor, labels_N1: Tensor) -> Tensor:
    logits_NV = model.text_head(states_ND).float()
    loss = functional.cross_entropy(logits_NV, labels_N1[:, 0], ignore_index=IGNORE, reduction="sum")
    return loss[None]


def label_counts(labels_BKT: Tensor) -> Tensor:
    """Count the labels of each stream: (K,) int64."""
    return (labels_BKT != IGNORE).sum((0, 2))


def weighted_mean(sums_K: Tensor, counts_K: Tensor, weights_K: Tensor | None = None) -> Tensor:
    """Average streams: each by its own labels, then all by their weights.

    Args:
        sums_K: summed cross-entropy of each stream, of one batch or of many.
        counts_K: labels of each stream over the whole step; a stream without any is left out.
        weights_K: weight of each stream, text last; equal when None.

    >>> weighted_mean(torch.tensor([6.0, 0.0, 2.0]), torch.tensor([3, 0, 4]))
    tensor(1.2500)
    """
    weights_K = torch.ones_like(sums_K) if weights_K is None else weights_K.to(sums_K)
    weights_K = weights_K * (counts_K > 0).to(sums_K)
    shares_K = weights_K / weights_K.sum().clamp(min=torch.finfo(sums_K.dtype).tiny)
    return (shares_K * sums_K / counts_K.clamp(min=1).to(sums_K)).sum()


def linear_cross_entropy(states_ND: Tensor, weight_RD: Tensor, labels_NH: Tensor, chunk: int = 0) -> Tensor:
    """Sum the cross-entropy of each head over its labels; the logits never exist all at once.

    The gradients are computed in the forward pass, while the logits of some positions under one head are at hand, as
    Liger Kernel does for one head (https://github.com/linkedin/Liger-Kernel, `fused_linear_cross_entropy.py`). So each
    exponential is taken once, and the logits stay in the processor's cache. PyTorch's own `linear_cross_entropy` knows
    one head, and sums in bfloat16 where the arithmetic is bfloat16.

    Args:
        states_ND: what the heads read; under autocast both factors are cast as a linear layer casts them.
        weight_RD: the rows of all heads, one head's after another's; all have as many.
        labels_NH: int64, `IGNORE` where nothing is learned.
        chunk: positions whose logits under one head exist at once; 0 for all.

    Returns:
        (H,) float32; can be differentiated once.
    """
    device = states_ND.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states_ND.dtype
    # The weight goes in as it is: a gradient that is no view takes another one of the same table in place.
    sums_H: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        states_ND.to(dtype), weight_RD, labels_NH, chunk or len(states_ND), torch.is_grad_enabled()
    )
    return sums_H


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states_ND: Tensor, weight_RD: Tensor, labels_NH: Tensor, chunk: int, differentiated: bool
    ) -> Tensor:
        """Sum, and keep the gradient of each head's sum."""
        of_states, of_weight = (needed and differentiated for needed in ctx.needs_input_grad[:2])
        (N, _), heads = states_ND.shape, labels_NH.shape[1]
        weight_HVD = weight_RD.to(states_ND.dtype).unflatten(0, (heads, -1))
        sums_H = states_ND.new_zeros(heads, dtype=torch.float32)
        by_states_HND = states_ND.new_empty(heads, *states_ND.shape) if of_states else None
        by_weight_RD = torch.empty_like(weight_RD, dtype=torch.float32) if of_weight else None
        with torch.autocast(states_ND.device.type, enabled=False):
            for head in range(heads):
                for first in range(0, N, chunk):
                    at = slice(first, first + chunk)
                    loss, gradient_NV = _loss_and_gradient(states_ND[at] @ weight_HVD[head].T, labels_NH[at, head])
                    sums_H[head] += loss
                    if by_states_HND is not None:
                        torch.mm(gradient_NV, weight_HVD[head], out=by_states_HND[head, at])
                    if by_weight_RD is not None:
                        rows_VD = by_weight_RD.unflatten(0, (heads, -1))[head]
                        _add_product(rows_VD, gradient_NV.T, states_ND[at], fresh=first == 0)
        ctx.save_for_backward(by_states_HND, by_weight_RD)
        ctx.weight_dtype = weight_RD.dtype
        return sums_H

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_H: Tensor) -> tuple[Tensor | None, ...]:
        """Weigh the heads; the weight's gradient, which may be as large as a text table, in its place."""
        by_states_HND, by_weight_RD = ctx.saved_tensors
        states_ND = weight_RD = None
        if by_states_HND is not None:
            states_ND = torch.einsum("h,hnd->nd", grad_H.to(by_states_HND), by_states_HND)
        if by_weight_RD is not None:
            by_weight_RD.unflatten(0, (len(grad_H), -1)).mul_(grad_H[:, None, None])
            weight_RD = by_weight_RD.to(ctx.weight_dtype)
        return states_ND, weight_RD, None, None, None


def _add_product(sum_VD: Tensor, a_VN: Tensor, b_ND: Tensor, *, fresh: bool) -> None:
    """Add a matrix product to a sum, or begin the sum with it."""
    if sum_VD.dtype != b_ND.dtype:
        product_VD = a_VN @ b_ND
        sum_VD.copy_(product_VD) if fresh else sum_VD.add_(product_VD)
    else:
        torch.mm(a_VN, b_ND, out=sum_VD) if fresh else sum_VD.addmm_(a_VN, b_ND)


def _loss_and_gradient(logits_NV: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the loss in float32, and give its gradient in the logits' dtype; float32 logits are overwritten by it."""
    counted_N1 = (labels_N != IGNORE)[:, None]
    targets_N1 = labels_N.clamp(min=0)[:, None]
    values_NV = logits_NV.float()
    largest_N1 = values_NV.amax(1, keepdim=True)
    wanted_N1 = values_NV.gather(1, targets_N1)
    values_NV = values_NV.sub_(largest_N1).exp_()
    total_N1 = values_NV.sum(1, keepdim=True)
    loss = (total_N1.log() + largest_N1 - wanted_N1).masked_fill(~counted_N1, 0.0).sum()
    values_NV.mul_(counted_N1 / total_N1).scatter_add_(1, targets_N1, -counted_N1.float())
    return loss, values_NV.to(logits_NV.dtype)
