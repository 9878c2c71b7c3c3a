"""MinHash: from a set of shingles to buckets that two sets share the more likely, the more alike they are.

Source: Broder, On the resemblance and containment of documents, https://doi.org/10.1109/SEQUEN.1997.666900; bands from
Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4; the hash functions are multiply-shift,
Dietzfelbinger et al. (1997), https://doi.org/10.1006/jagm.1997.0873.

Shapes: D documents, G shingles of all of them, B bands.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from .gram import HashedTexts, mixed

PERMUTATIONS = 128
"""Hash functions at most; all bands use up to so many."""
LEAST_RECALL = 0.99
"""How likely a pair at the very threshold shares a bucket; above it, likelier."""


@dataclasses.dataclass(frozen=True)
class Bands:
    """How a signature is cut: two documents share a bucket where all rows of some band are equal."""

    count: int
    rows: int

    def recall(self, similarity: float) -> float:
        """How likely a pair of this similarity shares a bucket."""
        return float(1.0 - (1.0 - similarity**self.rows) ** self.count)


def bands_for(threshold: float) -> Bands:
    """The longest bands, which send the fewest unlike pairs to be compared, that keep `LEAST_RECALL`.

    >>> bands_for(0.8)
    Bands(count=21, rows=6)
    """
    choices = (Bands(PERMUTATIONS // rows, rows) for rows in range(PERMUTATIONS, 0, -1))
    # Of very low thresholds, bands of one row find what can be found.
    return next((bands for bands in choices if bands.recall(threshold) >= LEAST_RECALL), Bands(PERMUTATIONS, 1))


@functools.cache
def _functions(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and summands of so many hash functions."""
    numbers = mixed(np.arange(1, 2 * count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return numbers[:count] | np.uint64(1), numbers[count:]


def buckets(documents: Sequence[Sequence[str]], width: int, bands: Bands) -> tuple[np.ndarray, np.ndarray]:
    """Find the buckets of some documents.

    Args:
        documents: texts of each; the shingles of a document are those of all its texts.
        width: words of a shingle.
        bands: how signatures are cut.

    Returns:
        Places (D,) of the documents that have words, and their buckets (D, B), uint64, other numbers for each band.
    """
    texts = HashedTexts([text for document in documents for text in document])
    owner_T = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    text_G, shingles_G = texts.shingles(width)
    places, starts = np.unique(owner_T[text_G], return_index=True)
    found = np.empty((len(places), bands.count), np.uint64)
    if not len(places):
        return places, found
    factors, summands = _functions(bands.count * bands.rows)
    for band in range(bands.count):
        bucket = np.full(len(places), band + 1, np.uint64)
        for function in range(band * bands.rows, (band + 1) * bands.rows):
            hashes_G = (shingles_G * factors[function] + summands[function]) >> np.uint64(32)
            bucket = mixed(bucket ^ np.minimum.reduceat(hashes_G, starts))
        found[:, band] = bucket
    return places, found
