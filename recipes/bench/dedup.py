"""How fast are near-duplicates found? Conversations a second of one core, beside the plain script, in one run.

The plain script is what one writes after datasketch's README: a signature for each conversation by itself, with arrays
over its shingles and hash functions; a dictionary of bands; candidates compared exactly. Both get the same bands. The
bound is the time of the hash functions alone, over all shingles at once. How much is found is measured on copies with
words changed, whose exact similarity is known.
"""

import hashlib
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer

from anytalk.pipelines.likeness import (
    Bands,
    Document,
    HashedTexts,
    bands_for,
    jaccard,
    near_duplicates,
    shingle_set,
    spooled,
)
from anytalk.pipelines.progress import Reporter

from .figures import Figures, compared, describe, figures, in_turns, seconds_of

EPILOG = "Example:  anytalk bench dedup --conversations 100000"

THRESHOLD, WIDTH = 0.7, 2
QUESTION_WORDS, ANSWER_WORDS = 12, 24
COPIES = 0.1
"""Share of conversations that are copies of earlier ones, with 0 to 12 words changed."""
PRIME = np.uint64((1 << 61) - 1)


def bench(
    conversations: Annotated[int, typer.Option(min=100, help="How many, a tenth of them copies.")] = 20_000,
    *,
    progress: Reporter,
    seed: int = 0,
) -> Figures:
    """Measure near-duplicate removal in this process and the plain script, by the processor time that they take.

    Returns:
        Figures with `recall` of the copies that reach the threshold, by their exact similarity, and `precision`, of
        what was found.
    """
    texts, originals = _texts(conversations, random.Random(seed))
    bands = bands_for(THRESHOLD)
    found: set[int] = set()
    plain: set[int] = set()

    def ours() -> None:
        with spooled(Document("", text) for text in texts) as spool:
            found.update(one.place for one in near_duplicates(spool, THRESHOLD, WIDTH))

    values, naives = in_turns(
        lambda: conversations / seconds_of(ours, time.process_time),
        lambda: conversations / seconds_of(lambda: plain.update(_plain(texts, bands)), time.process_time),
        progress,
        repeats=1,
    )
    alike = {
        copy
        for copy, original in originals.items()
        if jaccard(shingle_set(texts[copy], WIDTH), shingle_set(texts[original], WIDTH)) >= THRESHOLD
    }
    return figures(
        "dedup",
        "conversations a second of one core",
        compared(values, naives, conversations / _bound_s(texts, bands)),
        seconds=round(conversations / values[0], 2),
        conversations=conversations,
        found=len(found),
        found_by_plain=len(plain),
        copies_alike=len(alike),
        recall=round(len(alike & found) / max(1, len(alike)), 5),
        precision=round(len(alike & found) / max(1, len(found)), 5),
    )


def _texts(count: int, rng: random.Random) -> tuple[list[tuple[str, str]], dict[int, int]]:
    """Conversations of words as frequent as words are, and which are copies of which."""
    # Copies are of conversations that stay, so that each that is alike must go.
    vocabulary = [f"{number:x}" for number in range(20_000)]
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
    length = QUESTION_WORDS + ANSWER_WORDS
    said: list[list[str]] = []
    originals: dict[int, int] = {}
    fresh = rng.choices(vocabulary, weights, k=count * length)
    fresh_places: list[int] = []
    for place in range(count):
        words = fresh[place * length : (place + 1) * length]
        if place and rng.random() < COPIES:
            original = originals[place] = rng.choice(fresh_places)
            kept = rng.sample(range(length), length - rng.randint(0, 12))
            for position in kept:
                words[position] = said[original][position]
        else:
            fresh_places.append(place)
        said.append(words)
    return [(" ".join(one[:QUESTION_WORDS]) + "?", " ".join(one[QUESTION_WORDS:]) + ".") for one in said], originals


def _plain(texts: Sequence[tuple[str, str]], bands: Bands) -> set[int]:
    rng = np.random.default_rng(0)
    functions = bands.count * bands.rows
    factors_K = rng.integers(1, int(PRIME), functions, np.uint64)
    summands_K = rng.integers(0, int(PRIME), functions, np.uint64)
    buckets: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    sets, gone = [], set()
    for place, text in enumerate(texts):
        shingles = shingle_set(text, WIDTH)
        sets.append(shingles)
        hashes_S = np.array(
            [int.from_bytes(hashlib.sha1(" ".join(one).encode()).digest()[:4], "little") for one in shingles], np.uint64
        )
        signature_K = ((hashes_S[:, None] * factors_K + summands_K) % PRIME & np.uint64(0xFFFFFFFF)).min(axis=0)
        keys = [
            (band, signature_K[band * bands.rows : (band + 1) * bands.rows].tobytes()) for band in range(bands.count)
        ]
        candidates = sorted({other for key in keys for other in buckets[key]})
        if any(jaccard(shingles, sets[other]) >= THRESHOLD for other in candidates):
            gone.add(place)
            continue
        for key in keys:
            buckets[key].append(place)
    return gone


def _bound_s(texts: Sequence[tuple[str, str]], bands: Bands) -> float:
    """Processor time of nothing but hash functions and minima, a block of texts at a time."""
    seconds = 0.0
    for first in range(0, len(texts), 2048):
        owners, shingles_G = HashedTexts([" ".join(text) for text in texts[first : first + 2048]]).shingles(WIDTH)
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        started = time.process_time()
        for _ in range(bands.count * bands.rows):
            np.minimum.reduceat((shingles_G * PRIME + PRIME) >> np.uint64(32), starts)
        seconds += time.process_time() - started
    return seconds


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    return describe(
        found,
        "the hash functions alone",
        f"{found['conversations']:,} conversations in {found['seconds']} s; found {found['recall']:.2%} of "
        f"{found['copies_alike']:,} copies that are alike; {found['precision']:.2%} of what was found is alike",
    )
