"""From rows to training samples: which rows suit a task, how long its samples are, and the batch that they make.

A sample is a view of a row, or of a row and the turns before it; nothing is stored a second time. Ids, delays and
labels all come from `anytalk.model.layout`; the lengths here are its lengths, for all rows at once.

Shapes: B = batch, K = streams, T = positions, F = feature width, R = rows of a dataset.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anytalk.model.layout import IGNORE, Layout, Task, Turn, adapter_positions

NEEDS = {
    Task.A1A2: ("features", "answer", "codes"),
    Task.A1T2: ("features", "answer"),
    Task.A1T1: ("features", "question"),
    Task.T1A2: ("question", "answer", "codes"),
    Task.T1T2: ("question", "answer"),
    Task.T1A1: ("answer", "codes"),
}
"""What a row must have to be a sample of a task. Text to speech speaks the answer: only answers have codes."""

ALONE = frozenset({Task.A1T1, Task.T1A1})
"""Transcribing and reading aloud need no earlier turns."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """How much of everything each row has; 0 where it has none. All (R,) int64."""

    question: NDArray[np.int64]
    """Text tokens."""
    answer: NDArray[np.int64]
    """Text tokens."""
    features: NDArray[np.int64]
    """Whisper frames."""
    codes: NDArray[np.int64]
    """Codec frames."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What samples are made of."""

    id: str
    question: Sequence[int]
    answer: Sequence[int]
    features: NDArray[np.float16] | None
    """(T, F)."""
    codes: NDArray[np.uint16] | None
    """(frames, layers)."""


class Sample(NamedTuple):
    """A row as a sample of a task."""

    task: Task
    row: int
    """Row number."""
    turns: int
    """Earlier turns in front of it."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Samples side by side, padded on the right."""

    streams: Tensor
    """(B, K, T): shifted ids, int64."""
    labels: Tensor
    """(B, K, T): local ids, int64, `IGNORE` elsewhere."""
    features: list[list[tuple[int, Tensor]]]
    """For each sample, the start and the float16 frames of every recording in it."""
    samples: list[tuple[str, str]]
    """Task and row id of each sample."""
    lengths: list[int]
    """Positions of each sample."""

    @property
    def positions(self) -> int:
        """Positions that are no padding."""
        return sum(self.lengths)

    @property
    def padded_positions(self) -> int:
        """Positions that are computed."""
        B, _, T = self.streams.shape
        return B * T


def suitable(task: Task, counts: Counts) -> NDArray[np.bool_]:
    """Say which rows have what a task needs."""
    return np.logical_and.reduce([getattr(counts, column) > 0 for column in NEEDS[task]])


def prompt_lengths(task: Task, counts: Counts, stack: int) -> NDArray[np.int64]:
    """Give `Layout.prompt_length` for every row."""
    if task.hears:
        return -(-counts.features // stack) + 3
    return (counts.answer if task is Task.T1A1 else counts.question) + 3


def answer_lengths(task: Task, counts: Counts, layout: Layout) -> NDArray[np.int64]:
    """Give `Layout.answer_length` for every row."""
    text = (counts.question if task is Task.A1T1 else counts.answer) + 1
    return np.maximum(text, counts.codes + layout.layers + 1) if task.speaks else text


def turn(task: Task, row: Row, stack: int) -> Turn:
    """View a row as one turn of a task; the row must be suitable."""
    positions = adapter_positions(len(row.features), stack) if task.hears and row.features is not None else 0
    question = () if task.hears else row.answer if task is Task.T1A1 else row.question
    answer = row.question if task is Task.A1T1 else row.answer
    codes = row.codes.tolist() if task.speaks and row.codes is not None else ()
    return Turn(task, positions, question, answer, codes)


def collate(samples: Sequence[tuple[Task, Sequence[Row]]], layout: Layout, stack: int) -> Batch:
    """Lay samples out and pad them to one length.

    Args:
        samples: for each, its task and its rows, the earlier turns first.
        layout: the ids.
        stack: Whisper frames in one position.
    """
    examples = [layout.example([turn(task, row, stack) for row in rows]) for task, rows in samples]
    lengths = [len(example.streams[0]) for example in examples]
    B, K, T = len(examples), layout.streams, max(lengths)
    streams_BKT = np.empty((B, K, T), np.int64)
    streams_BKT[:] = np.array(layout.padding)[:, None]
    labels_BKT = np.full((B, K, T), IGNORE, np.int64)
    features: list[list[tuple[int, Tensor]]] = []
    for b, (example, (task, rows)) in enumerate(zip(examples, samples, strict=True)):
        streams_BKT[b, :, : lengths[b]] = example.streams
        labels_BKT[b, :, : lengths[b]] = example.labels
        # A copy: torch wants writable memory, and the row's is a file's.
        frames = [torch.from_numpy(np.array(row.features)) for row in rows] if task.hears else []
        features.append(list(zip(example.feature_starts, frames, strict=True)))
    names = [(task.value, rows[-1].id) for task, rows in samples]
    return Batch(torch.from_numpy(streams_BKT), torch.from_numpy(labels_BKT), features, names, lengths)
