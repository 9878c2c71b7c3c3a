"""What the earlier parts of a plan kept: it stays, and later parts are compared with it."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from types import TracebackType

import numpy as np

from anytalk.pipelines.dataset import Store
from anytalk.pipelines.likeness import Document, EvaluationIndex, Known, conversations_of, spooled
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.source import Pair

from .clean import name_hash
from .gather import Conversations, first_like, said
from .plan import Plan, PlannedRow
from .similar import Removed, document_of, evaluation_index, reject_similar


class Earlier:
    """Conversations of a plan as far as it is committed; for `with`. Each is read once, when its part is there.

    Of each 40 bytes stay in memory, and some 170 more where near-duplicates are looked for.

    Args:
        recipe: of the dataset.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._plan: Plan | None = None
        self._index: EvaluationIndex | None = None
        self._known: Known | None = None
        self._open = contextlib.ExitStack()
        self._names = np.empty((0, 2), np.uint64)
        self._said = np.empty((0, 2), np.uint64)
        self._places = np.zeros(1, np.int64)
        """Of the first row of each conversation, among all rows; and one past the last row."""

    def __enter__(self) -> "Earlier":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    @property
    def units(self) -> int:
        """How many units it has."""
        return 0 if self._plan is None else len(self._plan.units)

    def grow(self, plan: Plan) -> None:
        """Take note of a plan that has grown."""
        known, first = self._compared(), len(self._names)
        documents = self._taken(plan)
        if known is None:
            for _ in documents:
                pass
        else:
            known.add(documents, lambda place: self._document(first + place))

    def _taken(self, plan: Plan) -> Iterator[Document]:
        """Note what conversations there are more; each as it is compared, if near-duplicates are looked for."""
        first, self._plan = self.units, plan
        rules = self._recipe.dedup
        names, contents, places = list[tuple[int, int]](), list[np.ndarray](), list[int]()
        for turns, end in _conversations(plan, first):
            names.append(name_hash(turns[0]))
            contents.append(said(turns))
            places.append(end)
            yield document_of(turns, rules) if rules is not None else Document("", ())
        self._names = np.concatenate([self._names, np.array(names, np.uint64).reshape(-1, 2)])
        self._said = np.concatenate([self._said, np.array(contents, np.uint64).reshape(-1, 2)])
        self._places = np.concatenate([self._places, np.array(places, np.int64)])

    def _compared(self) -> Known | None:
        """What near-duplicates are looked for among, if they are: first the datasets that the recipe names."""
        rules = self._recipe.dedup
        if rules is not None and self._known is None:
            self._known = Known(rules.threshold, rules.ngram)
            built = itertools.chain.from_iterable(conversations_of(Store(name), rules.sides) for name in rules.against)
            spool = self._open.enter_context(spooled(built))
            self._known.add((spool[place] for place in range(len(spool))), spool.__getitem__)
        return self._known

    def _document(self, number: int) -> Document:
        assert self._plan is not None
        assert self._recipe.dedup is not None
        rows = self._plan.units.between(int(self._places[number]), int(self._places[number + 1]))
        return document_of(_first_variant(rows), self._recipe.dedup)

    def repeated(self, conversations: Conversations) -> Removed:
        """Find conversations of the name of one of these; and those that say the same, if the recipe drops repeats."""
        if self._plan is None or not len(conversations):
            return {}
        found: Removed = {}
        if self._recipe.clean.drop_repeats:
            own = np.array([said(turns) for turns in conversations], np.uint64)
            found |= {place: ("repeat", f"the same as {at}") for place, at in self._met(own, self._said)}
        names = np.array([name_hash(turns[0]) for turns in conversations], np.uint64)
        for place, at in self._met(names, self._names):
            found.setdefault(place, ("repeat", f"its conversation is at {at} already"))
        return dict(sorted(found.items()))

    def _met(self, own: np.ndarray, known: np.ndarray) -> Iterator[tuple[int, str]]:
        """Which of some hashes are known, and where in the source the first conversation of it stands."""
        assert self._plan is not None
        likes = first_like(np.concatenate([known, own]))[len(known) :]
        for place in np.flatnonzero(likes < len(known)).tolist():
            yield place, self._plan.units.row(int(self._places[likes[place]])).pair.source

    def similar(self, conversations: Conversations, progress: Reporter) -> Removed:
        """Find what the recipe does not want, beside these; see `reject_similar`. Evaluation sets are read once.

        Raises:
            SetupError: a dataset or an evaluation set that is compared with is not in order.
            EngineError: a remote one broke off.
        """
        rules = self._recipe.decontaminate
        if rules is not None and self._index is None:
            self._index = evaluation_index(rules, self._recipe, progress)
        return reject_similar(conversations, self._recipe, progress, self._compared(), self._index)


def _conversations(plan: Plan, first: int) -> Iterator[tuple[list[Pair], int]]:
    """Conversations of the units from a number on, each with the place after its last row, among all rows."""
    place = sum(plan.units.size(number) for number in range(first))
    for number in range(first, len(plan.units)):
        for _, rows in itertools.groupby(plan.units[number], _name):
            own = list(rows)
            place += len(own)
            yield _first_variant(own), place


def _first_variant(rows: Sequence[PlannedRow]) -> list[Pair]:
    return [row.pair for row in rows if row.variant == 0]


def _name(row: PlannedRow) -> Sequence[str]:
    return row.pair.split_name, row.pair.conversation
