"""Read every attempt at a unit's rows back from what was committed of it, with the verdicts of another policy.

Verdicts follow from texts and numbers, which are a few percent of a dataset. Sound, features and codes are read where a
row is to be written anew, and nowhere else.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from anytalk.pipelines.dataset import CODE_LAYERS, SIDES, Store, commit, matrix
from anytalk.pipelines.plan import PlannedRow
from anytalk.pipelines.recipe import Recipe
from anytalk.synth.errors import EngineError
from anytalk.synth.fingerprint import sha256

from .attempts import Attempt, Attempts, RowAttempts, read_back, read_change, read_chosen

EVERY = tuple(commit.FOLDERS.values())
"""Folders of a unit's files."""

HEAVY = ("question_audio", "answer_audio", "question_features", "answer_codes")
"""Columns of a shard that no verdict follows from, and that are nearly all of it."""

UNREAD = b""
"""In place of sound that is there and was not read."""

UNREAD_MATRIX = np.zeros((0, CODE_LAYERS), np.uint16)
"""In place of features and codes that are there and were not read."""


class Reread(NamedTuple):
    """What is stored of a unit, judged by a policy."""

    rows: list[RowAttempts]
    accepted: set[str]
    """Ids of the rows that are accepted as yet."""
    same: set[str]
    """Folders of which the unit's file would be written as it is."""


def reread(
    store: Store,
    sidecar: Mapping[str, Any],
    rows: Sequence[PlannedRow],
    recipe: Recipe,
    in_full: Collection[str] = EVERY,
) -> Reread:
    """Read a unit back, and judge every attempt at its rows.

    Args:
        store: the dataset.
        sidecar: of the unit.
        rows: of the unit, as they were planned.
        recipe: its policy judges.
        in_full: folders whose files are read whole, and compared with their SHA-256. Of the others neither sound nor
            features nor codes are read; `UNREAD` and `UNREAD_MATRIX` stand in their place.

    Raises:
        EngineError: a file is damaged or gone.
    """
    shard: dict[str, dict[str, Any]] = {}
    stored: dict[str, dict[str, Any]] = {}
    for file in sidecar["files"]:
        folder = file["path"].partition("/")[0]
        read = (_shard_rows if folder in in_full else _brief_shard_rows) if folder == "shards" else None
        read = read or (_stored_rows if folder in in_full else _brief_stored_rows)
        (shard if folder == "shards" else stored).update((row["id"], row) for row in read(store, file))
    judged = [_judged(row, shard.get(row.id), stored.get(row.id), recipe) for row in rows]
    return Reread(judged, set(shard), _same(judged, shard, stored))


def read_unit(
    store: Store, sidecar: Mapping[str, Any], rows: Sequence[PlannedRow], recipe: Recipe
) -> tuple[dict[str, Attempts], set[str]]:
    """Read every attempt at a unit's rows back in full, and the ids of the accepted rows; see `reread`."""
    found = reread(store, sidecar, rows, recipe)
    return {attempted.row.id: attempted.attempts for attempted in found.rows}, found.accepted


def moved(before: set[str], now: set[str]) -> dict[str, int]:
    """Count rows that were rejected before and are accepted now, and the other way round, by ids of accepted ones."""
    return {"came_back": len(now - before), "went_out": len(before - now)}


def _judged(
    row: PlannedRow, accepted: Mapping[str, Any] | None, stored: Mapping[str, Any] | None, recipe: Recipe
) -> RowAttempts:
    """The attempts at one row, from what is stored of it."""
    made: dict[Any, list[Attempt]] = {side: [] for side in SIDES}
    for values in stored["attempts"] if stored else ():
        made[values["side"]].append(read_back(values, row))
    if accepted is not None and (change := read_change(accepted)):
        place = next(place for place, attempt in enumerate(made["question"]) if attempt.reason is None)
        made["question"][place] = dataclasses.replace(made["question"][place], change=change, is_held=True)
    for side in SIDES:
        if accepted is not None and (chosen := read_chosen(accepted, side, row, made[side])):
            made[side].append(chosen)
        policy = getattr(recipe.check, side)
        made[side] = [attempt.judged(policy) for attempt in sorted(made[side], key=lambda attempt: attempt.number)]
    return RowAttempts(row, made, recipe.check)


def _same(
    rows: Iterable[RowAttempts], shard: Mapping[str, Mapping[str, Any]], stored: Mapping[str, Mapping[str, Any]]
) -> set[str]:
    """Folders of which no row changes."""
    same = set(EVERY)
    for attempted in rows:
        name = attempted.row.id
        chosen = [attempt for side in SIDES if (attempt := attempted.chosen(side)) is not None]
        accepted = attempted.failed_side is None
        if accepted != (name in shard) or (accepted and not all(attempt.is_held for attempt in chosen)):
            return set()
        if name not in stored:
            continue
        before = {(one["side"], one["attempt"]): (one["reason"], one["detail"]) for one in stored[name]["attempts"]}
        now = {(side, one.number): (one.reason, one.detail) for side in SIDES for one in attempted.attempts[side]}
        told = () if accepted else (attempted.reason, attempted.detail)
        was = () if accepted else (stored[name]["reason"], stored[name]["detail"])
        if told != was or any(now[key] != verdict for key, verdict in before.items()):
            same.discard("attempts" if accepted else "rejects")
    return same


def _shard_rows(store: Store, file: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Accepted rows, whole."""
    shard = _table(store, file)
    matrices = [name for name in ("question_features", "answer_codes") if name in shard.column_names]
    for index, row in enumerate(shard.drop_columns(matrices).to_pylist()):
        yield row | {name: matrix(shard[name], index) for name in matrices}


def _brief_shard_rows(store: Store, file: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Accepted rows without what is heavy."""

    def read(opened: Any) -> tuple[list[str], list[dict[str, Any]]]:
        names = pa.ipc.open_file(opened).schema.names
        fields = [place for place, name in enumerate(names) if name not in HEAVY]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        return names, pa.ipc.open_file(opened, options=options).read_all().to_pylist()

    names, rows = _looked(store, file, read)
    for row in rows:
        heard = {f"{side}_audio": {"bytes": UNREAD} if row[f"{side}_samples"] is not None else None for side in SIDES}
        codes = None if row["answer_samples"] is None else UNREAD_MATRIX
        features = UNREAD_MATRIX if "question_features" in names else None
        yield row | heard | {"answer_codes": codes, "question_features": features}


def _stored_rows(store: Store, file: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rejected rows, or further attempts at accepted ones, whole."""
    table = _table(store, file)
    yield from table.select([name for name in STORED if name in table.column_names]).to_pylist()


STORED = ("id", "reason", "detail", "attempts")


def _brief_stored_rows(store: Store, file: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rejected rows, or further attempts at accepted ones, without sound and codes."""

    def read(opened: Any) -> list[dict[str, Any]]:
        reader = pa.ipc.open_file(opened)
        batches = map(reader.get_batch, range(reader.num_record_batches))
        return [row for batch in batches for row in _brief_stored(batch)]

    yield from _looked(store, file, read)


def _brief_stored(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    column = batch.column("attempts")
    made = column.flatten()
    light = [field.name for field in made.type if field.name not in ("audio", "codes")]
    attempts = pa.StructArray.from_arrays([made.field(name) for name in light], light).to_pylist()
    audio, codes = (made.field(name).is_valid().to_pylist() for name in ("audio", "codes"))
    for attempt, is_heard, is_coded in zip(attempts, audio, codes, strict=True):
        attempt["audio"] = {"bytes": UNREAD} if is_heard else None
        attempt["codes"] = UNREAD_MATRIX if is_coded else None
    left = iter(attempts)
    rows = batch.select([name for name in STORED[:-1] if name in batch.schema.names]).to_pylist()
    for row, count in zip(rows, column.value_lengths().to_pylist(), strict=True):
        yield row | {"attempts": [next(left) for _ in range(count or 0)]}


def _looked(store: Store, file: Mapping[str, Any], read: Any) -> Any:
    try:
        return store.look(file["path"], read)
    except FileNotFoundError as error:
        raise EngineError(_gone(store, file)) from error
    except (pa.ArrowException, OSError) as error:
        raise EngineError(f"{store}/{file['path']} is damaged: {error}") from error


def _table(store: Store, file: Mapping[str, Any]) -> pa.Table:
    try:
        content = store.read(file["path"])
    except FileNotFoundError as error:
        raise EngineError(_gone(store, file)) from error
    if sha256(content) != file["sha256"]:
        raise EngineError(f"{store}/{file['path']} is damaged: its SHA-256 is not the one in its sidecar")
    return pa.ipc.open_file(content).read_all()


def _gone(store: Store, file: Mapping[str, Any]) -> str:
    return f"{store}/{file['path']} is gone; somebody else may have judged the dataset"
