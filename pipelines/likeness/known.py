"""Documents that stay whatever comes after them: compared with later ones without being read or hashed again.

Shapes: K known documents, B bands, D documents.
"""

import bisect
import itertools
from collections.abc import Callable, Iterable

import numpy as np

from .minhash import bands_for, buckets
from .spool import BATCH_DOCUMENTS, Document


class Known:
    """Documents in the order in which they were added; of each, 8 bytes a band are kept.

    Args:
        threshold: Jaccard similarity from which two documents are alike, above 0 and up to 1.
        width: words of a shingle.
    """

    def __init__(self, threshold: float, width: int) -> None:
        self.width, self.bands = width, bands_for(threshold)
        self._buckets_BK = np.empty((self.bands.count, 0), np.uint64)
        self._places_K = np.empty(0, np.int64)
        self._firsts = [0]
        self._readers: list[Callable[[int], Document]] = []

    def __len__(self) -> int:
        return self._firsts[-1]

    def __getitem__(self, place: int) -> Document:
        group = bisect.bisect_right(self._firsts, place) - 1
        return self._readers[group](place - self._firsts[group])

    def add(self, documents: Iterable[Document], read: Callable[[int], Document]) -> None:
        """Take note of documents.

        Args:
            documents: gone through once.
            read: gives one of these again, by its place among them.
        """
        count, places, found = len(self), [self._places_K], [self._buckets_BK]
        waiting = iter(documents)
        while batch := list(itertools.islice(waiting, BATCH_DOCUMENTS)):
            own, its_buckets = buckets([document.texts for document in batch], self.width, self.bands)
            places.append(own + count)
            found.append(its_buckets.T)
            count += len(batch)
        self._places_K, self._buckets_BK = np.concatenate(places), np.concatenate(found, axis=1)
        self._firsts.append(count)
        self._readers.append(read)

    def sharing(self, band: int, buckets_D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Buckets and places of the known documents that share one of some buckets of a band, in order."""
        wanted = np.unique(buckets_D)
        if not len(wanted):
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        own = self._buckets_BK[band]
        nearest = np.minimum(np.searchsorted(wanted, own), len(wanted) - 1)
        shared = wanted[nearest] == own
        return own[shared], self._places_K[shared]
