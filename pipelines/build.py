"""Build a dataset: plan it, make its units, and close it with a manifest."""

import asyncio
import dataclasses
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anytalk.pipelines.dataset import Store, commit, current_judgement
from anytalk.pipelines.plan import Plan, load_or_make
from anytalk.pipelines.recipe import Recipe, load_recipe
from anytalk.pipelines.speech import Assignment, make_units, open_crews, unit_key
from anytalk.synth.errors import SetupError

from .close import CHECKSUMS, close, totals_of, versions
from .progress import Quiet, Reporter


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a build came to."""

    dataset: str
    rows_planned: int
    rows_accepted: int
    rows_rerolled: int
    rows_rejected: int
    rows_deferred: int
    reasons: dict[str, int]
    """Rejected rows by reason."""
    gates: dict[str, Any]
    """Rows by side, and by the check that their first attempt failed; see `dataset.tally`."""
    splits: dict[str, int]
    """Accepted rows by split."""
    speech_hours: float
    work_hours: float
    """Wall-clock time that this run spent on rows; planning and loading models are left out."""
    speech_hours_per_work_hour: float | None
    """Of the rows that this run made."""
    seconds: dict[str, float]
    """Engine seconds by stage, over all runs."""
    deferred: list[str]
    """Why units were deferred."""

    @property
    def complete(self) -> bool:
        """Whether every planned row has been accepted or rejected."""
        return self.rows_deferred == 0

    @property
    def well(self) -> bool:
        """Whether the build is complete and some row was accepted."""
        return self.complete and self.rows_accepted > 0


def build(
    recipe: str | Path | Recipe,
    out: str | Path,
    *,
    local: bool = False,
    progress: Reporter | None = None,
    **overrides: object,
) -> Summary:
    """Build the dataset of a recipe, or go on with one.

    Args:
        recipe: a YAML file, or a recipe that was loaded already.
        out: folder or object-store URL; if it holds a part of this very dataset, only what is missing is made.
        local: run the engines in this process; else as Ray actors. The bytes are the same.
        progress: who is told how far it is.
        overrides: recipe values by dotted key: `build("r.yaml", "out", **{"voices.variants": 2})`.

    Raises:
        SetupError: the recipe, the source, the folder or an engine is not in order; nothing was made.
        EngineError: the source broke off or was not had whole, so that there is no plan yet; the same call goes on.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    store, progress = Store(out), progress or Quiet()
    try:
        plan = load_or_make(loaded, store, progress)
        return asyncio.run(_build(loaded, plan, store, local, progress))
    finally:
        progress.stop()


async def _build(recipe: Recipe, plan: Plan, store: Store, local: bool, progress: Reporter) -> Summary:
    judgement = current_judgement(store)
    async with open_crews(Assignment(str(store), recipe, judgement.number), progress, local=local) as crews:
        fingerprints = await crews.fingerprints()
        keys = [unit_key(unit, recipe, fingerprints, judgement.number) for unit in plan.units]
        done = {n: s for n, s in commit.sidecars(store).items() if n < len(keys) and s["key"] == keys[n]}
        for number in _torn(done, store):
            progress.say(f"unit {number} is made anew: a file of it is missing or not as long as it was")
            store.delete(commit.sidecar_path(number, keys[number]))
            del done[number]
        todo = [number for number in range(len(keys)) if number not in done]
        if judgement.number and (todo or not store.exists(CHECKSUMS)):
            raise SetupError(f"{store} was being judged when that was interrupted; first run: anytalk judge {store}")
        started = time.monotonic()
        made, deferred = await make_units(todo, plan, crews, progress, hours=recipe.resources.hours)
        work_s = time.monotonic() - started if todo else 0.0
        licences = await crews.licences() if not deferred else {}
    # In plan order, whichever unit was done first: sums and the card follow from it.
    finished = dict(sorted((done | made).items()))
    if len(finished) == len(keys):
        python = platform.python_version()
        made_with = {"fingerprints": fingerprints, "licences": licences, "libraries": versions(), "python": python}
        close(dataclasses.replace(judgement, recipe=recipe, made_with=made_with), plan, finished, store)
    return _summarise(plan, finished, made, deferred, store, work_s)


def _torn(done: Mapping[int, dict[str, Any]], store: Store) -> list[int]:
    """Units of which a file is missing, or of another size than its sidecar says; one listing tells."""
    sizes = store.sizes()
    return [n for n, s in done.items() if any(sizes.get(file["path"]) != file["bytes"] for file in s["files"])]


def _summarise(
    plan: Plan,
    finished: Mapping[int, dict[str, Any]],
    made: Mapping[int, dict[str, Any]],
    deferred: Mapping[int, str],
    store: Store,
    work_s: float,
) -> Summary:
    totals = totals_of(plan, finished)
    made_hours = sum(sidecar["speech_s"] for sidecar in made.values()) / 3600
    totals.pop("units")
    return Summary(
        dataset=str(store),
        rows_planned=plan.rows + plan.rejected,
        rows_deferred=sum(map(plan.units.size, deferred)),
        work_hours=round(work_s / 3600, 4),
        speech_hours_per_work_hour=round(made_hours / (work_s / 3600), 2) if made else None,
        deferred=list(dict.fromkeys(deferred.values())),
        **totals,
    )
