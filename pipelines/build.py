"""Build a dataset: plan it, make its units, and close it with a manifest."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anytalk.pipelines.concurrency import run_to_end
from anytalk.pipelines.dataset import PLAN, Sidecars, Store, current_judgement, made_with
from anytalk.pipelines.plan import Ahead, GrowingPlan, Plan
from anytalk.pipelines.recipe import Recipe, both_sides, load_recipe, resolve
from anytalk.synth.device import release_memory
from anytalk.synth.errors import SetupError

from .close import CHECKSUMS, MANIFEST, REPORT, close, stored_recipe, totals_of
from .part import WHOLE, part_of
from .progress import Quiet, Reporter
from .units import Run, Units


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
    units: int
    units_there: int
    """Of the whole dataset, whoever made them."""
    whole_plan: bool = True
    """Whether all that a language model is asked for is planned."""
    part: str | None = None
    """The part that this run made; None for all."""
    other_versions: str | None = None
    """What a dataset that was complete already was made with otherwise than is installed."""

    @property
    def complete(self) -> bool:
        """Whether every planned row has been accepted or rejected."""
        return self.whole_plan and self.units_there == self.units

    @property
    def part_done(self) -> bool:
        """Whether this run has nothing left to make; what is missing is other parts'."""
        return self.part is not None and not self.deferred

    @property
    def well(self) -> bool:
        """Whether the build is complete and some row was accepted, or this part of it is done and others are not."""
        return self.rows_accepted > 0 if self.complete else self.part_done


def build(
    recipe: str | Path | Recipe,
    out: str | Path,
    *,
    local: bool = False,
    part: str | None = None,
    mixed: bool = False,
    progress: Reporter | None = None,
    **overrides: object,
) -> Summary:
    """Build the dataset of a recipe, or go on with one.

    Args:
        recipe: a YAML file, or a recipe that was loaded already.
        out: folder or object-store URL; if it holds a part of this very dataset, only what is missing is made.
        local: run the engines in this process; else as Ray actors. The bytes are the same.
        part: `3/16` to make every 16th unit, from the third, in this process; whoever finds all there closes the
            dataset. None for all units.
        mixed: make units although those that are there were made with other engines or libraries.
        progress: who is told how far it is.
        overrides: recipe values by dotted key: `build("r.yaml", "out", **{"voices.variants": 2})`.

    Raises:
        SetupError: the recipe, the source, the folder or an engine is not in order, or units were made with other
            engines or libraries; nothing was made.
        EngineError: the source broke off or was not had whole, so that there is no whole plan yet; what is planned was
            made, and the same call goes on.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    share = WHOLE if part is None else part_of(part)
    store, progress = Store(out), progress or Quiet()
    try:
        # Of several machines one asks language models: every other would pay for the same answers.
        asked_elsewhere = share.number > 1 and bool(loaded.planning_models())
        if asked_elsewhere and not store.exists(PLAN):
            raise SetupError(
                f"{store} has no plan yet, and planning asks a language model: start part 1/{share.of} first, "
                f"and the others when {PLAN} is there"
            )
        growing = GrowingPlan(loaded, store, progress)
        with contextlib.closing(growing.parts()) as parts:
            plan = next(parts)
            units = Units(store, plan, dataclasses.replace(current_judgement(store), recipe=loaded))
            run = Run(share, progress, local=local or part is not None, mixed=mixed)
            if plan.is_whole or asked_elsewhere:
                return _build(units, run)
            if any(model.vllm for model in loaded.planning_models()):
                return _build(units, run, turns=parts)
            with Ahead(growing, parts, progress) as ahead:
                return _build(units, run, ahead=ahead)
    finally:
        progress.stop()


def recipe_of(dataset: str | Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """The recipe that a dataset is built by, finished or not, with values overridden.

    Raises:
        SetupError: there is no dataset, another version of anytalk planned it, or a value is not in order.
    """
    store = Store(dataset)
    if not store.exists(PLAN):
        raise SetupError(f"{store} holds no anytalk dataset")
    tree = current_judgement(store).recipe.model_dump(mode="json")
    return resolve(tree, f"of {store}", Recipe, both_sides(overrides))


def _build(units: Units, run: Run, *, ahead: Ahead | None = None, turns: Iterator[Plan] | None = None) -> Summary:
    """Make what is missing of a share, and close the dataset when all is there. If all is, no engine is loaded.

    Args:
        units: of the dataset.
        run: which of them are made, and how.
        ahead: the rest of the plan, which is made beside the units.
        turns: the rest of the plan, whose parts are made in turn with their units, as vLLM inside the cluster takes the
            place of the engines.
    """
    store, judgement, share, progress = units.store, units.judgement, run.share, run.progress
    there = units.committed()
    torn = units.torn(there)
    todo = [number for number in share.units(len(units)) if number not in there or number in torn]
    if not todo and ahead is not None:
        todo = run_to_end(units.further(ahead, share))
    if judgement.number and (todo or not store.exists(CHECKSUMS)):
        raise SetupError(f"{store} was being judged when that was interrupted; first run: anytalk judge {store}")
    made, deferred, work_s = Sidecars(), dict[int, str](), 0.0
    anew = {number: store.read(units.paths[number]) for number in todo if number in there}
    for number in anew:
        progress.say(f"unit {number} is made anew: a file of it is missing or not as long as it was")
    while True:
        if todo:
            new, failed, spent_s = run_to_end(units.make(todo, anew, run, ahead))
            made, deferred, work_s = made | new, deferred | failed, work_s + spent_s
            if (failed and not new) or units.is_over():
                break
        if turns is None:
            break
        first = len(units)
        release_memory()
        if (more := next(turns, None)) is None:
            break
        units.grow(more)
        todo = [number for number in share.units(len(units)) if number >= first]
    if made or deferred:
        # Others may have made theirs meanwhile.
        there = units.committed(there | made)
        torn = units.torn(there)
    whole = there.only(there.keys() - torn) if torn else there
    if ahead is not None:
        ahead.refuse_broken()
    plan = units.plan
    complete = plan.is_whole and len(whole) == len(units)
    if complete and (made or not _is_closed(units)):
        close(judgement, plan, whole, store)
        store.delete(REPORT)  # It was of what the dataset was before.
    if complete and judgement.recipe.report and not store.exists(REPORT):
        from .report import report  # It imports codecs, which nothing else here needs.

        report(str(store), progress=progress)
    summary = _summarise(plan, whole, made, deferred, store, work_s)
    part = None if share == WHOLE else str(share)
    others = _other_versions(store, judgement.recipe) if complete and not made else None
    return dataclasses.replace(summary, part=part, other_versions=others)


def _is_closed(units: Units) -> bool:
    """Whether the manifest is there, and says what it would say now."""
    if not (units.store.exists(CHECKSUMS) and units.store.exists(MANIFEST)):
        return False
    try:
        manifest = json.loads(units.store.read(MANIFEST))
        told = (manifest["recipe"], manifest["judgement"])
    except (ValueError, KeyError):
        return False
    return bool(told == (stored_recipe(units.judgement.recipe), units.judgement.number))


def _other_versions(store: Store, recipe: Recipe) -> str | None:
    """What a finished dataset was made with otherwise than is installed here; None for nothing. Loads no engine."""
    here = {"libraries": made_with.libraries_of(recipe), "python": made_with.python_version()}
    known = [entry["made_with"] for _, entry in sorted(made_with.announced(store).items())]
    told = [made_with.told_apart({name: one[name] for name in here}, here) for one in known]
    return next((f"{theirs}; this is {ours}" for theirs, ours in told if theirs != ours), None)


def _summarise(
    plan: Plan,
    finished: Mapping[int, dict[str, Any]],
    made: Mapping[int, dict[str, Any]],
    deferred: Mapping[int, str],
    store: Store,
    work_s: float,
) -> Summary:
    missing = [] if plan.is_whole else [f"{len(plan.parts)} of {plan.parts_in_all} parts of the plan are there"]
    totals = totals_of(plan, finished)
    made_hours = sum(sidecar["speech_s"] for sidecar in made.values()) / 3600
    return Summary(
        dataset=str(store),
        rows_planned=plan.rows + plan.rejected,
        units=len(plan.units),
        units_there=totals.pop("units"),
        rows_deferred=sum(map(plan.units.size, deferred)),
        work_hours=round(work_s / 3600, 4),
        speech_hours_per_work_hour=round(made_hours / (work_s / 3600), 2) if made else None,
        deferred=[*dict.fromkeys(deferred.values()), *missing],
        whole_plan=plan.is_whole,
        **totals,
    )
