"""How fast is the loader? Positions a second, beside `datasets`, in the same run.

The naive way is `datasets` with `with_format("torch")`, PyTorch's `DataLoader` with as many workers as our loader has
threads, and a collate that makes the same tensors; its texts are tokens already. Both read spoken questions with spoken
answers, in turns. The bound is the bytes of a batch over the measured rate of copying memory. What a training step
of 64 million parameters eats on this machine is the floor (`anytalk bench train`).

Shapes: B = batch, K = streams, L = codec layers, T = positions, F = feature width.
"""

import itertools
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor
from torch.utils.data import DataLoader

from anytalk.model import IGNORE, MINI_OMNI, Layout
from anytalk.pipelines.progress import Reporter
from anytalk.recipes.data import Encode, Loader, encoder, shard_paths
from anytalk.recipes.device import Device
from anytalk.recipes.train import StageTrainer
from anytalk.synth.device import torch_device
from anytalk.synth.threads import torch_threads

from .figures import Figures, best_rate, clock_of, compared, describe, figures, in_turns
from .train import SHAPE, START, TASK, open_rows, our_steps, random_model, stage, usual_precision

EPILOG = "Example:  anytalk bench load out/quickstart/dataset --device cpu"

WORKERS = 2  # threads of `Loader`

Features = list[list[tuple[int, Tensor]]]


def bench(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder that anytalk build wrote.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each repeat of each way.")] = 5.0,
    positions: Annotated[int, typer.Option(min=64, help="Largest batch, padding included.")] = 8192,
    cores: Annotated[int, typer.Option(min=1, help="Threads of the model whose appetite is measured.")] = 1,
    device: Device = "auto",
    *,
    progress: Reporter,
    shape: Mapping[str, Any] = SHAPE,
    layout: Layout = MINI_OMNI,
) -> Figures:
    """Load a dataset's training split over and over.

    Returns:
        Figures with `training`, what training eats on the device.

    Raises:
        SetupError: the dataset is none, no row of it suits the task, or the device cannot be had.
    """
    on = torch_device(device)
    tokenizer, rows = open_rows(dataset, layout)
    loader = Loader(rows, {TASK: 1.0}, layout, seed=1, positions=positions, max_positions=min(positions, 2048))
    found = loader.found[TASK]
    with tempfile.TemporaryDirectory() as folder:
        size = max(1, round(positions / found.lengths.mean()))
        naive = naive_batches(dataset, encoder(tokenizer), layout, size, folder)
        try:
            values, naives = in_turns(partial(_rate, _ours(loader), seconds), partial(_rate, naive, seconds), progress)
        finally:
            loader.close()
        with torch_threads(cores):
            random_model(shape, layout, rows).save_pretrained(Path(folder, START))
            training = stage(Path(folder), rows, tokenizer, min(positions, 1024), on, usual_precision(on))
            eaten = _training_rate(training, cores)
    frames = rows.counts.features[found.rows].sum() / found.lengths.sum()
    bound = copy_rate() / (2 * 8 * layout.streams + 2 * (rows.encoding.feature_width or 0) * frames)
    return figures(
        "load",
        "positions a second that are no padding",
        compared(values, naives, bound),
        training=round(eaten, 1),
        training_ratio=round(median(values) / eaten, 2),
        rows=len(found.rows),
        workers=WORKERS,
    )


def _ours(loader: Loader) -> Iterator[int]:
    """Give the positions of step after step."""
    for step in loader.steps():
        yield sum(batch.positions for batch in step.batches)


def _rate(batches: Iterator[int], seconds: float) -> float:
    """Positions a second, after a batch to warm up."""
    next(batches)
    positions, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        positions += next(batches)
    return positions / passed


def _training_rate(training: StageTrainer, cores: int) -> float:
    """Positions a second of the trainer, in the second step of two."""
    clock = clock_of(cores, training.group.device)
    with training:
        steps = our_steps(training)
        next(steps)
        started = clock()
        positions, _ = next(steps)
        return positions / (clock() - started)


def copy_rate(size: int = 1 << 26) -> float:
    """Measure the bytes that one core copies in a second."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    return best_rate(size, lambda: np.copyto(target, source))


# The naive way


def naive_batches(dataset: str, encode: Encode, layout: Layout, size: int, cache: str) -> Iterator[int]:
    """Load with `datasets`, and give the positions of batch after batch."""
    import datasets  # takes seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of `datasets` and what it imports
        datasets.disable_progress_bars()
        files = [str(path) for path in shard_paths(dataset, "train")]
        rows = datasets.load_dataset("arrow", data_files=files, split="train", cache_dir=cache)
        rows = rows.select_columns(["question_features", "answer_codes", "answer"])
        rows = rows.map(
            lambda batch: {"tokens": [list(ids) for ids in encode(batch["answer"])]},
            batched=True,
            remove_columns=["answer"],
        ).with_format("torch")
    source = DataLoader(
        rows,
        size,
        shuffle=True,
        num_workers=WORKERS,
        collate_fn=PaddingCollate(layout),
        generator=torch.Generator().manual_seed(0),
        persistent_workers=True,
    )
    for _streams, _labels, _features, lengths in itertools.chain.from_iterable(itertools.repeat(source)):
        yield sum(lengths)


class PaddingCollate:
    """Lay spoken questions with spoken answers out and pad them: `collate` for one task, with nothing but tensors."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.padding_K = torch.tensor(layout.padding)
        self.base_L = self.padding_K[:-1] - layout.pad_a

    def __call__(self, rows: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor, Features, list[int]]:
        """Give streams and labels (B, K, T), features with their starts, and lengths."""
        lengths = [self._length(row) for row in rows]
        streams_BKT = self.padding_K[:, None].repeat(len(rows), 1, max(lengths))
        labels_BKT = torch.full_like(streams_BKT, IGNORE)
        features: Features = []
        for b, row in enumerate(rows):
            self._write(streams_BKT[b], labels_BKT[b], lengths[b], row)
            features.append([(1, row["question_features"].half())])
        return streams_BKT, labels_BKT, features, lengths

    def _length(self, row: Mapping[str, Tensor]) -> int:
        spoken = len(row["answer_codes"]) + self.layout.layers + 1
        return len(row["question_features"]) + 2 + max(spoken, len(row["tokens"]) + 1)

    def _write(self, streams_KT: Tensor, labels_KT: Tensor, length: int, row: Mapping[str, Tensor]) -> None:
        layout, heard, tokens = self.layout, len(row["question_features"]), row["tokens"].long()
        codes_LN = row["answer_codes"].long().T
        L, N = codes_LN.shape
        streams_KT[:-1, 0], streams_KT[-1, 0] = self.base_L + layout.input_a, layout.input_t
        streams_KT[:-1, heard + 1], streams_KT[-1, heard + 1] = self.base_L + layout.eoa, layout.eot
        streams_KT[:-1, heard + 2], streams_KT[-1, heard + 2] = self.base_L + layout.answer_a, layout.answer_t
        spoken_LW = torch.full((L, N + L + 1), layout.pad_a)
        for layer in range(L):
            spoken_LW[layer, layer + 1 : layer + 1 + N] = codes_LN[layer]
            spoken_LW[layer, layer + 1 + N] = layout.eoa
        written = torch.cat((tokens, tokens.new_tensor([layout.eot])))
        first = heard + 3
        labels_KT[:-1, first - 1 : first + N + L] = spoken_LW
        labels_KT[-1, first - 1 : first - 1 + len(written)] = written
        end = min(length, first + N + L + 1)
        streams_KT[:-1, first:end] = (spoken_LW + self.base_L[:, None])[:, : end - first]
        end = min(length, first + len(written))
        streams_KT[-1, first:end] = written[: end - first]


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    return describe(
        found,
        "copying the batches on one core",
        f"training eats {found['training']:,.0f}: loading is {found['training_ratio']} times as fast",
        f"{found['rows']} rows, {found['workers']} workers",
    )
