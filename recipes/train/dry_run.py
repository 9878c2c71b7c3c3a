"""What a run would be, without training: parameters, samples, memory, time, and a sample as text.

Shapes: K = streams, T = positions.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from anytalk.model import Layout, MiniOmni, Task
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.recipes.data import Batch, Loader, Rows, encoder, load_tokenizer
from anytalk.synth.errors import SetupError
from anytalk.synth.seed import derive_seed

from .folder import training_texts
from .lora import add_lora
from .order import stage_loader, with_steps
from .parts import choose
from .recipe import Stage, TrainingRecipe
from .speed import StepCost, matmul_rate, with_precision
from .start import codebook_size, make_tokenizer, start_model

SHARE_OF_PEAK = 0.4
"""Of the matrix-product rate that training is assumed to reach."""

BYTES_OF_WEIGHT = 4  # weights, gradients and Adam's two moments are float32
ADAM_MOMENTS = 2
ACTIVATION_BYTES = {"float32": 68, "bfloat16": 34}
"""Of a position of a block, by hidden unit, without the square of attention: https://arxiv.org/abs/2205.05198, 4.1."""
CHECKPOINTED_BYTES = {"float32": 4, "bfloat16": 2}
"""The same where activations are computed again: the block's input alone."""


@dataclass(frozen=True)
class ExpectedStage:
    """What one stage would be."""

    name: str
    steps: int
    trainable: int
    """Parameters that learn."""
    samples: dict[str, dict[str, int]]
    """By task: how many there are, and the 50th, 95th and 100th percentile of their positions."""
    positions_per_step: int
    """Padding left out; the mean of the first steps."""
    memory_gib: float
    """Of a worker without sharding: weights, gradients, optimiser, activations and logits; what the framework itself
    takes is not in it."""
    hours: float
    """Of all workers together as one."""


@dataclass(frozen=True)
class Expected:
    """What a run would be."""

    parameters: int
    rows: int
    stages: list[ExpectedStage]
    peak_tflops: float
    """Measured here, of one matrix product."""
    sample: list[str]
    """One sample of the first stage, a line for each stream that says something of its own."""


def dry_run(recipe: TrainingRecipe, device: torch.device | None = None, progress: Reporter | None = None) -> Expected:
    """Load everything that a run would, and say what it comes to. Nothing is written, no weight is changed.

    Args:
        recipe: of the run.
        device: whose rate of matrix products is measured; a GPU where there is one by default.
        progress: who is told how far it is.

    Raises:
        SetupError: the datasets or the model do not allow the run.
    """
    if not recipe.data.folders:
        raise SetupError("no dataset: name one with --data or under data.datasets")
    progress = progress or Quiet()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    progress.phase("reading what is trained on")
    with tempfile.TemporaryDirectory() as folder:
        make_tokenizer(recipe.model, training_texts(recipe), Path(folder))
        tokenizer = load_tokenizer(Path(folder))
    rows = Rows(
        recipe.data.folders,
        recipe.data.train,
        encoder(tokenizer),
        codebook_size(recipe.model),
        texts=recipe.data.sources,
    )
    recipe = with_precision(with_steps(recipe, rows, tokenizer), device)
    progress.phase("making the model")
    model = start_model(recipe.model, rows.encoding, tokenizer, derive_seed(recipe.seed, "weights"))
    add_lora(model, recipe.lora, derive_seed(recipe.seed, "lora"))
    dtype = torch.bfloat16 if recipe.optim.precision == "bfloat16" else torch.float32
    progress.phase("measuring this device")
    peak = matmul_rate(device, dtype)
    progress.phase("drawing the first steps of each stage")
    stages, sample = [], list[str]()
    for stage in recipe.stages:
        loader = stage_loader(recipe, stage, rows, model.layout, model.config.stack)
        try:
            stages.append(_expected(recipe, stage, model, loader, peak))
            if not sample:
                sample = list(_as_text(loader.take().batches[0], model.layout, tokenizer))
        finally:
            loader.close()
    progress.stop()
    parameters = sum(x.numel() for x in model.parameters())
    return Expected(parameters, len(rows), stages, round(peak / 1e12, 2), sample)


def _expected(recipe: TrainingRecipe, stage: Stage, model: MiniOmni, loader: Loader, peak: float) -> ExpectedStage:
    trainable = choose(model, stage)
    learned = sum(x.numel() for x in trainable.named.values())
    first = [loader.take() for _ in range(min(4, stage.steps))]
    batches = [batch for step in first for batch in step.batches]
    lengths = np.array([length for batch in batches for length in batch.lengths])
    text, audio = (any(getattr(task, does) for task in stage.tasks) for does in ("writes", "speaks"))
    heard = sum(len(frames) for batch in batches for each in batch.features for _, frames in each)
    cost = StepCost(model, audio=audio)
    # Labels stand at about half of the positions; answers are about as long as questions.
    labels = float(lengths.sum()) / 2
    flops = cost.flops(
        float(lengths.sum()),
        float((lengths.astype(float) ** 2).sum()),
        heard / model.config.stack,
        labels * text,
        labels * audio,
    )
    seconds = flops / len(first) * stage.steps / (peak * SHARE_OF_PEAK)
    return ExpectedStage(
        name=stage.name,
        steps=stage.steps,
        trainable=learned,
        samples={task.value: _spread(task, loader) for task in stage.tasks},
        positions_per_step=int(lengths.sum() / len(first)),
        memory_gib=round(_memory_bytes(recipe, model, learned, text=text, audio=audio) / 2**30, 2),
        hours=round(seconds / 3600, 2),
    )


def _spread(task: Task, loader: Loader) -> dict[str, int]:
    """How many samples a task has, and how long they are."""
    lengths = np.concatenate([pool.samples.lengths for pool in loader.pools if pool.task is task])
    half, most, longest = np.percentile(lengths, [50, 95, 100]).astype(int).tolist()
    return {"samples": len(lengths), "median": half, "percentile_95": most, "longest": longest}


def _memory_bytes(recipe: TrainingRecipe, model: MiniOmni, learned: int, *, text: bool, audio: bool) -> float:
    """Weights of all, gradients and moments of what learns, activations of a batch, and its logits."""
    optim, shape = recipe.optim, model.backbone.config
    blocks = int(shape.num_hidden_layers) + (model.config.tts_adapter_layers if audio else 0)
    kept = ACTIVATION_BYTES[optim.precision]
    if optim.activation_checkpointing:
        kept = CHECKPOINTED_BYTES[optim.residual or optim.precision]
    positions = recipe.loader.positions
    labelled = min(positions, optim.loss_chunk or positions)
    vocabulary = max(model.layout.text_vocabulary * text, model.layout.audio_vocabulary * audio)
    heads = model.layout.text_vocabulary * text + model.layout.layers * model.layout.audio_vocabulary * audio
    return (
        sum(x.numel() for x in model.parameters()) * BYTES_OF_WEIGHT
        + learned * BYTES_OF_WEIGHT * (1 + ADAM_MOMENTS)
        + blocks * positions * int(shape.hidden_size) * kept
        # Logits of one head and their gradient, in float32, and the gradients of all heads twice.
        + labelled * vocabulary * 4 * 2
        + heads * int(shape.hidden_size) * 4
    )


def _as_text(batch: Batch, layout: Layout, tokenizer: Tokenizer) -> Iterator[str]:
    """Write a batch's first sample: the text stream, the first audio stream, and the text that is learnt."""
    (task, row), length = batch.samples[0], batch.lengths[0]
    yield f"{task} of row {row}, {length} positions"
    text_T, audio_T = (batch.streams[0, stream, :length].tolist() for stream in (-1, 0))
    yield f"text     {_runs([_text_token(token, layout) for token in text_T], tokenizer)}"
    yield f"audio 1  {_runs([_audio_token(layout.unshift(token, 0), layout) for token in audio_T], tokenizer)}"
    learned = [token for token in batch.labels[0, -1, :length].tolist() if token >= 0]
    yield f"learns   {_runs([_text_token(token, layout) for token in learned], tokenizer)}"


def _text_token(token: int, layout: Layout) -> str | int:
    names = {getattr(layout, name): f"<{name}>" for name in ("eot", "pad_t", "input_t", "answer_t", "asr")}
    return names.get(token, token)


def _audio_token(code: int, layout: Layout) -> str:
    names = {getattr(layout, name): f"<{name}>" for name in ("eoa", "pad_a", "input_a", "answer_a")}
    return names.get(code, "code")


def _runs(tokens: Sequence[str | int], tokenizer: Tokenizer) -> str:
    """Join tokens: ids as the text that they spell, names once with their number."""
    parts: list[Any] = []
    for name, run in groupby(tokens, key=lambda token: token if isinstance(token, str) else None):
        found = list(run)
        if name is None:
            ids = [token for token in found if isinstance(token, int)]
            parts.append(repr(tokenizer.decode(ids, skip_special_tokens=False)))
        else:
            parts.append(name if len(found) == 1 else f"{name}*{len(found)}")
    return " ".join(parts)
