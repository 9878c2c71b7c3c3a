"""Build a dataset: plan it, make its units, and close it with a manifest."""

import asyncio
import dataclasses
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from anytalk.pipelines.dataset import Store, commit, current_judgement, schema
from anytalk.pipelines.plan import Plan, PlannedRow, load_or_make
from anytalk.pipelines.recipe import Recipe, load_recipe
from anytalk.pipelines.speech import STAGES, Engines, UnitRows, make_unit, open_engines, open_reworder
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.seed import digest

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
    plan = load_or_make(loaded, store, progress)
    return asyncio.run(_build(loaded, plan, store, local, progress))


async def _build(recipe: Recipe, plan: Plan, store: Store, local: bool, progress: Reporter) -> Summary:
    judgement = current_judgement(store)
    async with open_engines(recipe, local) as engines, open_reworder(recipe, store) as reworder:
        fingerprints = await _fingerprints(recipe, engines)
        await engines.call("hearing", "require", sorted(plan.languages))
        keys = [unit_key(unit, recipe, fingerprints, judgement.number) for unit in plan.units]
        done = {n: s for n, s in commit.sidecars(store).items() if n < len(keys) and s["key"] == keys[n]}
        todo = [number for number in range(len(keys)) if number not in done]
        if judgement.number and (todo or not store.exists(CHECKSUMS)):
            raise SetupError(f"{store} was being judged when that was interrupted; first run: anytalk judge {store}")

        async def make(number: int) -> dict[str, Any]:
            started, own = time.monotonic(), engines.another()
            rows = plan.units[number]
            outcome = await make_unit(rows, own, recipe, reworder=reworder and reworder.another())
            facts = {"judgement": 0, **timings(own, started)}
            return await commit_rows(number, keys[number], rows, outcome, recipe, fingerprints, store, facts)

        started = time.monotonic()
        made, deferred = await make_units(todo, plan, make, recipe.resources.units_in_flight, progress)
        work_s = time.monotonic() - started if todo else 0.0
        licences = await engines.call("voices", "licences")
    # In plan order, whichever unit was done first: sums and the card follow from it.
    finished = dict(sorted((done | made).items()))
    if len(finished) == len(keys):
        python = platform.python_version()
        made_with = {"fingerprints": fingerprints, "licences": licences, "libraries": versions(), "python": python}
        close(dataclasses.replace(judgement, recipe=recipe, made_with=made_with), plan, finished, store)
    return _summarise(plan, finished, made, deferred, store, work_s)


async def _fingerprints(recipe: Recipe, engines: Engines) -> dict[str, Any]:
    """What every model of a build is, exactly.

    Raises:
        SetupError: engines are missing; every one of them is named.
    """
    calls = [engines.call(stage, "fingerprint") for stage in STAGES]
    found = await asyncio.gather(*calls, return_exceptions=True)
    if missing := [str(error) for error in found if isinstance(error, SetupError)]:
        raise SetupError("\n".join(missing))
    if broken := next((error for error in found if isinstance(error, BaseException)), None):
        raise broken
    voices, hearing, judging, codec = found
    prints = {"codec": codec, "features": hearing, "judges": judging, "voices": voices}
    if recipe.augment is not None:
        # Reads every file of the folders, so one engine does it, once.
        prints["augment"] = await engines.call("voices", "augmentation_fingerprint")
    if recipe.reword is not None:
        prints["reword"] = recipe.reword.fingerprint()
    return prints


def unit_key(rows: list[PlannedRow], recipe: Recipe, fingerprints: Mapping[str, Any], judgement: int = 0) -> str:
    """Hash of everything that a unit's bytes follow from; the number of a judgement stands for its policy."""
    models = commit.json_bytes(fingerprints)
    # A row's id follows from its written form; what is said for it may change with the rules that write it out, and who
    # says and hears it with its language.
    texts = (part for row in rows for part in (row.id, row.pair.language, row.pair.question, row.pair.answer))
    return digest(schema.SCHEMA_VERSION, recipe.unit_identity(), judgement, models, *texts)


async def make_units(
    todo: list[int],
    plan: Plan,
    make: Callable[[int], Awaitable[dict[str, Any]]],
    in_flight: int,
    progress: Reporter,
) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Make units, some at once; those whose machinery fails are left for the next run.

    Args:
        todo: numbers of the units.
        plan: of the dataset.
        make: makes and commits one, and gives its sidecar.
        in_flight: how many at once.
        progress: who is told how far it is.

    Returns:
        Sidecars by number, and why the others were deferred.
    """
    made: dict[int, dict[str, Any]] = {}
    deferred: dict[int, str] = {}
    waiting = iter(todo)

    async def worker() -> None:
        for number in waiting:
            try:
                made[number] = await make(number)
            except EngineError as error:
                deferred[number] = str(error)
                progress.say(f"unit {number} is deferred: {error}")
            rejected = sum(sidecar["rejected"] for sidecar in made.values())
            progress.advance(len(plan.units[number]), f"{rejected} rejected")

    progress.start("rows", plan.rows, plan.rows - sum(len(plan.units[number]) for number in todo))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(worker())
    finally:
        progress.stop()
    return made, deferred


def timings(engines: Engines, started: float) -> dict[str, Any]:
    """Times of a unit, and the processors that it was made on, for its sidecar."""
    return {
        "wall_s": round(time.monotonic() - started, 3),
        "seconds": {stage: round(seconds, 3) for stage, seconds in engines.seconds.items()},
        "instruction_sets": sorted(engines.instruction_sets),
    }


async def commit_rows(
    number: int,
    key: str,
    rows: list[PlannedRow],
    outcome: UnitRows,
    recipe: Recipe,
    fingerprints: Mapping[str, Any],
    store: Store,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Commit what became of a unit's rows, and give its sidecar."""
    width = fingerprints["features"]["width"] if recipe.features.store else None
    tables = {
        "accepted": schema.table(outcome.accepted, schema.row_schema(width, fingerprints)),
        "rejected": schema.table(outcome.rejected, schema.reject_schema(fingerprints)),
        "attempts": schema.table(outcome.attempts, schema.attempt_schema(fingerprints)),
    }
    sidecar_facts = {**outcome.facts, **facts}
    return await asyncio.to_thread(
        commit.commit_unit, store, number, key, rows[0].split, tables, recipe.shards.batch_rows, sidecar_facts
    )


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
        rows_deferred=sum(len(plan.units[number]) for number in deferred),
        work_hours=round(work_s / 3600, 4),
        speech_hours_per_work_hour=round(made_hours / (work_s / 3600), 2) if made else None,
        deferred=list(dict.fromkeys(deferred.values())),
        **totals,
    )
