"""From rows to training samples: which rows suit a task, how long its samples are, and the batch that they make.

A sample is a view of a row, or of a row and the turns before it; nothing is stored a second time. What a sequence looks
like is said in `anytalk.model.layout`. Lists of ids are too slow to feed a trainer, and hold Python's lock while two
threads load, so the same sequences are written here into arrays, and a test holds them equal for every task.

Shapes: B = batch, K = streams, L = codec layers, T = positions, W = columns of a spoken answer, F = feature width,
R = rows of a dataset.
"""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anytalk.model import IGNORE, Layout, Task, Turn, adapter_positions

NEEDS = {
    Task.A1A2: ("features", "answer", "codes"),
    Task.A1T2: ("features", "answer"),
    Task.A1T1: ("features", "question"),
    Task.T1A2: ("question", "answer", "codes"),
    Task.T1T2: ("question", "answer"),
    Task.T1A1: ("answer", "codes"),
}
"""What a row must have to be a sample of a task. Text to speech speaks the answer: only answers have codes."""

WITHOUT_CONTEXT = frozenset({Task.A1T1, Task.T1A1})
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
    question: NDArray[np.int32]
    answer: NDArray[np.int32]
    features: NDArray[np.float16] | None
    """(T, F); None where there are none."""
    codes: NDArray[np.uint16] | None
    """(frames, layers); None where there are none."""


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

    def pinned(self) -> "Batch":
        """Copy what a GPU reads into pinned memory; labels stay, as they are gathered on this side."""
        features = [[(start, x.pin_memory()) for start, x in entry] for entry in self.features]
        return dataclasses.replace(self, streams=self.streams.pin_memory(), features=features)


def suitable(task: Task, counts: Counts) -> NDArray[np.bool_]:
    """Say which rows have what a task needs."""
    return np.logical_and.reduce([getattr(counts, column) > 0 for column in NEEDS[task]])


def prompt_lengths(
    task: Task, counts: Counts, stack: int, layout: Layout, *, is_first: bool = True
) -> NDArray[np.int64]:
    """Give `Layout.prompt_length` for every row."""
    around = layout.around(task, is_first=is_first)
    if task.hears:
        return -(-counts.features // stack) + around
    return (counts.answer if task is Task.T1A1 else counts.question) + around


def answer_lengths(task: Task, counts: Counts, layout: Layout) -> NDArray[np.int64]:
    """Give `Layout.answer_length` for every row."""
    text = (counts.question if task is Task.A1T1 else counts.answer) + 1
    return np.maximum(text, counts.codes + layout.layers + 1) if task.speaks else text


def turn(task: Task, row: Row, stack: int) -> Turn:
    """View a row as one turn of a task, for `Layout`; the row must be suitable."""
    positions = adapter_positions(len(row.features), stack) if task.hears and row.features is not None else 0
    codes = row.codes.tolist() if task.speaks and row.codes is not None else ()
    return Turn(task, positions, _asked(task, row).tolist(), _answered(task, row).tolist(), codes)


def _asked(task: Task, row: Row) -> NDArray[np.int32]:
    """The question's text as far as a task reads it."""
    return row.question[:0] if task.hears else row.answer if task is Task.T1A1 else row.question


def _answered(task: Task, row: Row) -> NDArray[np.int32]:
    """The answer's text."""
    return row.question if task is Task.A1T1 else row.answer


# Batches


def collate(samples: Sequence[tuple[Task, Sequence[Row]]], layout: Layout, stack: int) -> Batch:
    """Lay samples out and pad them to one length.

    Args:
        samples: for each, its task and its rows, the earlier turns first; all suitable, and their text below
            `layout.text_size`.
        layout: the ids.
        stack: Whisper frames in one position.
    """
    spans = [[_span(task, row, layout, stack, n == 0) for n, row in enumerate(rows)] for task, rows in samples]
    # The last column of the last answer is a label alone.
    lengths = [sum(prompt + answer for prompt, answer in each) - 1 for each in spans]
    B, K, T = len(samples), layout.streams, max(lengths)
    streams_BKT = np.empty((B, K, T), np.int64)
    streams_BKT[:] = np.array(layout.padding)[:, None]
    labels_BKT = np.full((B, K, T), IGNORE, np.int64)
    features: list[list[tuple[int, Tensor]]] = []
    for b, (task, rows) in enumerate(samples):
        at = 0
        starts = []
        for n, (row, (prompt, answer)) in enumerate(zip(rows, spans[b], strict=True)):
            starts.append(at + layout.question_at(is_first=n == 0))
            _write_prompt(streams_BKT[b, :, at : at + prompt], task, row, layout, n == 0)
            at += prompt
            spoken_LW = _spoken(row.codes, layout) if task.speaks and row.codes is not None else None
            _write_answer(streams_BKT[b, :, at : min(at + answer, lengths[b])], task, row, spoken_LW, layout)
            at += answer
        _write_labels(labels_BKT[b, :, at - answer - 1 : lengths[b]], task, rows[-1], spoken_LW, layout)
        # A copy: torch wants writable memory, and the row's is a file's.
        frames = [torch.from_numpy(np.array(row.features)) for row in rows] if task.hears else []
        features.append(list(zip(starts, frames, strict=True)) if task.hears else [])
    names = [(task.value, rows[-1].id) for task, rows in samples]
    return Batch(torch.from_numpy(streams_BKT), torch.from_numpy(labels_BKT), features, names, lengths)


def _span(task: Task, row: Row, layout: Layout, stack: int, is_first: bool) -> tuple[int, int]:
    """Give `Layout.prompt_length` and `Layout.answer_length`."""
    heard = row.features is not None and task.hears
    asked = adapter_positions(len(row.features), stack) if heard else len(_asked(task, row))  # type: ignore[arg-type]
    spoken = len(row.codes) + layout.layers + 1 if task.speaks and row.codes is not None else 0
    return asked + layout.around(task, is_first=is_first), max(len(_answered(task, row)) + 1, spoken)


def _write_prompt(streams_KT: NDArray[np.int64], task: Task, row: Row, layout: Layout, is_first: bool) -> None:
    """Write `Layout.prompt` over padding."""
    audio_LT, text_T = streams_KT[:-1], streams_KT[-1]
    audio_L = _audio_base(layout)
    start = layout.question_at(is_first=is_first)
    end = start + text_T.size - layout.around(task, is_first=is_first)
    if layout.chat is not None:
        before = layout.chat.before(is_first)
        text_T[: len(before)] = before
    if layout.chat is not None and layout.chat.is_template:
        text_T[end : end + len(layout.chat.closing)] = layout.chat.closing
        if task is Task.A1T1:
            text_T[-1] = layout.asr
    else:
        text_T[start - 1], text_T[-2] = layout.input_t, layout.eot
        text_T[-1] = layout.asr if task is Task.A1T1 else layout.answer_t
    if task.hears:
        audio_LT[:, start - 1], audio_LT[:, end] = audio_L + layout.input_a, audio_L + layout.eoa
    else:
        text_T[start:end] = _asked(task, row)
    if task.speaks:
        audio_LT[:, -1] = audio_L + layout.answer_a


def _write_answer(
    streams_KT: NDArray[np.int64], task: Task, row: Row, spoken_LW: NDArray[np.int64] | None, layout: Layout
) -> None:
    """Write `Layout.answer`, or its first columns, over padding."""
    _write_text(streams_KT[-1], _answered(task, row), layout)
    if spoken_LW is not None:
        columns = min(spoken_LW.shape[1], streams_KT.shape[1])
        streams_KT[:-1, :columns] = spoken_LW[:, :columns] + _audio_base(layout)[:, None]


def _write_labels(
    labels_KT: NDArray[np.int64], task: Task, row: Row, spoken_LW: NDArray[np.int64] | None, layout: Layout
) -> None:
    """Write `Layout.answer_labels` over `IGNORE`."""
    if task.writes:
        _write_text(labels_KT[-1], _answered(task, row), layout)
    if spoken_LW is not None:
        labels_KT[:-1, : spoken_LW.shape[1]] = spoken_LW


def _write_text(text_T: NDArray[np.int64], tokens: NDArray[np.int32], layout: Layout) -> None:
    text_T[: len(tokens)] = tokens[: len(text_T)]
    text_T[len(tokens) : len(tokens) + 1] = layout.end


def _spoken(codes: NDArray[np.uint16], layout: Layout) -> NDArray[np.int64]:
    """Give `Layout.delay`: one step of delay more for each layer."""
    frames, L = codes.shape
    W = frames + L + 1
    flat = np.full(L * (W + 1) + 1, layout.pad_a, np.int64)
    # Rows that are one longer: in the same memory, each starts a column further right.
    skewed = flat[1:].reshape(L, W + 1)
    skewed[:, :frames] = codes.T
    skewed[:, frames] = layout.eoa
    return flat[: L * W].reshape(L, W)


@lru_cache
def _audio_base(layout: Layout) -> NDArray[np.int64]:
    """The id of each layer's local id 0."""
    return layout.text_vocabulary + layout.audio_vocabulary * np.arange(layout.layers)
