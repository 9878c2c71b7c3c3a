"""How fast a training step is, beside what the device can do: model FLOPs over the measured rate of a matrix product.

Which precision a device is quick in is decided here as well.

Counted as in https://arxiv.org/abs/2204.02311, appendix B: only what the model needs, so neither padding nor what is
computed a second time counts, and a frozen weight needs no gradient of its own.
"""

import os
import shutil
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils._triton import has_triton

from anytalk.model import MiniOmni

from .recipe import Optim, TrainingRecipe

FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT = 2, 2, 2  # operations of a multiply-add in each pass


def with_precision(recipe: TrainingRecipe, device: torch.device) -> TrainingRecipe:
    """Say in which precision to train where the recipe leaves it to the device.

    A processor without AVX512-BF16 or AMX has to emulate bfloat16, and is slower in it than in float32.
    """
    if recipe.optim.precision != "auto":
        return recipe
    precision = "bfloat16" if _multiplies_bfloat16(device) else "float32"
    return recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"precision": precision})})


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not hasattr(torch.cpu, "get_capabilities"):  # before 2.11
        return False
    able: Mapping[str, Any] = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def compiles(wanted: bool | None, device: torch.device) -> bool:
    """Say whether blocks are compiled, where a recipe leaves that to the device: on a GPU that Triton knows.

    On a processor it may pay as well, but takes a C++ compiler and, each time, a minute.
    """
    if wanted is not None:
        return wanted
    return device.type == "cuda" and has_triton()


def can_compile_for_cpu() -> bool:
    """Say whether torch.compile finds what it takes on a processor: a C++ compiler, and Python's headers."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.is_file()


def residual_dtype(optim: Optim, device: torch.device) -> torch.dtype | None:
    """Give the precision of the residual stream, where it is not that of the embeddings, float32.

    In bfloat16 a step is quicker, and reads and writes half of what lies between the products; docs/training.md has
    the figures. On a processor that is a few percent, and float32 stays unless a recipe asks.

    Args:
        optim: its precision is decided.
        device: where.
    """
    chosen = optim.residual or ("bfloat16" if device.type == "cuda" else "float32")
    return torch.bfloat16 if optim.precision == chosen == "bfloat16" else None


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
