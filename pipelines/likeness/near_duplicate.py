"""Near-duplicates: a document goes if it is like an earlier one that stays.

That rule, applied in order, has one outcome. Which pairs are looked at follows
from MinHash; whether they are alike from the exact Jaccard similarity of their shingles.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from .candidate import candidate_pairs
from .gram import jaccard, shingle_set
from .known import Known
from .minhash import bands_for
from .spool import Spool


@dataclasses.dataclass(frozen=True)
class Likeness:
    """A document that goes, the first earlier one that it is like, and how much."""

    place: int
    like: int
    similarity: float


def near_duplicates(spool: Spool, threshold: float, width: int, known: Known | None = None) -> Iterator[Likeness]:
    """Find near-duplicates.

    Args:
        spool: the documents, in the order in which they are there first; those of earlier sets stay in any case.
        threshold: Jaccard similarity from which two are alike, above 0 and up to 1.
        width: words of a shingle.
        known: documents before those, which stay in any case; of the same threshold and width.

    Yields:
        What goes, in order. Places count those of `known` first.
    """
    before = len(known) if known is not None else 0
    pairs = candidate_pairs(spool, width, bands_for(threshold), known)
    gone = np.zeros(before + len(spool), bool)

    @functools.lru_cache(maxsize=4096)
    def shingles(place: int) -> frozenset[tuple[str, ...]]:
        found = known[place] if known is not None and place < before else spool[place - before]
        return shingle_set(found.texts, width)

    # Pairs come in order, so that what became of the earlier one is known.
    for later, first in pairs:
        if later < before + spool.earlier or gone[later] or gone[first]:
            continue
        similarity = jaccard(shingles(later), shingles(first))
        if similarity >= threshold:
            gone[later] = True
            yield Likeness(later, first, similarity)
