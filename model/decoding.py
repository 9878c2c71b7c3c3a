"""Answering: one loop for every task, for one request or many, whether they begin together or come and go.

Requests join and leave a batch between its steps, and each gets the answer it gets alone. A request's prompt is read
alone when it joins, all but the last column, and only once for its two rows, which differ in that column; from then on
its rows take part in the steps of all. What a row has read can be kept, and is not read again by a request that begins
with the same columns: the next turn of a conversation.

Shapes: B = rows, K = streams, T = positions.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batch import Batch, End, Request, Row, Step, asking_for_text, placed
from .cache import RowMemory
from .layout import Layout
from .network import MiniOmni
from .sampling import GREEDY, Sampling
from .stepping import Stepper

T = TypeVar("T")
Column = tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    text: list[int]
    codes: NDArray[np.uint16]
    """(frames, layers), as a codec takes them."""
    end: End
    steps: int


def generate(
    model: MiniOmni,
    requests: Sequence[Request],
    *,
    text: Sampling = GREEDY,
    audio: Sampling = GREEDY,
    parallel: bool = False,
    max_positions: int = 2048,
) -> list[Answer]:
    """Answer requests in one batch; see `decode` for the arguments."""
    decoding = ContinuousDecoding(model, text=text, audio=audio, max_positions=max_positions)
    return decoding.answer_all(requests, parallel=parallel)


def decode(
    model: MiniOmni,
    requests: Sequence[Request],
    *,
    text: Sampling = GREEDY,
    audio: Sampling = GREEDY,
    parallel: bool = False,
    max_positions: int = 2048,
    fixed: bool | None = None,
) -> Iterator[Step]:
    """Answer requests in one batch, and give each step of each request as it comes.

    Step 0 comes out of the prompts' last column. Layer i speaks its frame n at step n + i + 1, so the first
    frame is complete after the prompts and as many steps as there are layers. Who asks again keeps a
    `ContinuousDecoding`, whose memory and CUDA graphs then serve again.

    Args:
        model: in eval mode.
        requests: any mixture of tasks and lengths; every answer is the one it would have alone.
        text: how text is chosen.
        audio: how codes are chosen.
        parallel: give tasks that write and speak a second row for the text.
        max_positions: prompt and answer together, for each request.
        fixed: see `Stepper`.

    Raises:
        ValueError: if a prompt leaves no position for an answer, or its features do not fit it.
    """
    decoding = ContinuousDecoding(model, text=text, audio=audio, max_positions=max_positions, fixed=fixed)
    yield from decoding.run(requests, parallel=parallel)


@dataclass(frozen=True, eq=False)
class Prefix:
    """What a request's row has read, to begin another request with."""

    columns: list[Column]
    """Shifted ids of every stream."""
    features: list[Tensor]
    """Of the spoken questions in it, in order; a request begins with it only where it holds these very tensors."""
    memory: RowMemory


class ContinuousDecoding:
    """A batch that requests join and leave. Memory, and a GPU's graphs, stay for those that come later.

    Args:
        model: in eval mode.
        text: how text is chosen.
        audio: how codes are chosen.
        max_positions: prompt and answer together, for each request.
        fixed: see `Stepper`.

    Raises:
        ValueError: the backbone has blocks that see neither all positions nor a window of them.
    """

    def __init__(
        self,
        model: MiniOmni,
        *,
        text: Sampling = GREEDY,
        audio: Sampling = GREEDY,
        max_positions: int = 2048,
        fixed: bool | None = None,
    ) -> None:
        self._model, self._batch = model, Batch(model, text, audio, max_positions)
        self._cache = model.new_rows_cache(max_positions)
        self._step = Stepper(self._batch, self._cache, fixed)
        self._read: dict[int, list[Column]] = {}
        self._features: dict[int, list[Tensor]] = {}
        self._next: list[list[int]] = []
        """The column that each row reads next."""
        self._numbers = 0

    def __len__(self) -> int:
        """Requests that are in the batch."""
        return len(self._read)

    @property
    def layout(self) -> Layout:
        """The model's."""
        return self._model.layout

    @torch.inference_mode()
    def join(self, request: Request, *, parallel: bool = False, prefix: Prefix | None = None) -> int:
        """Read a request's prompt; it takes part from the next step on.

        Args:
            request: what is asked.
            parallel: give it a second row for the text, if it writes and speaks.
            prefix: what a request before has read; as much of it as fits is not read again.

        Returns:
            The request's number, which its steps bear.

        Raises:
            ValueError: the prompt leaves no position for an answer, or its features do not fit it.
        """
        number = self._numbers
        prompt = self._batch.begin(number, request, parallel)
        try:
            features = placed(request, prompt.feature_starts, self._model.config.stack)
            columns = list(zip(*prompt.streams, strict=True))
            kept = _in_common(prefix, columns, features) if prefix else 0
            row = self._cache.add(prefix.memory if prefix and kept else None, kept)
            try:
                self._read_prompt(row, prompt.streams, features, kept, audio=request.turns[-1].task.speaks)
            except BaseException:
                self._cache.remove(row)
                raise
        except BaseException:
            self._batch.forget(number)
            raise
        self._numbers += 1
        self._add_row(Row(number, False), [stream[-1] for stream in prompt.streams])
        if self._batch.two_rows[number]:
            second = self._cache.add(self._cache.memory_of(row, copied=False), self._cache.filled[row])
            assert second == len(self._batch.rows)
            last = [[stream[-1]] for stream in prompt.streams]
            self._add_row(Row(number, True), [x for (x,) in asking_for_text(self._model.layout, last)])
        self._read[number], self._features[number] = columns[:-1], [*request.features]
        return number

    def _add_row(self, row: Row, column: list[int]) -> None:
        self._batch.rows.append(row)
        self._next.append(column)

    def _read_prompt(
        self,
        row: int,
        streams: Sequence[list[int]],
        features: list[tuple[int, Tensor]],
        start: int,
        *,
        audio: bool,
    ) -> None:
        """Read a prompt from `start` on, without its last column."""
        part = torch.tensor([stream[start:-1] for stream in streams], device=self._batch.device)
        if not part.shape[1]:
            return
        self._cache.read_alone(row, part.shape[1])
        self._model.hidden(
            part[None],
            [[(at - start, features_NF) for at, features_NF in features if at >= start]],
            position_ids_BT=torch.arange(start, start + part.shape[1], device=self._batch.device)[None],
            cache=self._cache,
            audio=audio,
        )

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """Let every request say its next column; one whose step has an end is then to `leave`."""
        batch = self._batch
        chosen_BK = self._step(self._next)
        for row, column in zip(batch.rows, self._next, strict=True):
            if not row.text_only:
                self._read[row.request].append(tuple(column))
        steps = batch.say(chosen_BK)
        for place in reversed(range(len(batch.rows))):
            row = batch.rows[place]
            if row.text_only and not batch.is_needed(row):
                self._remove_row(place)
        self._next = [batch.last_column(row) for row in batch.rows]
        return steps

    def run(self, requests: Sequence[Request], *, parallel: bool = False) -> Generator[Step, None, None]:
        """Answer requests together, and give each step as it comes, numbered by the requests' places.

        Nobody else may be in the batch, or join it before the last step.

        Raises:
            ValueError: see `join`.
        """
        if len(self):
            raise ValueError(f"{len(self)} requests are being answered: let them end, or take another batch")
        running: dict[int, int] = {}
        try:
            for place, request in enumerate(requests):
                running[self.join(request, parallel=parallel)] = place
            while running:
                for step in self.step():
                    place = running[step.request]
                    if step.end is not None:
                        self.leave(step.request)
                        del running[step.request]
                    yield replace(step, request=place)
        finally:
            for number in running:
                self.leave(number)

    def answer_all(self, requests: Sequence[Request], *, parallel: bool = False) -> list[Answer]:
        """Give whole answers; see `run`."""
        steps: list[list[Step]] = [[] for _ in requests]
        for step in self.run(requests, parallel=parallel):
            steps[step.request].append(step)
        return [_collected(self._model.layout, answer) for answer in steps]

    @torch.inference_mode()
    def leave(self, number: int, *, keep: bool = False) -> Prefix | None:
        """Take a request out of the batch, at its end or before.

        Args:
            number: what `join` gave.
            keep: give what it has read, to begin another request with.
        """
        prefix = None
        for place in reversed(range(len(self._batch.rows))):
            row = self._batch.rows[place]
            if row.request == number:
                if keep and not row.text_only and self._is_whole(number):
                    prefix = Prefix(self._read[number], self._features[number], self._cache.memory_of(place))
                self._remove_row(place)
        self._batch.forget(number)
        del self._read[number], self._features[number]
        return prefix

    def _is_whole(self, number: int) -> bool:
        """Tell whether every block has read a request's columns: the TTS adapter runs only for those that speak."""
        return self._model.tts_adapter is None or self._batch.progress[number].task.speaks

    def _remove_row(self, place: int) -> None:
        self._cache.remove(place)
        _take_out(self._batch.rows, place)
        _take_out(self._next, place)


def _collected(layout: Layout, steps: list[Step]) -> Answer:
    frames = [step.frame for step in steps if step.frame is not None]
    codes = np.array(frames, dtype=np.uint16).reshape(-1, layout.layers)
    end = steps[-1].end
    assert end is not None
    return Answer([step.text for step in steps if step.text is not None], codes, end, len(steps))


def _take_out(rows: list[T], place: int) -> None:
    """Remove an entry as the cache removes a row: the last one takes its place."""
    last = rows.pop()
    if place < len(rows):
        rows[place] = last


def _in_common(prefix: Prefix, columns: list[Column], features: list[tuple[int, Tensor]]) -> int:
    """Count the columns that need not be read again; at least the last one is left."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(prefix.columns, columns[:-1], strict=False))
    count = sum(1 for _ in same)
    # A spoken question looks like any other of its length: what was heard must be the same, too.
    for number, (at, heard) in enumerate(features):
        if number >= len(prefix.features) or prefix.features[number] is not heard:
            count = min(count, at)
    return count
