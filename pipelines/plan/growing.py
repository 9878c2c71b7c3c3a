"""The plan of a dataset: loaded where it is there, else made and committed, part after part."""

import json
import tempfile
from collections import deque
from collections.abc import Generator
from pathlib import Path

from anytalk.pipelines.dataset import PLAN, Store, current_judgement, differences, may_be_rejudged
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.source import Attachments, LlmClient, cache_of, examine
from anytalk.synth.errors import SetupError

from .earlier import Earlier
from .make import make_part, stamp_of
from .plan import Plan, load_committed, part_path
from .stock import Stock

SINCE = "has changed since {store} was planned; build into another folder"


class GrowingPlan:
    """A plan that is made part after part. It has one part, unless a language model is asked for what is in it.

    Args:
        recipe: of the dataset.
        store: the dataset.
        progress: who is told how far it is; may be another one for each part.
        answers: where answers of language models are kept; beside the dataset by default.

    Attributes:
        stopped: whether it was told to.
    """

    def __init__(self, recipe: Recipe, store: Store, progress: Reporter, answers: Path | None = None) -> None:
        self.recipe, self.store, self.progress = recipe, store, progress
        self.answers = answers or cache_of(store)
        self.stopped = False
        self._stock: Stock | None = None
        self._llm_client: LlmClient | None = None

    def stop(self) -> None:
        """End what is being asked, from another thread; whoever waits for the next part has `EngineError`."""
        self.stopped = True
        if self._llm_client is not None:
            self._llm_client.stop()

    def parts(self) -> Generator[Plan, None, None]:
        """Load what is there, and make what is missing; to be closed by whoever does not take all.

        Until the first unit is committed, the plan of another recipe, or of a source that has changed, is made anew.

        Yields:
            The plan as far as it is committed: first what is there, if anything is, then with each part that is made.

        Raises:
            SetupError: the folder holds something else, another recipe's data, or the source has changed since; or a
                language model that is to be asked cannot be.
            EngineError: the source broke off, or language models did not answer everything; nothing of the part is
                committed.
        """
        recipe, store = self.recipe, self.store
        if store.exists(PLAN) and not store.files("units") and not is_planned(recipe, store):
            stamp_of(recipe)
            _discard(store)
        plan = None
        if store.exists(PLAN):
            _refuse_other(recipe, store)
            plan = load_committed(store)
            yield plan
            if plan.is_whole:
                return
        else:
            stamp_of(recipe)  # A missing source is reported before the folder is touched.
            _refuse_foreign(store)
        examine(recipe.models())
        with Earlier(recipe) as earlier, tempfile.TemporaryDirectory(prefix="anytalk-") as folder:
            while plan is None or not plan.is_whole:
                number = len(plan.parts) if plan else 0
                if not store.exists(part_path(number)):  # Else somebody else has made it meanwhile.
                    self._make(number, plan, earlier, Path(folder))
                _refuse_other(recipe, store)
                plan = load_committed(store, plan)
                yield plan

    def _make(self, number: int, plan: Plan | None, earlier: Earlier, folder: Path) -> None:
        recipe, store = self.recipe, self.store
        if plan is not None:
            _refuse_other(recipe, store)
            earlier.grow(plan)
        if self._stock is None and recipe.planning_models():
            # What is stored already, with the first part, is named as it was then.
            attachments = Attachments(None if number else store)
            self._stock = Stock(recipe, attachments, folder, self.progress, lambda: self.stopped)
            if number and self._stock.digest != json.loads(store.read(PLAN)).get("read", self._stock.digest):
                raise SetupError(f"what the source holds {SINCE.format(store=store)}")
        count = len(self._stock.parts) if self._stock else 1
        where = f" for part {number + 1} of {count}" if count > 1 else ""
        self._llm_client = LlmClient(self.answers, recipe.seed, self.progress, recipe.clean.style_tags, where)
        if self.stopped:
            self._llm_client.stop()
        make_part(recipe, store, number, earlier, self._llm_client, self.progress, self._stock)


def load_or_make(
    recipe: Recipe, store: Store, progress: Reporter | None = None, *, answers: Path | None = None
) -> Plan:
    """Load the whole plan of this recipe, or make and commit what is missing of it; see `GrowingPlan`."""
    return deque(GrowingPlan(recipe, store, progress or Quiet(), answers).parts(), maxlen=1)[0]


def is_planned(recipe: Recipe, store: Store) -> bool:
    """Whether the plan is this recipe's, and its source has not changed since."""
    announced = json.loads(store.read(PLAN))
    try:
        planned = current_judgement(store).recipe
    except SetupError:
        return False  # Of another version.
    return not differences(recipe, planned) and [list(entry) for entry in stamp_of(recipe)] == announced["stamp"]


def _discard(store: Store) -> None:
    """Delete a plan of which no unit was made: its announcement first, so that nobody takes what is left for a plan."""
    store.delete(PLAN)
    for path in store.files():
        if _is_of_plan(path):
            store.delete(path)


def _is_of_plan(path: str) -> bool:
    return path.startswith(("plan/", "rejects/plan-"))


def _refuse_foreign(store: Store) -> None:
    files = [path for path in store.files() if not _is_of_plan(path)]
    if files and not store.exists(PLAN):  # Somebody else may have planned this meanwhile, and begun.
        raise SetupError(f"{store} is not empty and holds no anytalk dataset ({files[0]}); name another folder")


def _refuse_other(recipe: Recipe, store: Store) -> None:
    """Refuse a plan of another recipe, or of a source that was another one."""
    changed = differences(recipe, current_judgement(store).recipe)
    if changed and all(may_be_rejudged(key) for key in changed):
        settings = " ".join(f"--set {key}={json.dumps(value)}" for key, value in changed.items())
        raise SetupError(
            f"{store} was judged by another policy; this judges its rows again without speaking them: "
            f"anytalk judge {store} {settings}"
        )
    if changed:
        raise SetupError(
            f"{store} holds data of another recipe (it differs in {', '.join(list(changed)[:5])}); "
            "name another folder or restore the recipe"
        )
    if [list(entry) for entry in stamp_of(recipe)] != json.loads(store.read(PLAN))["stamp"]:
        raise SetupError(f"the source, or what it is compared with, {SINCE.format(store=store)}")
