"""What the parts of a plan are dealt, where language models are asked while it is made.

Sources that ask nobody are read first, once, onto the disk. Of a language model it is known how many conversations it
is asked for, and each has its turn, whatever comes of it: so the order, and with it what is in which part, follows from
the recipe and what the other sources hold, and not from answers.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anytalk.pipelines.dataset import RowWriter, schema
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.pipelines.recipe import Llm, Mix, OneSource, Recipe, Recordings, sources_of
from anytalk.pipelines.source import (
    Attachments,
    BadPair,
    LlmClient,
    Pair,
    SourceRow,
    deal,
    llm_conversations,
    read_pairs,
)
from anytalk.synth.errors import EngineError

from .clean import name_hash, reject
from .gather import BLOCK_ROWS, Places, Spool, numbered
from .plan import PAIR_SCHEMA, name_of, pair_values

BATCH_ROWS = 512
_TURN = np.dtype([("source", "i2"), ("number", "i4")])


class Stock:
    """Conversations of all sources in the order of the plan, dealt by weight, and cut into parts.

    In memory are some 25 bytes a row. A conversation that several sources hold turns of is that of the first of them.

    Args:
        recipe: of the dataset.
        attachments: stores what rows hold inside a table.
        folder: for files of its own, as long as it is used.
        progress: who is told how far reading is.
        is_stopped: whether somebody has told to stop meanwhile.

    Attributes:
        parts: places of the conversations of each part, among all.
        digest: hash of all that was read.

    Raises:
        SetupError: a source is missing, or holds no such columns.
        EngineError: a remote one broke off, or reading was stopped.
    """

    def __init__(
        self,
        recipe: Recipe,
        attachments: Attachments,
        folder: Path,
        progress: Reporter,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        source = recipe.source
        self._is_stopped = is_stopped
        self._sources = sources_of(source)
        self._held = _Held(folder)
        counts = [self._count(one, source.limit, attachments, progress) for one in self._sources]
        attachments.close()
        self._held.close()
        self.digest = self._held.digest
        # Conversations of sources that are read stand one after another.
        held = [0 if isinstance(one, Llm) else n for one, n in zip(self._sources, counts, strict=True)]
        self._firsts = np.cumsum([0, *held])
        weights = [part.weight for part in source.parts] if isinstance(source, Mix) else [1.0]
        turns = deal([_turns(place, count) for place, count in enumerate(counts)], weights)
        self._turns = np.fromiter(itertools.islice(turns, source.limit), _TURN)
        count = len(self._turns)
        size = recipe.part or max(1, count)
        self.parts = [range(first, min(first + size, count)) for first in range(0, max(1, count), size)]

    def _count(self, source: OneSource, limit: int | None, attachments: Attachments, progress: Reporter) -> int:
        """How many conversations a source has; what asks nobody is written down."""
        if isinstance(source, Llm):
            return source.conversations
        limits = [one for one in (source.limit, limit) if one is not None]
        wanted = source.model_copy(update={"limit": min(limits, default=None)})
        rows = self._until_stopped(read_pairs(wanted, attachments, progress))
        # Who listens to recordings tells of that.
        tells = isinstance(source, Recordings) and source.transcribe
        return self._held.add(rows, Quiet() if tells else progress)

    def _until_stopped(self, rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
        for row in rows:
            if self._is_stopped():
                raise EngineError("reading the sources was stopped")
            yield row

    def rejects(self) -> Iterator[dict[str, Any]]:
        """Reject rows of what the sources hold that is no pair."""
        return self._held.rejects()

    def rows(self, number: int, llm_client: LlmClient) -> Iterator[SourceRow]:
        """Ask for and read the conversations of a part.

        Raises:
            SetupError: a language model cannot be asked.
        """
        own = self.parts[number]
        turns = self._turns[own.start : own.stop]
        found: dict[int, Iterator[list[SourceRow]]] = {}
        for place, source in enumerate(self._sources):
            numbers = turns["number"][turns["source"] == place].astype(np.int64)
            if isinstance(source, Llm) and len(numbers):
                llm_client.begin("asking", len(numbers))
                asked = range(int(numbers[0]), int(numbers[-1]) + 1)
                found[place] = iter(llm_conversations(source, llm_client, asked))
            else:
                found[place] = self._held.conversations(numbers + self._firsts[place])
        for place in turns["source"].tolist():
            yield from next(found[place])


def _turns(source: int, count: int) -> Iterator[list[tuple[int, int]]]:
    """One turn of a source for each of its conversations."""
    return ([(source, number)] for number in range(count))


class _Held:
    """Conversations on disk, in the order in which they come; their turns as they come."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "stock.arrow"
        self._file = pa.OSFile(str(self._path), "wb")
        self._writer = pa.ipc.new_file(self._file, PAIR_SCHEMA)
        self._bad = RowWriter(folder / "bad.arrow", schema.reject_schema({}), BATCH_ROWS)
        self._hash = hashlib.sha256()
        self._names: list[NDArray[np.uint64]] = [np.empty((0, 2), np.uint64)]
        self._known = 0

    @property
    def digest(self) -> str:
        """Hash of all pairs."""
        return self._hash.hexdigest()

    def add(self, rows: Iterator[SourceRow], progress: Reporter) -> int:
        """Write rows of a source down; how many conversations there are more."""
        pairs = self._pairs(rows)
        done = sum(map(len, self._names))
        while batch := list(itertools.islice(pairs, BATCH_ROWS)):
            [columns] = schema.table([*map(pair_values, batch)], PAIR_SCHEMA).combine_chunks().to_batches()
            self._writer.write_batch(columns)
            self._names.append(np.array([*map(name_hash, batch)], np.uint64))
            for pair in batch:
                self._hash.update(name_of(pair, 0).encode())
            done += len(batch)
            progress.phase("reading rows", done)
        before, self._known = self._known, len(np.unique(np.concatenate(self._names), axis=0))
        return self._known - before

    def _pairs(self, rows: Iterator[SourceRow]) -> Iterator[Pair]:
        for row in rows:
            if isinstance(row, BadPair):
                self._bad.extend([reject(row.pair, row.reason, row.detail, row.source)])
            elif isinstance(row, Pair):
                yield row

    def close(self) -> None:
        """Let what was written be read."""
        self._writer.close()
        self._file.close()
        self._bad.__exit__(None, None, None)
        self._spool = Spool(self._path, [*map(len, self._names[1:])])
        of_pair = numbered(np.concatenate(self._names))
        self._names = []
        self._rows = np.argsort(of_pair, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(of_pair, minlength=self._known))])

    def rejects(self) -> Iterator[dict[str, Any]]:
        with pa.memory_map(str(self._bad.path)) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                yield from reader.get_batch(number).to_pylist()

    def conversations(self, numbers: Places) -> Iterator[list[SourceRow]]:
        """Pairs of some conversations, some hundred of which are read at once."""
        for first in range(0, len(numbers), BLOCK_ROWS):
            block = numbers[first : first + BLOCK_ROWS]
            sizes = self._starts[block + 1] - self._starts[block]
            spans = [self._rows[self._starts[one] : self._starts[one + 1]] for one in block.tolist()]
            pairs = iter(self._spool.read(np.concatenate(spans)))
            for size in sizes.tolist():
                yield [*itertools.islice(pairs, size)]
