"""Pairs of documents that share a bucket.

In a bucket each document is paired with those before it, at most the first `HEADS`: a bucket that half the set falls
into, which is one of copies, costs no square of its size.
"""

from collections.abc import Iterator

import numpy as np

from .known import Known
from .minhash import Bands, buckets
from .spool import BATCH_DOCUMENTS, Spool

HEADS = 16
DOCUMENTS = 2**31
"""More than there ever are; a pair is one number to this base."""


def candidate_pairs(spool: Spool, width: int, bands: Bands, known: Known | None = None) -> Iterator[tuple[int, int]]:
    """Pair documents; 8 bytes a document and band are in memory at once.

    Args:
        spool: the documents.
        width: words of a shingle.
        bands: how signatures are cut.
        known: documents before those, which are not paired with each other; their places come first.

    Yields:
        Place of a document and of an earlier one, in order of the first and then of the second, each pair once.
    """
    if not spool.batches:
        return
    first = len(known) if known is not None else 0
    parts = [buckets(spool.texts(number), width, bands) for number in range(spool.batches)]
    places = np.concatenate([places + first + number * BATCH_DOCUMENTS for number, (places, _) in enumerate(parts)])
    found_DB = np.concatenate([found for _, found in parts])
    parts.clear()
    pairs = np.empty(0, np.int64)
    for band in range(bands.count):
        bucket_E, place_E = found_DB[:, band], places
        if known is not None:
            buckets_before, places_before = known.sharing(band, bucket_E)
            bucket_E = np.concatenate([buckets_before, bucket_E])
            place_E = np.concatenate([places_before, place_E])
        found = paired(bucket_E, place_E)
        # Bands find the same pairs again and again, so that what is kept grows slowly.
        pairs = np.union1d(pairs, found[found >= first * DOCUMENTS])
    yield from (divmod(pair, DOCUMENTS) for pair in pairs.tolist())


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
