"""Make the units of a finished dataset again that are wrong, and nothing else."""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

from anytalk.pipelines.concurrency import run_to_end
from anytalk.pipelines.dataset import MANIFEST, Store, judgements
from anytalk.pipelines.plan import load_committed, refuse_derived
from anytalk.pipelines.recipe import Recipe
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.fingerprint import sha256
from anytalk.synth.wording import quantity

from .check import UNLISTED, Report, check, checksum_problems
from .close import CHECKSUMS, REPORT, close
from .part import WHOLE
from .progress import Quiet, Reporter
from .units import Run, Units


def repair(
    dataset: str | Path, *, mixed: bool = False, progress: Reporter | None = None, workers: int | None = None
) -> Report:
    """Check a dataset, and make again what is wrong with it, in this process.

    Units of which a file is missing or damaged are made again with the recipe of the dataset. A unit whose files come
    out as they were keeps its sidecar, so that the dataset is what it was, byte for byte; where a sidecar is lost as
    well, its times are new. Card, manifest and checksums are written anew from the sidecars.

    Args:
        dataset: folder or object-store URL of a finished dataset.
        mixed: make units although the dataset was made with other engines or libraries.
        progress: who is told how far it is.
        workers: processes that check; see `check`.

    Returns:
        The report of a second check; of the first, where nothing was wrong.

    Raises:
        SetupError: there is no finished dataset, its plan is damaged, or an engine is missing or another; nothing was
            deleted.
        EngineError: units could not be made; the same command goes on.
    """
    progress = progress or Quiet()
    found = check(dataset, progress, workers)
    if found.well:
        return found
    store = Store(dataset)
    damaged = {path for path, problem in checksum_problems(store, progress) if problem != UNLISTED}
    if lost := sorted(path for path in damaged if path.startswith(("plan/", "rejects/plan-"))):
        raise SetupError(
            f"{store}/{lost[0]} is not what {CHECKSUMS} says, and cannot be made again: restore it from a copy, "
            "or build into another folder"
        )
    plan, history = load_committed(store), judgements(store)
    refuse_derived(plan, store)
    if MANIFEST not in damaged:
        # Terms of voices may have been added since the plan was made.
        last = Recipe.model_validate(json.loads(store.read(MANIFEST))["recipe"])
        history[-1] = dataclasses.replace(history[-1], recipe=last)
    last_units = Units(store, plan, history[-1])
    wrong = [number for number in found.units if not _is_whole(last_units, number, damaged)]
    for judgement in history if wrong else []:
        # What a judgement makes of a unit follows from what the one before made of it.
        units = Units(store, plan, judgement)
        anew = {
            number: None if path in damaged else store.read(path)
            for number in wrong
            if judgement is history[-1] and store.exists(path := units.paths[number])
        }
        _, deferred, _ = run_to_end(units.make(wrong, anew, Run(WHOLE, progress, local=True, mixed=mixed)))
        if deferred:
            why = next(iter(deferred.values()))
            raise EngineError(f"{quantity(len(deferred), 'unit')} of {store} could not be made again: {why}")
    for number in wrong:
        progress.say(f"unit {number} was made again")
    close(history[-1], plan, last_units.committed(), store)
    if wrong and store.exists(REPORT):
        from .report import report  # It imports codecs, which nothing else here needs.

        report(str(store), progress=progress)
    return check(dataset, progress, workers)


def _is_whole(units: Units, number: int, damaged: Collection[str]) -> bool:
    """Whether a unit's files are those that its sidecar names: what is wrong may be the list of checksums."""
    store, path = units.store, units.paths[number]
    if path in damaged or not store.exists(path):
        return False
    files = {file["path"]: file["sha256"] for file in json.loads(store.read(path))["files"]}
    return all(store.exists(name) and sha256(store.read(name)) == files[name] for name in files)
