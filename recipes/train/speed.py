"""How fast a training step is, beside what the device can do: model FLOPs over the measured rate of a matrix product.

Counted as in https://arxiv.org/abs/2204.02311, appendix B: only what the model needs, so neither padding nor what is
computed a second time counts, and a frozen weight needs no gradient of its own.
"""

import time
from typing import cast

import torch
from torch import nn

from anytalk.model import MiniOmni

FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT = 2, 2, 2  # operations of a multiply-add in each pass


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float = 0.2) -> float:
    """Measure the best rate of a square matrix product, in FLOP/s.

    Args:
        device: where.
        dtype: of both factors.
        seconds: how long to try.
    """
    size = 8192 if device.type == "cuda" else 768
    a, b = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        _synchronise(device)
        started = time.perf_counter()
        torch.mm(a, b)
        _synchronise(device)
        best = min(best, time.perf_counter() - started)
        if time.perf_counter() > end:
            return 2 * size**3 / best


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class StepCost:
    """FLOPs of training steps, for the parts that are trainable when it is made.

    Args:
        model: the model, after its parts were frozen.
        audio: whether the TTS adapter and the audio head run.
    """

    def __init__(self, model: MiniOmni, *, audio: bool) -> None:
        shape = model.backbone.config
        stacks: list[nn.Module] = [model.backbone.base_model]
        layers = int(shape.num_hidden_layers)
        if audio and model.tts_adapter is not None:
            stacks.append(model.tts_adapter)
            layers += model.config.tts_adapter_layers
        head_width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
        self._attention = layers * shape.num_attention_heads * head_width
        self._position = sum(_linear(stack) for stack in stacks)
        self._feature = _linear(model.whisper_adapter)
        head = model.backbone.get_output_embeddings()
        self._text = _linear(cast(nn.Module, head))
        self._audio = _linear(model.audio_head) if audio else 0

    def flops(
        self, positions: float, squares: float, features: float, text_labels: float, audio_labels: float
    ) -> float:
        """Count the operations of samples.

        Args:
            positions: of all samples, padding left out.
            squares: the sum of the squares of the samples' lengths.
            features: positions of adapted Whisper features.
            text_labels: labelled positions of the text stream.
            audio_labels: labelled positions of the audio streams.
        """
        # Scores and sums over half of each square, forward and twice backward.
        attention = 3 * 2 * FORWARD * self._attention * squares / 2
        linear = self._position * positions + self._feature * features
        return attention + linear + self._text * text_labels + self._audio * audio_labels


def _linear(module: nn.Module) -> int:
    """Operations for one position in all linear layers of a module."""
    total = 0
    for part in module.modules():
        if isinstance(part, nn.Linear):
            learned = BACKWARD_WEIGHT if part.weight.requires_grad else 0
            total += part.weight.numel() * (FORWARD + BACKWARD_INPUT + learned)
    return total
