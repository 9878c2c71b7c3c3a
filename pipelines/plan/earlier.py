"""What the earlier parts of a plan kept: it stays, and later parts are compared with it."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from anytalk.pipelines.likeness import EvaluationIndex
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.source import Pair

from .gather import Conversations, first_like, said
from .plan import Plan, PlannedRow
from .similar import Removed, evaluation_index, reject_similar


class Earlier:
    """Conversations of a plan as far as it is committed; 24 bytes of each in memory, if repeats are looked for.

    Args:
        recipe: of the dataset.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._plan: Plan | None = None
        self._index: EvaluationIndex | None = None
        self._said = np.empty((0, 2), np.uint64)
        self._places = np.empty(0, np.int64)
        """Of the first row of each conversation, among all rows."""

    @property
    def units(self) -> int:
        """How many units it has."""
        return 0 if self._plan is None else len(self._plan.units)

    def grow(self, plan: Plan) -> None:
        """Take note of a plan that has grown."""
        first, self._plan = self.units, plan
        if not self._recipe.clean.drop_repeats:
            return
        found = [(said(turns), place) for turns, place in _conversations(plan, first)]
        self._said = np.concatenate([self._said, np.array([one for one, _ in found], np.uint64).reshape(-1, 2)])
        self._places = np.concatenate([self._places, np.array([place for _, place in found], np.int64)])

    def repeated(self, conversations: Conversations) -> Removed:
        """Find conversations that say the same as one of these, if the recipe drops repeats."""
        if self._plan is None or not self._recipe.clean.drop_repeats or not len(conversations):
            return {}
        own = np.array([said(turns) for turns in conversations], np.uint64)
        known = len(self._said)
        likes = first_like(np.concatenate([self._said, own]))[known:]
        units = self._plan.units
        return {
            int(place): ("repeat", f"the same as {units.row(int(self._places[likes[place]])).pair.source}")
            for place in np.flatnonzero(likes < known)
        }

    def similar(self, conversations: Conversations, progress: Reporter) -> Removed:
        """Find what the recipe does not want, beside these; see `reject_similar`. Evaluation sets are read once."""
        rules = self._recipe.decontaminate
        if rules is not None and self._index is None:
            self._index = evaluation_index(rules, self._recipe, progress)
        earlier = (turns for turns, _ in _conversations(self._plan, 0)) if self._plan else ()
        return reject_similar(conversations, self._recipe, progress, earlier, self._index)


def _conversations(plan: Plan, first: int) -> Iterator[tuple[list[Pair], int]]:
    """Conversations of the units from a number on, each with the place of its first row among all rows."""
    place = sum(plan.units.size(number) for number in range(first))
    for number in range(first, len(plan.units)):
        for _, rows in itertools.groupby(plan.units[number], _name):
            own = list(rows)
            yield [row.pair for row in own if row.variant == 0], place
            place += len(own)


def _name(row: PlannedRow) -> Sequence[str]:
    return row.pair.split_name, row.pair.conversation
