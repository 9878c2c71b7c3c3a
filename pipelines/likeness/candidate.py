"""Pairs of documents that share a bucket: in this process, or on Ray Data for more of them than fit into memory.

Both ways give the same pairs in the same order. In a bucket each document is paired with those before it, at most the
first `HEADS`: a bucket that half the set falls into, which is one of copies, costs no square of its size.
"""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from .minhash import Bands, buckets
from .ray_data import ray_data
from .spool import BATCH_DOCUMENTS, Spool

HEADS = 16
DOCUMENTS = 2**31
"""More than there ever are; a pair is one number to this base."""
PART_ROWS = 2**20
"""Entries of buckets that one worker sorts at once on Ray, about."""


def pairs_here(spool: Spool, width: int, bands: Bands) -> Iterator[tuple[int, int]]:
    """Pair documents in this process; 8 bytes a document and band are in memory at once.

    Args:
        spool: the documents.
        width: words of a shingle.
        bands: how signatures are cut.

    Yields:
        Place of a document and of an earlier one, in order of the first and then of the second, each pair once.
    """
    if not spool.batches:
        return
    parts = [buckets(spool.texts(number), width, bands) for number in range(spool.batches)]
    places = np.concatenate([places + number * BATCH_DOCUMENTS for number, (places, _) in enumerate(parts)])
    found_DB = np.concatenate([found for _, found in parts])
    parts.clear()
    pairs = np.empty(0, np.int64)
    for band in range(bands.count):
        # Bands find the same pairs again and again, so that what is kept grows slowly.
        pairs = np.union1d(pairs, paired(found_DB[:, band], places))
    yield from (divmod(pair, DOCUMENTS) for pair in pairs.tolist())


def pairs_on_ray(spool: Spool, width: int, bands: Bands) -> Iterator[tuple[int, int]]:
    """Pair documents on Ray Data, which lays on disk what does not fit into memory; see `pairs_here`."""
    parts = max(1, len(spool) * bands.count // PART_ROWS)
    with ray_data() as ray:
        blocks = [ray.put(_block(spool, number)) for number in range(spool.batches)]
        if not blocks:
            return
        entries = ray.data.from_arrow_refs(blocks).map_batches(
            functools.partial(_entries, width=width, bands=bands, parts=parts),
            batch_format="pyarrow",
            batch_size=None,
        )
        # Without a number of its own it would be 200, however few rows there are.
        groups = entries.groupby("part", num_partitions=parts)
        pairs = groups.map_groups(_pairs_of_part, batch_format="pyarrow").sort("pair")
        last = -1
        for batch in pairs.iter_batches(batch_format="pyarrow", batch_size=PART_ROWS):
            for pair in batch["pair"].to_pylist() if batch.num_rows else ():
                if pair != last:
                    yield divmod(pair, DOCUMENTS)
                last = pair


def paired(bucket_E: np.ndarray, place_E: np.ndarray) -> np.ndarray:
    """Pair the documents of each bucket.

    Args:
        bucket_E: bucket of each entry, (E,).
        place_E: document of each entry, (E,).

    Returns:
        (pairs,): a document times `DOCUMENTS`, plus an earlier one, int64; several buckets may give the same.
    """
    order = np.lexsort((place_E, bucket_E))
    bucket_E, place_E = bucket_E[order], place_E[order].astype(np.int64)
    entry_E = np.arange(len(bucket_E))
    is_first = np.ones(len(bucket_E), bool)
    is_first[1:] = bucket_E[1:] != bucket_E[:-1]
    start_E = np.maximum.accumulate(np.where(is_first, entry_E, 0))
    found = [np.empty(0, np.int64)]
    for head in range(HEADS):
        later = np.flatnonzero(entry_E - start_E > head)
        if not len(later):
            break
        found.append(place_E[later] * DOCUMENTS + place_E[start_E[later] + head])
    return np.concatenate(found)


def _block(spool: Spool, batch: int) -> pa.Table:
    texts, first = spool.texts(batch), batch * BATCH_DOCUMENTS
    places = pa.array(range(first, first + len(texts)), pa.int64())
    return pa.table({"place": places, "texts": pa.array(texts, pa.list_(pa.string()))})


def _entries(block: pa.Table, width: int, bands: Bands, parts: int) -> pa.Table:
    """One row for each document and band of a block."""
    places, found_DB = buckets(block["texts"].to_pylist(), width, bands)
    bucket = found_DB.reshape(-1)
    columns: dict[str, Any] = {"part": (bucket % np.uint64(parts)).astype(np.int64), "bucket": bucket}
    return pa.table(columns | {"place": np.repeat(block["place"].to_numpy()[places], bands.count)})


def _pairs_of_part(entries: pa.Table) -> pa.Table:
    bucket, place = (entries[name].to_numpy() for name in ("bucket", "place"))
    return pa.table({"pair": np.unique(paired(bucket, place))})
