"""Evaluation texts in documents, found by their n-grams.

An evaluation text is in a document's text when at least a share of its words stand in n-grams that both have. One that
is shorter than n words must stand there whole, and make up at least that share of the document's text.

Source: the share of words is what open-instruct measures (https://github.com/allenai/open-instruct,
decontamination/README.md at commit 308f2a8), which Tulu 3 does with 8-grams and a half
(https://arxiv.org/abs/2411.15124, section 3.2); 8 words is also the least that GPT-3 took, for fewer collide by chance
(https://arxiv.org/abs/2005.14165, appendix C).

Shapes: G grams of evaluation texts or of documents.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from anytalk.synth.text.word import words

from .gram import HashedTexts

BATCH_DOCUMENTS = 2048


@dataclasses.dataclass(frozen=True)
class EvaluationText:
    """A text that a model is to be measured on."""

    name: str
    """Where it stands."""
    text: str


@dataclasses.dataclass(frozen=True)
class Contamination:
    """A document that holds an evaluation text."""

    place: int
    """Of the document."""
    text: int
    """Which of its texts."""
    evaluation: str
    """Name of the evaluation text."""
    ngram: str
    """The first words that both have."""
    similarity: float
    """Share of the evaluation text's words in common n-grams; or, of one shorter than n, its share of the text."""


@dataclasses.dataclass(frozen=True)
class _Table:
    """Grams of one width: sorted, with the evaluation text of each and where it stands there."""

    grams_G: np.ndarray
    text_G: np.ndarray
    first_G: np.ndarray


class EvaluationIndex:
    """Grams of evaluation texts.

    Args:
        texts: the evaluation texts, in order: of equal matches, the first is named.
        ngram: words of a gram, n.
        share: how much must be common, above 0 and up to 1.
    """

    def __init__(self, texts: Sequence[EvaluationText], ngram: int, share: float) -> None:
        self.ngram, self.share = ngram, share
        self.names = [one.name for one in texts]
        hashed = HashedTexts([one.text for one in texts])
        self._lengths = hashed.lengths_T
        self._tables: dict[int, _Table] = {}
        for width in range(1, ngram + 1):
            text_G, first_G, grams_G = hashed.grams(width)
            if width < ngram:
                whole = self._lengths[text_G] == width
                text_G, first_G, grams_G = text_G[whole], first_G[whole], grams_G[whole]
            if len(grams_G):
                order = np.argsort(grams_G, kind="stable")
                self._tables[width] = _Table(grams_G[order], text_G[order], first_G[order])

    def find(self, documents: Sequence[Sequence[str]]) -> list[tuple[int, int, int, int, int, float]]:
        """Look for evaluation texts in documents.

        Returns:
            For each document that holds one: place, which of its texts, which evaluation text, first word and width of
            the gram, similarity; of several the most similar.
        """
        texts = [text for document in documents for text in document]
        owners = [(place, n) for place, document in enumerate(documents) for n in range(len(document))]
        hashed = HashedTexts(texts)
        best: dict[int, tuple[int, int, int, int, int, float]] = {}
        for width, table in self._tables.items():
            text_G, first_G, grams_G = hashed.grams(width)
            lows = np.searchsorted(table.grams_G, grams_G, "left")
            highs = np.searchsorted(table.grams_G, grams_G, "right")
            hit = np.flatnonzero(highs > lows)
            # Grams come in order of their texts.
            for text, group in itertools.groupby(hit.tolist(), key=lambda gram: int(text_G[gram])):
                hits = list(group)
                entries = np.concatenate([np.arange(lows[gram], highs[gram]) for gram in hits])
                firsts = np.concatenate([np.full(highs[gram] - lows[gram], first_G[gram]) for gram in hits])
                found = self._most_similar(width, table, entries, firsts, int(hashed.lengths_T[text]))
                place, number = owners[text]
                if found is not None and (place not in best or found[-1] > best[place][-1]):
                    best[place] = (place, number, *found)
        return [best[place] for place in sorted(best)]

    def _most_similar(
        self, width: int, table: _Table, entries: np.ndarray, firsts: np.ndarray, length: int
    ) -> tuple[int, int, int, float] | None:
        """Of the evaluation texts that share grams with a text: which, first common word, width, similarity."""
        evaluations = table.text_G[entries]
        if width < self.ngram:
            named, similarity = np.unique(evaluations)[:1], np.array([width / length])
        else:
            # Each word of an evaluation text counts once, in however many common grams it stands.
            covered = (evaluations[:, None] << 32) + table.first_G[entries][:, None] + np.arange(width)
            named, counts = np.unique(np.unique(covered) >> 32, return_counts=True)
            similarity = counts / self._lengths[named]
        most = int(np.argmax(similarity))
        if similarity[most] < self.share:
            return None
        first = int(firsts[evaluations == named[most]].min())
        return int(named[most]), first, width, float(similarity[most])


def contaminations(documents: Iterable[Sequence[str]], index: EvaluationIndex) -> Iterator[Contamination]:
    """Find the documents that hold evaluation texts.

    Args:
        documents: texts of each.
        index: of the evaluation texts; it is in memory, the documents are not.

    Yields:
        One for each such document, in order.
    """
    waiting, before = iter(documents), 0
    while batch := list(itertools.islice(waiting, BATCH_DOCUMENTS)):
        for place, text, evaluation, first, width, similarity in index.find(batch):
            ngram = " ".join(words(batch[place][text])[first : first + width])
            yield Contamination(before + place, text, index.names[evaluation], ngram, similarity)
        before += len(batch)
