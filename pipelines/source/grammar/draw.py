"""Draw pairs from a grammar.

A combination is what the slots of an answer hold. All questions with the same answer form a group, so that a split
holds out whole combinations, in every wording.
"""

import re
from collections.abc import Iterator

import numpy as np

from anytalk.pipelines.recipe import GrammarSource, read_recipe
from anytalk.pipelines.source.pair import Pair
from anytalk.synth.errors import SetupError
from anytalk.synth.seed import derive_seed, digest

from .file import SLOT, Grammar, Kind, grammar_path, list_of

DRAWS_PER_COMBINATION = 1000
"""A kind of which so many draws in a row give nothing new has no more combinations."""


def grammar_pairs(source: GrammarSource) -> Iterator[Pair]:
    """Draw the pairs of a grammar, all kinds mixed; a limit leaves the first ones of the same order.

    Raises:
        SetupError: the grammar is missing or wrong, it has no such kind, or a kind has fewer combinations than it asks
            for.
    """
    grammar = read_recipe(grammar_path(source), Grammar)
    pairs = [pair for name, kind in _kinds(grammar, source) for pair in _of_kind(name, kind, grammar, source)]
    order = np.random.default_rng(derive_seed(source.seed, "order")).permutation(len(pairs))
    return (pairs[index] for index in order)


def _kinds(grammar: Grammar, source: GrammarSource) -> list[tuple[str, Kind]]:
    if source.kinds is None:
        return [(name, kind) for name, kind in grammar.kinds.items() if not kind.only_named]
    if unknown := [name for name in source.kinds if name not in grammar.kinds]:
        known = ", ".join(grammar.kinds)
        raise SetupError(f"source.kinds: {source.path} has no kind {', '.join(unknown)}; it has {known}")
    return [(name, grammar.kinds[name]) for name in source.kinds]


def _of_kind(name: str, kind: Kind, grammar: Grammar, source: GrammarSource) -> Iterator[Pair]:
    rng = np.random.default_rng(derive_seed(source.seed, "kind", name))
    known: set[str] = set()
    draws = 0
    while len(known) < kind.combinations:
        fill = _Filling(grammar, rng)
        answer = fill(kind.answer)
        draws += 1
        if answer in known:
            if draws > DRAWS_PER_COMBINATION:
                raise SetupError(
                    f"{source.path}: kinds.{name}.combinations is {kind.combinations}; only {len(known)} were found"
                )
            continue
        known.add(answer)
        draws = 0
        for wording in rng.permutation(len(kind.questions))[: kind.wordings]:
            yield Pair(
                split_name=source.split_name or name,
                conversation=f"{name}-{digest(answer)[:12]}-{wording}",
                turn=0,
                question=fill(kind.questions[wording]),
                answer=answer,
                language=source.language,
                source=f"{source.path}:kinds.{name}",
                group=answer,
            )


class _Filling:
    """One draw of words; a slot that was filled once holds the same word everywhere."""

    def __init__(self, grammar: Grammar, rng: np.random.Generator) -> None:
        self._words, self._rng = grammar.words, rng
        self._filled: dict[str, int | str] = {}
        self._chosen: set[tuple[str, int | str]] = set()

    def __call__(self, pattern: str) -> str:
        """Fill a pattern, and begin it with a capital."""
        text = SLOT.sub(self._value, pattern)
        return text[:1].upper() + text[1:]

    def _value(self, found: re.Match[str]) -> str:
        first, second = found.groups()
        if second is None:
            return str(self._word(first))
        return str(self._number(first) + self._number(second))

    def _number(self, slot: str) -> int:
        word = self._word(slot)
        if isinstance(word, int):
            return word
        raise SetupError(f"words.{list_of(slot)}: a sum adds numbers; got {word!r}")

    def _word(self, slot: str) -> int | str:
        if slot not in self._filled:
            chosen = self._choose(slot)
            self._filled[slot] = chosen if isinstance(chosen, int) else SLOT.sub(self._value, chosen)
        return self._filled[slot]

    def _choose(self, slot: str) -> int | str:
        """Draw what no other slot of the same list has, as in "the hall and the hall"; numbers may be the same."""
        name = list_of(slot)
        words = [word for word in self._words[name] if isinstance(word, int) or (name, word) not in self._chosen]
        if not words:
            raise SetupError(f"words.{name} has too few words for a pattern that takes several of them")
        word = words[self._rng.integers(len(words))]
        self._chosen.add((name, word))
        return word
