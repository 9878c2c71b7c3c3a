"""Which conversations of a plan hold evaluation texts or say nearly the same as an earlier one."""

from collections.abc import Sequence

from anytalk.pipelines.likeness import (
    Document,
    EvaluationIndex,
    Known,
    contaminations,
    index_of,
    near_duplicates,
    spooled,
)
from anytalk.pipelines.progress import Quiet, Reporter, measured
from anytalk.pipelines.recipe import Decontaminate, Dedup, Recipe
from anytalk.pipelines.source import Pair
from anytalk.synth.text import load_normaliser

Conversation = Sequence[Pair]
Removed = dict[int, tuple[str, str]]
"""By place: reason, and what it matched."""


def reject_similar(
    conversations: Sequence[Conversation],
    recipe: Recipe,
    progress: Reporter | None = None,
    known: Known | None = None,
    index: EvaluationIndex | None = None,
) -> Removed:
    """Find what a recipe does not want among its conversations.

    Evaluation texts first: what is thrown out for one is no reason to throw out another.

    Args:
        conversations: in plan order.
        recipe: `dedup` and `decontaminate` say what is looked for.
        progress: who is told how far it is.
        known: conversations that stay in any case, as `document_of` gives them.
        index: of the evaluation sets, where they were read already; see `evaluation_index`.

    Raises:
        SetupError: an evaluation set is not in order.
        EngineError: a remote one broke off.
    """
    removed: Removed = {}
    progress = progress or Quiet()
    if recipe.decontaminate is not None:
        index = evaluation_index(recipe.decontaminate, recipe, progress) if index is None else index
        removed |= _contaminated(conversations, recipe.decontaminate, index, progress)
    if recipe.dedup is not None:
        progress.phase("comparing conversations", len(conversations))
        removed |= _near_duplicates(conversations, removed, recipe.dedup, known)
    return dict(sorted(removed.items()))


def evaluation_index(rules: Decontaminate, recipe: Recipe, progress: Reporter) -> EvaluationIndex:
    """Read the evaluation sets of a recipe.

    Raises:
        SetupError: one is not in order.
        EngineError: a remote one broke off.
    """
    return index_of(rules, load_normaliser(recipe.clean.normalise, recipe.source.language), progress)


def _contaminated(
    conversations: Sequence[Conversation], rules: Decontaminate, index: EvaluationIndex, progress: Reporter
) -> Removed:
    compared = measured(conversations, "conversations compared", len(conversations), progress)
    documents = ([text for _, text in _forms(turns, rules)] for turns in compared)
    return {
        one.place: (
            "contaminated",
            f"the {_forms(conversations[one.place], rules)[one.text][0]} has {one.similarity:.2f} of {one.evaluation}: "
            f"{one.ngram!r}",
        )
        for one in contaminations(documents, index)
    }


def _forms(turns: Conversation, rules: Decontaminate) -> list[tuple[str, str]]:
    """Every text of a conversation and what it is: the spoken form, and the written one where it is another."""
    forms: list[tuple[str, str]] = []
    for pair in turns:
        for side in rules.sides:
            spoken, written = getattr(pair, side), getattr(pair, f"{side}_written")
            if spoken:
                forms.append((side, spoken))
            if written and written != spoken:
                forms.append((f"{side}_written", written))
    return forms


def _near_duplicates(
    conversations: Sequence[Conversation], removed: Removed, rules: Dedup, known: Known | None
) -> Removed:
    places = [place for place in range(len(conversations)) if place not in removed]
    documents = (document_of(turns, rules) for place, turns in enumerate(conversations) if place not in removed)
    known = Known(rules.threshold, rules.ngram) if known is None else known
    before = len(known)
    with spooled(documents) as spool:
        found: Removed = {}
        for one in near_duplicates(spool, rules.threshold, rules.ngram, known):
            like = known[one.like] if one.like < before else spool[one.like - before]
            found[places[one.place - before]] = ("near_duplicate", f"{one.similarity:.2f} like {like.name}")
        return found


def document_of(turns: Conversation, rules: Dedup) -> Document:
    """A conversation as it is compared; without texts where some of it is still to be heard."""
    sides = [(pair, side) for pair in turns for side in rules.sides]
    unheard = any(getattr(pair, side) is None and getattr(pair, f"{side}_recording") for pair, side in sides)
    texts = () if unheard else tuple(getattr(pair, side) or "" for pair, side in sides)
    return Document(turns[0].source, texts)
