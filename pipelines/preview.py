"""A few rows of a recipe as a dataset of their own, to look at and to listen to before all of them are made."""

import tempfile

from anytalk.pipelines.dataset import PLAN, Store, current_judgement
from anytalk.pipelines.plan import Plan, commit_sample, is_planned, load_committed, load_or_make, said_s, spread
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.source import cache_of
from anytalk.synth.errors import SetupError

from .build import Summary, build
from .progress import Quiet, Reporter

SUFFIX = "-preview"
"""Of the folder and the name of a preview: a build of the whole recipe refuses the one, as of another recipe."""

READ_PER_ROW = 4
"""Conversations that are read for each row of a preview, since some may be rejected."""


def preview(
    recipe: Recipe,
    out: str,
    rows: int = 8,
    *,
    local: bool = False,
    mixed: bool = False,
    progress: Reporter | None = None,
) -> Summary:
    """Build some rows of a recipe in a folder beside its dataset.

    The rows are of the dataset's plan, where there is one, short and long ones in their proportion; else of the
    beginning of the source. Each row is what it will be in the dataset, byte for byte, and a report shows them. A
    preview of another recipe, or of another number of rows, is replaced.

    Args:
        recipe: the recipe.
        out: where the dataset is, or will be; the preview is in `OUT-preview`.
        rows: how many.
        local: see `build`.
        mixed: see `build`.
        progress: who is told how far it is.

    Raises:
        SetupError: see `build`; or no row of what was read can be spoken.
        EngineError: see `build`.
    """
    progress = progress or Quiet()
    store = Store(f"{out.rstrip('/')}{SUFFIX}")
    own = recipe.model_copy(update={"name": f"{recipe.name}{SUFFIX}", "report": True})
    if not _is_there(own, store, rows):
        _clear(store, progress)
        with tempfile.TemporaryDirectory() as folder:
            plan = _plan(recipe, Store(out), Store(folder), rows, progress)
            if not plan.rows:
                reasons = ", ".join(f"{reason} {count}" for reason, count in plan.reasons.items())
                raise SetupError(f"no row can be spoken of the first that the source has: {reasons or 'it has none'}")
            commit_sample(store, own, spread(plan, said_s(plan), rows), recipe.shards.unit_rows)
    return build(own, str(store), local=local, mixed=mixed, progress=progress)


def _is_there(recipe: Recipe, store: Store, rows: int) -> bool:
    if not store.exists(PLAN) or not is_planned(recipe, store):
        return False
    return load_committed(store).rows == rows


def _clear(store: Store, progress: Reporter) -> None:
    """Delete a preview, and nothing else.

    Raises:
        SetupError: the folder holds something else.
    """
    files = store.files()
    if not files:
        return
    try:
        held = current_judgement(store).recipe.name if store.exists(PLAN) else ""
    except SetupError:
        held = ""  # of another version
    if not held.endswith(SUFFIX):
        raise SetupError(f"{store} is not empty and holds no preview ({files[0]}); delete it, or name another --out")
    progress.say(f"{store} holds another preview, which is replaced")
    store.delete(PLAN)
    for path in files:
        store.delete(path)


def _plan(recipe: Recipe, store: Store, beside: Store, rows: int, progress: Reporter) -> Plan:
    """The plan of the dataset where it is there; else one of the beginning of the source."""
    if store.exists(PLAN) and is_planned(recipe, store):
        return load_committed(store)
    asks = bool(recipe.planning_models())
    conversations = rows if asks else rows * READ_PER_ROW
    limit = min(conversations, recipe.source.limit or conversations)
    source = recipe.source.model_copy(update={"limit": limit})
    # Answers of language models are kept where the dataset looks for them.
    return load_or_make(recipe.model_copy(update={"source": source}), beside, progress, answers=cache_of(store))
