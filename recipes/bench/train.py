"""How fast is training? Positions a second that are no padding, beside a plain padded loop, in the same run.

The model has 64 million parameters: a Qwen2 shape of width 256 with the whole text vocabulary of Qwen2 and Mini-Omni's
seven layers of audio; or Mini-Omni's own 0.5B shape. The plain loop is what one writes first: batches in random order,
padded to their longest, logits of every position and stream, cross-entropy that ignores what carries no label, AdamW.
Both train the same weights with the same optimiser, on the same rows, in the same arithmetic and, but for padding,
positions a step; steps of both take turns, so that what else the machine does weighs on both. Loading counts for ours
only. On one core both are timed by the processor time that they took, else by the clock. The bound is the operations
that the model needs over the measured rate of a matrix product; the share of it that is reached is what others call
MFU, though they mostly divide by the rate of a data sheet.

Shapes: B = batch, K = streams, L = codec layers, T = positions, V = vocabulary of one stream.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import Qwen2Config

from anytalk.model import (
    IGNORE,
    MINI_OMNI,
    Layout,
    MiniOmni,
    MiniOmniConfig,
    Task,
    backbone_fields,
    mini_omni_config,
)
from anytalk.pipelines.progress import Reporter
from anytalk.recipes.data import Batch, Rows, candidates, collate, encoder, texts, train_tokenizer
from anytalk.recipes.device import Device
from anytalk.recipes.machine import peak_memory
from anytalk.recipes.train import ProcessGroup, StageTrainer, TrainingRecipe, TrainingState, matmul_rate
from anytalk.synth.device import torch_device, torch_dtype
from anytalk.synth.errors import SetupError
from anytalk.synth.memory import keep_freed_memory
from anytalk.synth.threads import torch_threads

from .figures import Clock, Figures, clock_of, compared, describe, figures, in_turns, matmul_flops_per_s

EPILOG = (
    "Examples:  anytalk bench train out/quickstart/dataset --cores 2  |  "
    "anytalk bench train DATASET --model mini-omni --positions 16384 --device cuda"
)

SHAPE: Mapping[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 9,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
"""63.7 million parameters with whisper-tiny's features, 39 of them the text table and 15 those of the audio streams."""

MINI_OMNI_SHAPE: Mapping[str, Any] = mini_omni_config().backbone
"""694 million parameters with whisper-small's features."""

TASK = Task.A1A2
WORDS = 4096  # tokens of the text that is read; the text table has all its rows all the same
LEARNING_RATE = 1e-4
START = "start"  # folder of the model
REPEATS = 5


def bench(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder that anytalk build wrote.")],
    positions: Annotated[int, typer.Option(min=64, help="Of a batch; 1024 suit a processor, 16384 a GPU.")] = 1024,
    cores: Annotated[int, typer.Option(min=1, help="Threads of both.")] = 1,
    device: Device = "auto",
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="Arithmetic of both; bfloat16 on a GPU and float32 on a CPU by default."),
    ] = None,
    model: Annotated[
        Literal["small", "mini-omni"],
        typer.Option(help="64 million parameters, or Mini-Omni's 0.5B shape: on a CPU minutes, and 16 GiB of memory."),
    ] = "small",
    seconds: Annotated[
        float, typer.Option(min=0.0, help="After so long no further repeat begins; each does one step of both.")
    ] = 120.0,
    *,
    progress: Reporter,
    shape: Mapping[str, Any] | None = None,
    layout: Layout = MINI_OMNI,
) -> Figures:
    """Train on a dataset's spoken questions and answers for some steps.

    Raises:
        SetupError: the dataset is none, no row of it suits the task, or the device cannot be had.
    """
    keep_freed_memory()  # as a run does; the plain loop gets what it saves as well
    on = torch_device(device)
    precision = dtype or usual_precision(on)
    clock = clock_of(cores, on)
    tokenizer, rows = open_rows(dataset, layout)
    shape = shape or (SHAPE if model == "small" else MINI_OMNI_SHAPE)
    with tempfile.TemporaryDirectory() as folder, torch_threads(cores):
        random_model(shape, layout, rows).save_pretrained(Path(folder, START))
        with stage(Path(folder), rows, tokenizer, positions, on, precision) as training:
            steps = our_steps(training)
            ours, memory_bytes = _warmed_up(steps, clock, on)
            plain = PlainLoop(training.model, plain_batches(rows, layout, positions), on, precision, training.optimiser)
            values, naives = _measure(ours, plain, clock, progress, seconds)
            parameters = sum(x.numel() for x in training.model.parameters())
    if on.type == "cuda":
        peak = matmul_rate(on, torch_dtype(precision))
    else:
        with torch_threads(1):
            peak = cores * matmul_flops_per_s()
    rates, flops = zip(*values, strict=True)
    comparison = compared(rates, naives, peak / mean(flops))
    return figures(
        "train",
        "positions a second that are no padding",
        comparison,
        model=model,
        parameters=parameters,
        tflops_per_s=round(comparison["value"] * mean(flops) / 1e12, 4),
        memory_gib=round(memory_bytes / 2**30, 2),
        positions=positions,
        device=on.type,
        precision=precision,
        cores=cores,
    )


def open_rows(dataset: str, layout: Layout) -> tuple[Tokenizer, Rows]:
    """Read a dataset's training split, with a tokenizer that is trained on it."""
    tokenizer = train_tokenizer(texts([dataset], "train"), min(WORDS, layout.text_size))
    return tokenizer, Rows([dataset], "train", encoder(tokenizer), layout.codebook_size, layout.layers)


def random_model(shape: Mapping[str, Any], layout: Layout, rows: Rows) -> MiniOmni:
    """Build the model that is trained, with random weights.

    Raises:
        SetupError: the rows have no features to hear.
    """
    if rows.encoding.feature_width is None:
        raise SetupError("the dataset has no question_features; build it with features.store true")
    torch.manual_seed(0)
    config = MiniOmniConfig(
        layout=layout,
        backbone=backbone_fields(Qwen2Config(**shape), layout),
        feature_width=rows.encoding.feature_width,
        adapter_hidden=shape["intermediate_size"],
    )
    return MiniOmni(config)


def usual_precision(device: torch.device) -> str:
    """The arithmetic that training is usually done in there."""
    return "float32" if device.type == "cpu" else "bfloat16"


def stage(
    folder: Path, rows: Rows, tokenizer: Tokenizer, positions: int, device: torch.device, precision: str
) -> StageTrainer:
    """Give the trainer itself, on one stage that trains all of the model in `folder / START`."""
    one = {"name": "all", "train": "all", "tasks": {TASK: 1.0}, "steps": 1_000_000, "learning_rate": LEARNING_RATE}
    recipe = TrainingRecipe.model_validate(
        {
            "name": "bench",
            "model": {"checkpoint": str(folder / START)},
            "stages": [one],
            "loader": {"positions": positions, "max_positions": min(positions, 2048)},
            "optim": {"precision": precision},
        }
    )
    return StageTrainer(recipe, folder, TrainingState(), ProcessGroup.current(device), rows, None, tokenizer)


def plain_batches(rows: Rows, layout: Layout, positions: int, count: int = 16) -> list[Batch]:
    """Lay out batches as a plain script does: so many rows of a random order, whatever their lengths.

    Args:
        rows: where from.
        layout: the ids.
        positions: of a batch on average, padding left out, so that both loops step as often.
        count: how many batches.
    """
    found = candidates(TASK, rows, layout, 1, min(positions, 2048))
    size = max(1, round(positions / max(1.0, found.lengths.mean()))) if len(found.rows) else 1
    order = np.random.default_rng(0).permutation(found.rows)[: count * size]
    return [
        collate([(TASK, [rows[number]]) for number in order[start : start + size].tolist()], layout, 1)
        for start in range(0, len(order), size)
    ]


class PlainLoop:
    """The plain loop.

    Args:
        model: taken over.
        batches: taken in turn, for ever.
        device: where.
        precision: float32, or bfloat16 in autocast.
        optimiser: an AdamW of these weights, with its moments; a new one when None.
    """

    def __init__(
        self,
        model: MiniOmni,
        batches: list[Batch],
        device: torch.device,
        precision: str = "float32",
        optimiser: torch.optim.Optimizer | None = None,
    ) -> None:
        self.precision = precision
        self.model, self.device = model.to(device).train(), device
        self.batches: Iterator[Batch] = cycle(batches)
        self.optimiser = optimiser or torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=True)

    def step(self) -> int:
        """Do a step and count its positions."""
        batch = next(self.batches)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss = self.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return batch.positions

    def loss(self, batch: Batch) -> Tensor:
        """The mean over all streams of each one's cross-entropy, from logits of every position."""
        labels_BKT = batch.labels.to(self.device)
        features = [[(start, x.to(self.device)) for start, x in entry] for entry in batch.features]
        out = self.model(batch.streams.to(self.device), features)
        text = functional.cross_entropy(out.text_logits.flatten(0, 1), labels_BKT[:, -1].flatten(), ignore_index=IGNORE)
        audio = [
            functional.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORE)
            for logits_BTV, labels_BT in zip(out.audio_logits.unbind(1), labels_BKT[:, :-1].unbind(1), strict=True)
        ]
        return torch.stack([*audio, text]).mean()


def our_steps(training: StageTrainer) -> Iterator[tuple[int, float]]:
    """Do step after step; give each one's positions, and the operations that one of them needed."""
    at = TrainingState()
    while True:
        metrics = training.step(at, peak=1.0)  # so its share of the peak is a rate
        yield metrics["positions"], metrics["share_of_peak"] * metrics["seconds"] / metrics["positions"]


Turn = Callable[[], tuple[float, float]]
"""Does a step; gives its rate in positions a second, and the operations that a position needed."""


def _warmed_up(steps: Iterator[tuple[int, float]], clock: Clock, device: torch.device) -> tuple[Turn, int]:
    """Do our first steps; give how to time the next, and the most memory that was taken: on a CPU, by the process."""
    for _ in range(2):
        next(steps)

    def timed() -> tuple[float, float]:
        started = clock()
        positions, each = next(steps)
        return positions / (clock() - started), each

    return timed, peak_memory(device)


def _measure(
    ours: Turn, plain: PlainLoop, clock: Clock, progress: Reporter, seconds: float
) -> tuple[list[tuple[float, float]], list[float]]:
    """Let both step in turn, after one step of the plain loop to warm up.

    Args:
        ours: a step of ours.
        plain: the plain loop.
        clock: times both.
        progress: who is told.
        seconds: after so long no further repeat begins.

    Returns:
        Of each repeat, what ours gave, and the plain loop's rate.
    """
    plain.step()

    def naive() -> float:
        started = clock()
        positions = plain.step()
        return positions / (clock() - started)

    return in_turns(ours, naive, progress, REPEATS, limit_s=seconds)


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    return describe(
        found,
        "the matrix products it needs",
        f"{found['parameters'] / 1e6:.1f} M parameters, batches of {found['positions']} positions, "
        f"{found['tflops_per_s']:g} TFLOP/s, at most {found['memory_gib']:g} GiB, "
        f"{found['precision']} on {found['device']}, {found['cores']} threads",
    )
