"""Runs of words as 64-bit numbers, for many texts at once.

The numbers follow from the words alone: they are the same on every machine and in every process.

Shapes: W words of all texts one after another, T texts, G grams.
"""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from anytalk.synth.text.word import words

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Spread 64-bit numbers evenly: each bit of one depends on all bits of it.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood 2014, https://doi.org/10.1145/2660193.2660195).
    """
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


@functools.lru_cache(maxsize=2**18)
def _word_hash(word: str) -> int:
    # A lone surrogate, which JSON can hold, is a character like others here.
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class HashedTexts:
    """The words of some texts as numbers.

    Args:
        texts: as they are.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        hashes = [[_word_hash(word) for word in words(text)] for text in texts]
        self.lengths_T = np.array([len(one) for one in hashes], np.int64)
        """Words of each text."""
        self._words_W = np.array([word for one in hashes for word in one], np.uint64)
        self._text_W = np.repeat(np.arange(len(texts)), self.lengths_T)
        self._place_W = np.arange(len(self._words_W)) - np.repeat(
            np.cumsum(self.lengths_T) - self.lengths_T, self.lengths_T
        )

    def grams(self, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every run of so many words.

        Returns:
            Text of each gram (G,), its first word within the text (G,), and the gram (G,), uint64; in order of texts.
        """
        firsts = np.flatnonzero(self._place_W + width <= self.lengths_T[self._text_W])
        # Starting from the width, runs of different lengths are different numbers.
        grams = np.full(len(firsts), width, np.uint64)
        for offset in range(width):
            grams = grams * _FACTOR + self._words_W[firsts + offset]
        return self._text_W[firsts], self._place_W[firsts], mixed(grams)

    def shingles(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Every run of so many words; a shorter text is one run.

        Returns:
            Text of each shingle (G,), in order of texts, and the shingle (G,), uint64.
        """
        texts, _, grams = self.grams(width)
        all_texts, all_grams = [texts], [grams]
        for shorter in range(1, width):
            texts, _, grams = self.grams(shorter)
            whole = self.lengths_T[texts] == shorter
            all_texts.append(texts[whole])
            all_grams.append(grams[whole])
        joined = np.concatenate(all_texts)
        order = np.argsort(joined, kind="stable")
        return joined[order], np.concatenate(all_grams)[order]


def shingle_set(texts: Sequence[str], width: int) -> frozenset[tuple[str, ...]]:
    """Every run of so many words in some texts, as words; a shorter text is one run.

    >>> sorted(shingle_set(["Is it late?", "No."], 2))
    [('is', 'it'), ('it', 'late'), ('no',)]
    """
    found: set[tuple[str, ...]] = set()
    for text in texts:
        spoken = words(text)
        if len(spoken) >= width:
            found.update(zip(*(spoken[offset:] for offset in range(width)), strict=False))
        elif spoken:
            found.add(tuple(spoken))
    return frozenset(found)


def jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """Share of the shingles of either that both have."""
    common = len(one & other)
    return common / ((len(one) + len(other) - common) or 1)
