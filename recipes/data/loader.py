"""The order of samples and the batches that they make: a pure function of the seed, however many workers there are.

Each task walks through its rows in passes, each pass a new permutation; where the rows lie in more files than are kept
open, a pass goes through blocks of files, so that a window draws from few of them and opens each once. A *window* takes
so many samples of each task as the task's weight says, sorts them by length, cuts them into batches that hold at most
so many positions, and shuffles the batches. Windows and batches are numbered, so a place in the sequence is two
numbers; they are the whole state of a loader. A *step* is the next so many batches, and worker r of W takes every W-th
of them: the steps are the same for one worker and for many, and so is what was seen when a run goes on with another
number.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytalk.model import Layout, Task
from anytalk.synth.errors import SetupError
from anytalk.synth.seed import derive_seed, digest
from anytalk.synth.wording import quantity

from .rows import OPEN_SHARDS, Rows
from .sample import NEEDS, WITHOUT_CONTEXT, Batch, Sample, answer_lengths, collate, prompt_lengths, suitable

Place = tuple[int, int]
"""Window, and batch within it."""

Shares = Callable[[Task], Sequence[float]]
"""How often a row is drawn for a task, by the number of its dataset."""


COUNTED_WINDOWS = 16


def cut_batches(
    lengths_N: NDArray[np.int64], positions: int, rng: np.random.Generator, padding: float = 0.05
) -> list[NDArray[np.int64]]:
    """Group samples of like length, into batches as full as the padding allows.

    Args:
        lengths_N: positions of each sample, each at most `positions`.
        positions: a batch's samples times its longest must not exceed this.
        rng: orders samples of one length, and the batches.
        padding: largest share of all positions that may be padding. Where full batches would have more, as few or
            very different samples do, those that mix the most lengths are made smaller.

    Returns:
        Batches of indices; each index stands in exactly one.
    """
    order = np.lexsort((rng.permutation(len(lengths_N)), -lengths_N))
    falling = lengths_N[order]
    for share in (1.0, 0.5, 0.35, 0.25, 0.18, 0.13, 0.09, 0.07, padding):
        counts = _cut(falling, positions, share)
        padded = int(sum(falling[start] * count for start, count in counts))
        if 1.0 - falling.sum() / max(1, padded) <= padding:
            break
    return [order[start : start + count] for start, count in (counts[index] for index in rng.permutation(len(counts)))]


def _cut(falling_N: NDArray[np.int64], positions: int, share: float) -> list[tuple[int, int]]:
    """Cut falling lengths from the longest on: start and count of batches with at most a share of padding each."""
    counts, start = [], 0
    while start < len(falling_N):
        longest = int(falling_N[start])
        fitting = falling_N[start : start + positions // longest]
        means = fitting.cumsum() / np.arange(1, len(fitting) + 1)  # they fall as well
        counts.append((start, int((means >= (1.0 - share) * longest).sum())))
        start += counts[-1][1]
    return counts


def pass_order(file_N: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Give the order of samples in one pass: at random, where they lie in few files; else block after block of files.

    Args:
        file_N: number of the file that each lies in; below 0 for what lies in memory, which is spread over all blocks.
        most: files of a block.
        rng: draws the files of each block, and the order in it.
    """
    files, of_N = np.unique(file_N, return_inverse=True)
    blocks = -(-int((files >= 0).sum()) // most)
    shuffled = rng.permutation(len(file_N))
    if blocks <= 1:
        return shuffled
    kept = np.flatnonzero(files >= 0)
    block_F = np.zeros(len(files), np.int64)
    block_F[kept] = rng.permutation(len(kept)) // most
    block_N = np.where(file_N < 0, rng.integers(0, blocks, len(file_N)), block_F[of_N])
    return shuffled[np.argsort(block_N[shuffled], kind="stable")]


@dataclass(frozen=True)
class Candidates:
    """Rows that suit one task, with the length of the sample that each makes."""

    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]
    turns: NDArray[np.int64]
    """Earlier turns that fit in front of each."""
    unsuitable: int
    """Rows that lack what the task needs."""
    too_long: int
    """Suitable rows that exceed `max_positions`."""


def candidates(
    task: Task, rows: Rows, layout: Layout, stack: int, max_positions: int, context_turns: int = 0
) -> Candidates:
    """Find the samples of one task.

    Args:
        task: the task.
        rows: where to look.
        layout: the ids, whose delays decide lengths.
        stack: Whisper frames in one position.
        max_positions: longest sample.
        context_turns: most earlier turns of a conversation in front of a sample; what does not fit is left out, the
            earliest first.
    """
    fits = suitable(task, rows.counts)
    answers = answer_lengths(task, rows.counts, layout)
    lengths = prompt_lengths(task, rows.counts, stack, layout) + answers - 1
    # With turns before it a question is no longer the first one; the sum is the same, whichever is.
    more = prompt_lengths(task, rows.counts, stack, layout, is_first=False) + answers
    turns = np.zeros(len(rows), np.int64)
    earlier, growing = rows.previous_R, np.ones(len(rows), bool)
    for _ in range(0 if task in WITHOUT_CONTEXT else context_turns):
        longer = lengths + more[earlier]
        growing = growing & (earlier >= 0) & fits[earlier] & (longer <= max_positions)
        lengths, turns = np.where(growing, longer, lengths), turns + growing
        earlier = np.where(growing, rows.previous_R[earlier], -1)
    chosen = np.flatnonzero(fits & (lengths <= max_positions))
    return Candidates(chosen, lengths[chosen], turns[chosen], int((~fits).sum()), int(fits.sum()) - len(chosen))


@dataclass(frozen=True)
class Pool:
    """Samples of one task that are drawn equally often."""

    name: str
    """Seeds its order."""
    task: Task
    samples: Candidates
    share: float
    """Of all samples."""


def pools_of(
    found: Mapping[Task, Candidates], tasks: Mapping[Task, float], part_R: NDArray[np.int32], shares: Shares | None
) -> list[Pool]:
    """Divide the samples of tasks into those that are drawn equally often.

    Args:
        found: samples of each task.
        tasks: weight of each task.
        part_R: number of the dataset that each row is of.
        shares: how often a row of each dataset is drawn for a task; None for all alike. Samples of share 0 are in no
            pool.
    """
    pools = []
    for task, weight in tasks.items():
        own, rows = found[task], found[task].rows
        share_N = np.ones(len(rows)) if shares is None else np.asarray(shares(task), float)[part_R[rows]]
        # In the order of the datasets, so that the first pool is the only one where all are alike.
        levels = list(dict.fromkeys(share_N[share_N > 0].tolist()))
        for number, level in enumerate(levels):
            here = share_N == level
            some = Candidates(rows[here], own.lengths[here], own.turns[here], own.unsuitable, own.too_long)
            of_task = float(level * here.sum() / share_N.sum())
            name = f"{task.value}:{number}" if number else task.value
            pools.append(Pool(name, task, some, weight / sum(tasks.values()) * of_task))
    return pools


@dataclass(frozen=True)
class Step:
    """What one worker does in one step."""

    batches: list[Batch]
    """This worker's share."""
    samples: str
    """Hash of all workers' samples, in order: two runs with equal hashes saw the same."""


class Loader:
    """Batches of a mix of tasks.

    Args:
        rows: what samples are views of.
        tasks: weight of each task.
        layout: the ids.
        stack: Whisper frames in one position.
        seed: of the order.
        positions: largest batch, padding included.
        max_positions: longest sample.
        window: samples that are sorted together.
        padding: largest share of a window's positions that may be padding.
        context_turns: see `candidates`.
        batches_per_step: over all workers.
        rank: this worker.
        world_size: how many workers there are; `batches_per_step` must be a multiple.
        prefetch: steps loaded ahead.
        shares: see `pools_of`.
        pinned: load into memory that a GPU reads while it computes.

    Raises:
        SetupError: no row suits a task, a token is none of the layout's, or the batches of a step cannot be shared
            equally.
    """

    def __init__(
        self,
        rows: Rows,
        tasks: Mapping[Task, float],
        layout: Layout,
        *,
        stack: int = 1,
        seed: int,
        positions: int,
        max_positions: int = 2048,
        window: int = 4096,
        padding: float = 0.05,
        context_turns: int = 0,
        batches_per_step: int = 1,
        rank: int = 0,
        world_size: int = 1,
        prefetch: int = 2,
        shares: Shares | None = None,
        pinned: bool = False,
    ) -> None:
        if batches_per_step % world_size:
            raise SetupError(f"{world_size} workers cannot share loader.batches_per_step {batches_per_step} equally")
        self._rows, self._layout, self._stack = rows, layout, stack
        self._seed, self._positions, self._padding, self._pinned = seed, positions, padding, pinned
        self.found = {task: candidates(task, rows, layout, stack, max_positions, context_turns) for task in tasks}
        if rows.largest_token >= layout.text_size:
            raise SetupError(
                f"the tokenizer gave token {rows.largest_token}; the model's text vocabulary has {layout.text_size}"
            )
        for task, found in self.found.items():
            if not len(found.rows):
                raise SetupError(
                    f"no row suits task {task.value}: it needs {', '.join(NEEDS[task])}; of "
                    f"{quantity(len(rows), 'row')} {found.unsuitable} lack one and {found.too_long} are over "
                    f"{max_positions} positions"
                )
        self.pools = pools_of(self.found, tasks, rows.part_R, shares)
        if undrawn := {*tasks} - {pool.task for pool in self.pools}:
            raise SetupError(f"no dataset is drawn for task {', '.join(sorted(task.value for task in undrawn))}")
        self._window = min(window, self.epoch_samples)
        self._per_step, self._rank, self._world_size, self._prefetch = batches_per_step, rank, world_size, prefetch
        self.plan = lru_cache(4)(self._plan)
        self._permutation = lru_cache(2 * len(self.pools))(self._new_permutation)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="loader")
        self._ahead: deque[tuple[Place, str, list[Future[Batch]]]] = deque()
        self._place: Place = (0, 0)
        self._next: Place = (0, 0)

    @property
    def epoch_samples(self) -> int:
        """Samples of all tasks, each counted once."""
        return sum(len(pool.samples.rows) for pool in self.pools)

    def steps_in(self, epochs: float) -> int:
        """Give how many steps draw as many samples as so many epochs have; at least one.

        Counted over the first windows, which are like the others.
        """
        windows = max(1, min(COUNTED_WINDOWS, round(epochs * self.epoch_samples / self._window)))
        batches = sum(len(self._plan(window)) for window in range(windows)) / windows
        return max(1, round(epochs * self.epoch_samples / self._window * batches / self._per_step))

    # The order

    def _plan(self, window: int) -> list[list[Sample]]:
        """Give the batches of one window."""
        samples: list[Sample] = []
        lengths: list[NDArray[np.int64]] = []
        for index, pool in enumerate(self.pools):
            found = pool.samples
            start, end = (int(number * self._window * pool.share) for number in (window, window + 1))
            draws = np.arange(start, end)
            passes, within = np.divmod(draws, len(found.rows))
            chosen = np.zeros_like(draws)
            for number in np.unique(passes).tolist():
                here = passes == number
                chosen[here] = self._permutation(index, number)[within[here]]
            lengths.append(found.lengths[chosen])
            rows, turns = found.rows[chosen].tolist(), found.turns[chosen].tolist()
            samples += [Sample(pool.task, row, before) for row, before in zip(rows, turns, strict=True)]
        rng = np.random.default_rng([self._seed, derive_seed("window", window)])
        return [
            [samples[index] for index in batch.tolist()]
            for batch in cut_batches(np.concatenate(lengths), self._positions, rng, self._padding)
        ]

    def _new_permutation(self, index: int, number: int) -> NDArray[np.int64]:
        """Order a pool's samples for one pass."""
        pool = self.pools[index]
        rng = np.random.default_rng([self._seed, derive_seed("pass", pool.name, int(number))])
        # Half of what is kept open: a window may begin in one block and end in the next.
        most = max(1, OPEN_SHARDS // (2 * len(self.pools)))
        return pass_order(self._rows.shard_R[pool.samples.rows], most, rng)

    def _after(self, place: Place, count: int) -> tuple[list[list[Sample]], Place]:
        """Give the next so many batches from a place, and the place behind them."""
        window, start = place
        batches: list[list[Sample]] = []
        while True:
            taken = self.plan(window)[start : start + count - len(batches)]
            batches += taken
            if len(batches) == count:
                return batches, (window, start + len(taken))
            window, start = window + 1, 0

    # Batches

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Load and lay out samples."""
        batch = collate([(task, self._chain(row, turns)) for task, row, turns in samples], self._layout, self._stack)
        return batch.pinned() if self._pinned else batch

    def _chain(self, row: int, turns: int) -> list[Any]:
        numbers = [row]
        for _ in range(turns):
            numbers.append(int(self._rows.previous_R[numbers[-1]]))
        return [self._rows[number] for number in reversed(numbers)]

    def steps(self) -> Iterator[Step]:
        """Go on from here, for ever."""
        while True:
            yield self.take()

    def take(self) -> Step:
        """Give this worker's share of the next step."""
        while len(self._ahead) <= self._prefetch:
            batches, self._next = self._after(self._next, self._per_step)
            named = digest(*(f"{s.task.value}:{s.row}:{s.turns}" for samples in batches for s in samples))[:16]
            share = batches[self._rank :: self._world_size]
            self._ahead.append((self._next, named, [self._threads.submit(self.batch, samples) for samples in share]))
        behind, named, futures = self._ahead.popleft()
        step = Step([future.result() for future in futures], named)
        self._place = behind
        return step

    def row_ids(self, place: Mapping[str, Any]) -> list[list[str]]:
        """Name the rows of all workers' batches in the step that follows a state, for a report."""
        batches, _ = self._after((place["window"], place["batch"]), self._per_step)
        return [[f"{s.task.value} {self._rows.id(s.row)}" for s in samples] for samples in batches]

    # State

    def state_dict(self) -> dict[str, Any]:
        """Where the next step starts; what was only prefetched is not behind it."""
        return {"rows": self._rows.identity, "window": self._place[0], "batch": self._place[1]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place.

        Raises:
            SetupError: the place belongs to other rows.
        """
        if state["rows"] != self._rows.identity:
            raise SetupError("the datasets have changed since the checkpoint was written; start another run")
        self._ahead.clear()
        self._place = self._next = (int(state["window"]), int(state["batch"]))

    def close(self) -> None:
        """Stop loading ahead."""
        self._threads.shutdown(cancel_futures=True)
