"""Write a dataset of rows of others: units, plan, card, manifest and checksums."""

import dataclasses
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from anytalk.pipelines.close import CHECKSUMS, close
from anytalk.pipelines.dataset import (
    MANIFEST,
    PLAN,
    RATES_HZ,
    Judgement,
    Sidecars,
    Store,
    commit,
    made_with,
    schema,
    tally,
)
from anytalk.pipelines.plan import PLAN_SCHEMA, PLAN_SCHEMA_WITH_SPEAKERS, PlannedRow, load_committed, row_values
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.speech import STAGES, RowAttempts, facts_of, read_unit
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256
from anytalk.synth.seed import digest

from .input import Input

REQUEST = "plan/derived.json"
"""Says what an unfinished derived dataset is of; the plan takes its place."""


@dataclasses.dataclass(frozen=True)
class Derived:
    """What a derived dataset came to."""

    dataset: str
    rows: int
    splits: dict[str, int]
    left_out: int
    """Accepted rows that do not meet the condition, or that an earlier dataset of a merge has."""


def derive(
    inputs: Sequence[Input],
    kept: Callable[[int, int], Collection[str]],
    how: dict[str, Any],
    out: str | Path,
    progress: Reporter,
) -> Derived:
    """Write it all; `kept` gives the ids of the rows that stay, by the numbers of an input and of a unit of it."""
    provenance = {
        **how,
        "from": [one.told() for one in inputs],
        "seeds": sorted({seed for one in inputs for seed in one.seeds}),
    }
    target = Store(out)
    if finished := _claim(target, provenance):
        return finished
    numbers = _announce(inputs, target)
    rows: list[PlannedRow] = []
    sidecars = Sidecars()
    progress.start("units", sum(len(one.plan.units) for one in inputs))
    try:
        for place, one in enumerate(inputs):
            for number in one.sidecars:
                planned = one.plan.units[number]
                ids = set(kept(place, number))
                stay = [row for row in planned if row.id in ids]
                if stay:
                    unit = len(sidecars)
                    sidecars[unit] = _unit(one, number, planned, stay, unit, numbers[place], target)
                    rows += [_moved(row, unit, one.store) for row in stay]
                progress.advance(1)
    finally:
        progress.stop()
    if not rows:
        for path in target.files():
            target.delete(path)
        raise SetupError(f"no row of {inputs[0].store} is left: {how.get('where', 'there is none')}")
    _plan(inputs, rows, provenance, target)
    close(Judgement(0, inputs[0].judgement.recipe, True), load_committed(target), sidecars, target)
    return _summary(target)


def _claim(target: Store, provenance: Mapping[str, Any]) -> Derived | None:
    """See that the folder is empty, or holds a beginning of the same; what is finished is told again."""
    request = commit.json_bytes(provenance)
    if target.exists(PLAN):
        same = json.loads(target.read(PLAN)).get("derived") == json.loads(request)
        if same and target.exists(CHECKSUMS):
            return _summary(target)
    else:
        same = not target.files() or (target.exists(REQUEST) and target.read(REQUEST) == request)
    if not same:
        raise SetupError(f"{target} is not empty, and holds something else; name another folder")
    target.write(REQUEST, request)
    return None


def _announce(inputs: Sequence[Input], target: Store) -> list[dict[int, int]]:
    """Announce what units were made with; of each input, the new number of each of its versions."""
    known: list[dict[str, Any]] = []
    numbers: list[dict[int, int]] = []
    for one in inputs:
        numbers.append({})
        for number, entry in sorted(one.versions.items()):
            place = next((at for at, other in enumerate(known) if other["made_with"] == entry["made_with"]), None)
            if place is None:
                place = len(known)
                known.append({"made_with": entry["made_with"], "licences": dict(one.manifest["licences"])})
            known[place]["licences"] = {**one.manifest["licences"], **known[place]["licences"]}
            numbers[-1][number] = place
    for place, entry in enumerate(known):
        target.write(made_with.path_of(place), commit.json_bytes(entry))
    return numbers


def _unit(
    one: Input,
    number: int,
    planned: Sequence[PlannedRow],
    stay: Sequence[PlannedRow],
    unit: int,
    versions: Mapping[int, int],
    target: Store,
) -> dict[str, Any]:
    """Write a unit with the rows that stay, and its sidecar."""
    before, whole = one.sidecars[number], len(stay) == len(planned)
    files = list(_files(one, number, None if whole else {row.id for row in stay}, unit, target))
    facts = {
        key: value for key, value in before.items() if key not in ("unit", "key", "files", "judgement", "made_with")
    }
    if not whole:
        facts |= _facts(one, number, stay)
    sidecar = {
        "unit": unit,
        "key": digest("derived", before["key"], *(row.id for row in stay)),
        "files": files,
        **facts,
        "judgement": 0,
        "made_with": [versions[version] for version in before["made_with"]],
        # Nothing was spoken for this dataset.
        "wall_s": 0.0,
        "seconds": dict.fromkeys(STAGES, 0.0),
    }
    target.write(commit.sidecar_path(unit, sidecar["key"]), commit.json_bytes(sidecar))
    return sidecar


def _files(one: Input, number: int, ids: Collection[str] | None, unit: int, target: Store) -> Iterator[dict[str, Any]]:
    """Copy the files of a unit, or of them the rows of these ids."""
    split = one.sidecars[number]["split"]
    for file in one.sidecars[number]["files"]:
        folder = file["path"].partition("/")[0]
        content, rows = one.store.read(file["path"]), file["rows"]
        if ids is not None:
            table = pa.ipc.open_file(io.BytesIO(content)).read_all()
            kept = [place for place, name in enumerate(table["id"].to_pylist()) if name in ids]
            table = table.take(pa.array(kept, pa.int64()))
            content, rows = commit.arrow_bytes(table, one.judgement.recipe.shards.batch_rows), table.num_rows
            if not rows:
                continue
        path = f"{folder}/{split if folder == 'shards' else 'unit'}-{unit:06d}-{sha256(content)[:16]}.arrow"
        target.write(path, content)
        yield {"path": path, "sha256": sha256(content), "bytes": len(content), "rows": rows}


def _facts(one: Input, number: int, stay: Sequence[PlannedRow]) -> dict[str, Any]:
    """Count the rows of a unit that stay, as its sidecar does."""
    recipe = one.judgement.recipe
    attempts, accepted = read_unit(one.store, one.sidecars[number], stay, recipe)
    facts = facts_of([RowAttempts(row, attempts[row.id], recipe.check) for row in stay])
    seconds = 0.0
    if "shards" in (tables := one.tables(number)):
        lengths = tables["shards"].select(["id", *(f"{side}_samples" for side in RATES_HZ)]).to_pylist()
        stays = {row.id for row in stay} & accepted
        for row in lengths:
            if row["id"] in stays:
                seconds += sum((row[f"{side}_samples"] or 0) / rate_hz for side, rate_hz in RATES_HZ.items())
    return facts | {"speech_s": round(seconds, 3)}


def _moved(row: PlannedRow, unit: int, store: Store) -> PlannedRow:
    """A planned row in its new unit; recordings that its dataset keeps are named within that."""
    changes = {}
    for side in ("question_recording", "answer_recording"):
        recording = getattr(row.pair, side)
        if recording is not None and recording.row is not None:
            changes[side] = dataclasses.replace(recording, path=recording.path.removeprefix(f"{store}/"))
    return dataclasses.replace(row, unit=unit, pair=dataclasses.replace(row.pair, **changes))


def _plan(inputs: Sequence[Input], rows: Sequence[PlannedRow], provenance: dict[str, Any], target: Store) -> None:
    """Commit the plan; a merge keeps what the plans of its datasets rejected."""
    # Shards keep their columns for speakers, though the rows that name one may be gone.
    wanted = PLAN_SCHEMA_WITH_SPEAKERS if any(one.plan.names_speakers for one in inputs) else PLAN_SCHEMA
    content = commit.arrow_bytes(schema.table([*map(row_values, rows)], wanted), batch_rows=1024)
    files = {f"plan/plan-{sha256(content)[:16]}.arrow": sha256(content)}
    target.write(next(iter(files)), content)
    rejecting = inputs if provenance["by"] == "merge" else ()
    for one in rejecting:
        for path, checksum in one.plan.files.items():
            if path.startswith("rejects/"):
                target.write(path, one.store.read(path))
                files[path] = checksum
    announcement = {
        "recipe": inputs[0].judgement.recipe.model_dump(mode="json", exclude={"resources"}),
        # No source has this stamp: a build of the recipe does not take this plan for its own.
        "stamp": [["derived", 0, 0]],
        "files": files,
        "rows": len(rows),
        "rejected": sum(one.plan.rejected for one in rejecting),
        "reasons": tally.commonest_first(tally.added(one.plan.reasons for one in rejecting)),
        "asked": [cost for one in inputs for cost in one.plan.costs],
        "libraries": inputs[0].plan.libraries,
        "derived": provenance,
    }
    target.write(PLAN, commit.json_bytes(announcement))


def _summary(target: Store) -> Derived:
    manifest = json.loads(target.read(MANIFEST))
    before = sum(one["rows"] for one in manifest["derived"]["from"])
    return Derived(str(target), manifest["rows_accepted"], manifest["splits"], before - manifest["rows_accepted"])
