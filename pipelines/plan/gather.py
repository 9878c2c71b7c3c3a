"""Gather pairs into conversations on disk: of each only a few numbers stay in memory, some 100 bytes.

Pairs come in the order of their source and are written down as they come. Which conversation a pair belongs to, which
one repeats another and which split it is in is told by hashes; the texts are read again when the plan is written.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anytalk.pipelines.dataset import Mapped
from anytalk.pipelines.source import Pair

from .clean import FACTS, Cleaned, Kind, content_hash, reject
from .plan import PAIR_SCHEMA, pair_of

BLOCK_ROWS = 1024
"""Pairs that are read at once where all of them are gone through."""

Places = NDArray[np.int64]


class Spool:
    """Pairs on disk, any of which can be read again.

    Args:
        path: an Arrow file of pairs.
        sizes: rows of each of its batches.
    """

    def __init__(self, path: Path, sizes: Sequence[int]) -> None:
        self._mapped = Mapped(path)
        reader = pa.ipc.open_file(self._mapped.buffer)
        # A batch is a view of the mapped file, but takes longer to open than to read from.
        self._batch = functools.lru_cache(maxsize=256)(reader.get_batch)
        self._ends = np.cumsum(sizes)

    def read(self, places: Places) -> list[Pair]:
        """The pairs at some places, in that order."""
        found: dict[int, Pair] = {}
        batches = np.searchsorted(self._ends, places, side="right")
        for number in np.unique(batches):
            wanted = np.unique(places[batches == number])
            start = self._ends[number - 1] if number else 0
            batch = self._batch(int(number))
            rows = batch.take(pa.array(wanted - start)).to_pylist()
            self._mapped.looked_at(batch.nbytes)
            found |= zip(wanted.tolist(), map(pair_of, rows), strict=True)
        return [found[place] for place in places.tolist()]


class Conversations(Sequence[list[Pair]]):
    """Conversations of a spool, in the order of their source; turns in order.

    Args:
        spool: of the pairs.
        rows: place of each pair, conversation after conversation.
        sizes: how many pairs each conversation has.
        shares: place of each conversation among the splits.
        kinds: number of each row's kind.
        kind_names: the kinds, by number.
    """

    def __init__(
        self,
        spool: Spool,
        rows: Places,
        sizes: Places,
        shares: NDArray[np.float64],
        kinds: NDArray[np.int32],
        kind_names: Sequence[Kind],
    ) -> None:
        self.spool, self.rows, self.sizes, self.shares = spool, rows, sizes, shares
        self._kinds, self._kind_names = kinds, kind_names
        self._starts = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, place: int) -> list[Pair]: ...
    @overload
    def __getitem__(self, place: slice) -> list[list[Pair]]: ...
    def __getitem__(self, place: int | slice) -> list[Pair] | list[list[Pair]]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return self.spool.read(self.rows[self._starts[place] : self._starts[place + 1]])

    def __iter__(self) -> Iterator[list[Pair]]:
        first = 0
        while first < len(self):
            end = int(np.searchsorted(self._starts, self._starts[first] + BLOCK_ROWS, side="right")) - 1
            end = max(end, first + 1)
            pairs = iter(self.spool.read(self.rows[self._starts[first] : self._starts[end]]))
            for size in self.sizes[first:end].tolist():
                yield [next(pairs) for _ in range(size)]
            first = end

    def without(self, removed: Iterable[int]) -> "Conversations":
        """All but some."""
        stays = np.ones(len(self), bool)
        stays[list(removed)] = False
        rows = self.rows[np.repeat(stays, self.sizes)]
        return Conversations(self.spool, rows, self.sizes[stays], self.shares[stays], self._kinds, self._kind_names)

    def kinds(self, splits: Sequence[str]) -> Iterator[tuple[str, Kind, int, str]]:
        """Which kinds of pairs are in which split: split, kind, how many, and where the first one stands."""
        names = sorted(set(splits))
        numbers = np.fromiter(map(names.index, splits), np.int64, len(splits))
        codes = np.repeat(numbers, self.sizes) * len(self._kind_names) + self._kinds[self.rows]
        found, firsts, counts = np.unique(codes, return_index=True, return_counts=True)
        for one in np.argsort(firsts):
            split, kind = divmod(int(found[one]), len(self._kind_names))
            [pair] = self.spool.read(self.rows[firsts[one : one + 1]])
            yield names[split], self._kind_names[kind], int(counts[one]), pair.source


def gather(
    batches: Iterable[Cleaned], path: Path, *, drop_repeats: bool
) -> tuple[Conversations, Iterator[dict[str, Any]]]:
    """Write pairs down, and find their conversations.

    Args:
        batches: pairs in the order of their source; their rejects are the caller's.
        path: of the file that they are written to.
        drop_repeats: take out conversations that say the same as an earlier one.

    Returns:
        The conversations, and reject rows of repeats, which are made as they are asked for.
    """
    all_facts, sizes, kind_numbers = [np.empty(0, FACTS)], list[int](), list[NDArray[np.int32]]()
    kind_names: dict[Kind, int] = {}
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, PAIR_SCHEMA) as writer:
        for batch in batches:
            if not batch.kinds:
                continue
            writer.write_batch(batch.pairs)
            all_facts.append(batch.facts)
            sizes.append(len(batch.kinds))
            numbers = [kind_names.setdefault(kind, len(kind_names)) for kind in batch.kinds]
            kind_numbers.append(np.array(numbers, np.int32))
    spool, facts = Spool(path, sizes), np.concatenate(all_facts)
    all_facts.clear()
    of_pair = numbered(facts["conversation"])
    rows = np.lexsort((facts["turn"], of_pair))  # Of equals, the first that came is first.
    talks, turns = of_pair[rows], facts["turn"][rows]
    is_again = np.zeros(len(rows), bool)
    is_again[1:] = (talks[1:] == talks[:-1]) & (turns[1:] == turns[:-1])
    kept = rows[~is_again]
    counts = np.bincount(of_pair[kept])
    starts = np.cumsum(counts) - counts
    contents = _said(facts["content"][kept], starts, counts)
    likes = first_like(contents) if drop_repeats else np.arange(len(counts))
    is_repeat = likes != np.arange(len(counts))
    # Of each repeat: conversation, whether a whole one is, place of the row, and place of what it repeats.
    again = [talks[is_again], np.zeros(is_again.sum(), int), rows[is_again], kept[np.cumsum(~is_again)[is_again] - 1]]
    in_repeat = np.repeat(is_repeat, counts)
    owners = np.repeat(np.arange(len(counts)), counts)[in_repeat]
    whole = [owners, np.ones(len(owners), int), kept[in_repeat], kept[starts[likes[owners]]]]
    repeats = [np.concatenate(columns) for columns in zip(again, whole, strict=True)]
    kinds = np.concatenate(kind_numbers) if kind_numbers else np.zeros(0, np.int32)
    shares = facts["share"][kept[starts]]
    conversations = Conversations(spool, kept, counts, shares, kinds, list(kind_names))
    return conversations.without(np.flatnonzero(is_repeat)), _repeat_rejects(spool, *repeats)


def numbered(keys: NDArray[np.uint64]) -> Places:
    """Number of each key, in the order in which keys come first."""
    firsts = first_like(keys)
    order = np.cumsum(firsts == np.arange(len(keys))) - 1
    return order[firsts]


def first_like(keys: NDArray[np.uint64]) -> Places:
    """Place of the first key that is the same."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    in_order = keys[order]
    is_new = np.ones(len(keys), bool)
    is_new[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    firsts = np.empty(len(keys), np.int64)
    firsts[order] = order[is_new][np.cumsum(is_new) - 1]
    return firsts


def said(turns: Sequence[Pair]) -> NDArray[np.uint64]:
    """Hash of what is said in one conversation, turns in order."""
    contents = np.array([content_hash(pair) for pair in turns], np.uint64)
    return _said(contents, np.zeros(1, np.int64), np.array([len(turns)]))[0]


def _said(contents: NDArray[np.uint64], starts: Places, counts: Places) -> NDArray[np.uint64]:
    """Hash of what is said in each conversation: that of its turn, or of all hashes of its turns."""
    said = contents[starts]
    for place in np.flatnonzero(counts > 1).tolist():
        turns = contents[starts[place] : starts[place] + counts[place]]
        said[place] = np.frombuffer(hashlib.sha256(turns.tobytes()).digest()[:16], np.uint64)
    return said


def _repeat_rejects(
    spool: Spool, owners: Places, is_whole: Places, places: Places, like: Places
) -> Iterator[dict[str, Any]]:
    """Reject rows of turns that were there already, and of conversations that repeat others; one after the other.

    Of one conversation the turns come first, in the order of the source.
    """
    # Turns of a whole conversation are in order already.
    by_source = np.where(is_whole, np.arange(len(places)), places)
    order = np.lexsort((by_source, is_whole, owners))
    for start in range(0, len(order), BLOCK_ROWS):
        block = order[start : start + BLOCK_ROWS]
        pairs, others = spool.read(places[block]), spool.read(like[block])
        for pair, other, whole in zip(pairs, others, is_whole[block], strict=True):
            known = other.source
            detail = f"the same as {known}" if whole else f"turn {pair.turn} is at {known} already"
            yield reject(pair, "repeat", detail, pair.source)
