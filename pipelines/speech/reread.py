"""Read every attempt at a unit's rows back from what was committed of it, with the verdicts of another policy."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from anytalk.pipelines.dataset import SIDES, Store, matrix
from anytalk.pipelines.plan import PlannedRow
from anytalk.pipelines.recipe import Recipe
from anytalk.synth.errors import EngineError
from anytalk.synth.fingerprint import sha256

from .attempts import Attempt, Attempts, read_back, read_change, read_chosen


def read_unit(
    store: Store, sidecar: Mapping[str, Any], rows: Sequence[PlannedRow], recipe: Recipe
) -> tuple[dict[str, Attempts], set[str]]:
    """Read every attempt at a unit's rows back, with the verdicts of a recipe, and the ids of the accepted rows.

    Raises:
        EngineError: a file is damaged or gone.
    """
    tables = {file["path"].partition("/")[0]: _table(store, file) for file in sidecar["files"]}
    stored = {
        row["id"]: row["attempts"]
        for folder in ("rejects", "attempts")
        if folder in tables
        for row in tables[folder].select(["id", "attempts"]).to_pylist()
    }
    accepted = _accepted_rows(tables["shards"]) if "shards" in tables else {}
    attempts: dict[str, Attempts] = {}
    for row in rows:
        made: dict[Any, list[Attempt]] = {side: [] for side in SIDES}
        for values in stored.get(row.id, []):
            made[values["side"]].append(read_back(values, row))
        if row.id in accepted and (change := read_change(accepted[row.id])):
            place = next(place for place, attempt in enumerate(made["question"]) if attempt.reason is None)
            made["question"][place] = dataclasses.replace(made["question"][place], change=change)
        for side in SIDES:
            if row.id in accepted and (chosen := read_chosen(accepted[row.id], side, row, made[side])):
                made[side].append(chosen)
            policy = getattr(recipe.check, side)
            made[side] = [attempt.judged(policy) for attempt in sorted(made[side], key=lambda attempt: attempt.number)]
        attempts[row.id] = made
    return attempts, set(accepted)


def moved(before: set[str], now: set[str]) -> dict[str, int]:
    """Count rows that were rejected before and are accepted now, and the other way round, by ids of accepted ones."""
    return {"came_back": len(now - before), "went_out": len(before - now)}


def _table(store: Store, file: Mapping[str, Any]) -> pa.Table:
    try:
        content = store.read(file["path"])
    except FileNotFoundError as error:
        raise EngineError(f"{store}/{file['path']} is gone; somebody else may have judged the dataset") from error
    if sha256(content) != file["sha256"]:
        raise EngineError(f"{store}/{file['path']} is damaged: its SHA-256 is not the one in its sidecar")
    return pa.ipc.open_file(content).read_all()


def _accepted_rows(shard: pa.Table) -> dict[str, dict[str, Any]]:
    matrices = [name for name in ("question_features", "answer_codes") if name in shard.column_names]
    rows = shard.drop_columns(matrices).to_pylist()
    return {row["id"]: row | {name: matrix(shard[name], index) for name in matrices} for index, row in enumerate(rows)}
