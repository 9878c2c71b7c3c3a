"""Codes that begin alike where they are near each other in the codec's codebook.

Drawn at random, the rows of two codes that sound the same have nothing in common, and a model learns each by itself.
Here a row holds random features of its code's vector (Rahimi and Recht, "Random Features for Large-Scale Kernel
Machines", 2007): the inner product of two rows is, in expectation, a Gaussian kernel of their codes' distance. Training
then changes the rows as it changes any other.

Shapes: L = codec layers, K = codes of a layer, V = width of the codebook, D = width of the model.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .network import MiniOmni

BANDWIDTH = 1.0
"""Of the kernel, as a share of the mean distance between two codes; docs/decisions/0016 has what was tried."""


@torch.no_grad()
def draw_from_codebook(model: MiniOmni, vectors_LKV: Sequence[Tensor], bandwidth: float = BANDWIDTH) -> None:
    """Draw a model's embeddings and heads of codes anew; special ids keep theirs, and each table its spread.

    Draws come from torch's own generator.

    Args:
        model: is changed.
        vectors_LKV: of each layer's codes, float32; layers of one codebook have the same, and features of their own.
        bandwidth: distance at which codes are alike, as a share of the mean distance between two.

    Raises:
        ValueError: the vectors are not those of the model's layers and codes.
    """
    layout = model.layout
    if [len(vectors_KV) for vectors_KV in vectors_LKV] != [layout.codebook_size] * layout.layers:
        sizes = ", ".join(str(len(vectors_KV)) for vectors_KV in vectors_LKV)
        raise ValueError(
            f"the model has {layout.layers} layers of {layout.codebook_size} codes; the codec's have {sizes}"
        )
    tables = [model.audio_embedding.weight]
    if model.audio_head.weight is not model.audio_embedding.weight:
        tables.append(model.audio_head.weight)
    for table_RD in tables:
        rows_LRD = table_RD.unflatten(0, (layout.layers, -1))
        for rows_RD, vectors_KV in zip(rows_LRD, vectors_LKV, strict=True):
            features_KD = _features(vectors_KV, table_RD.shape[1], bandwidth)
            rows_RD[: layout.codebook_size] = features_KD * (rows_RD.float().std() / features_KD.std())


def _features(vectors_KV: Tensor, width: int, bandwidth: float) -> Tensor:
    """Random Fourier features, (K, width), with a mean of 0 over the codes."""
    distance = functional.pdist(vectors_KV[:: max(1, len(vectors_KV) // 512)].float()).mean()
    frequencies_VD = torch.randn(vectors_KV.shape[1], width) / (bandwidth * distance)
    features_KD = torch.cos(vectors_KV.float() @ frequencies_VD + 2.0 * math.pi * torch.rand(width))
    return features_KD - features_KD.mean(0)
