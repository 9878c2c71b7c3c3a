"""Export a dataset to another tool's format: a part at a time, resumable, with a card and a count of what was left out.

`export/request.json` says what an unfinished export is of, and `export/PART.json` that a part is written whole. What is
interrupted goes on with the parts that are missing. When all are there, the card and `export.json` are written, and
the folder `export` goes.
"""

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from anytalk.pipelines.close import CARD, CHECKSUMS, MANIFEST
from anytalk.pipelines.dataset import SIDES, Store, commit, is_dataset, opened, tally
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.synth.errors import SetupError, near_matches
from anytalk.synth.fingerprint import sha256

from .card import export_card
from .format import Format, Part, Row, Source

REQUEST = "export/request.json"
RESULT = "export.json"
LEFT_OUT = "left_out.jsonl"
PART_ROWS = 500
"""Rows of a part by default: below 200 MB of FLAC, for answers of up to 15 seconds."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """What an export came to."""

    out: str
    format: str
    rows: int
    left_out: dict[str, int]
    """Rows that do not fit, by reason; `left_out.jsonl` names them."""
    splits: dict[str, int]
    """Rows written, by split."""
    files: int
    bytes: int
    parts_kept: int
    """Parts that an earlier run had written."""


def export(
    dataset: str | Path,
    form: Format,
    out: str | Path,
    *,
    splits: Sequence[str] = (),
    part_rows: int = PART_ROWS,
    progress: Reporter | None = None,
) -> Exported:
    """Write a finished dataset in another tool's format.

    Args:
        dataset: folder or object-store URL of a finished dataset.
        form: the format with its options.
        out: folder or URL; an export that was interrupted there goes on.
        splits: which splits; all by default.
        part_rows: rows of a part, a few more or less: a work unit is never divided.
        progress: who is told how far it is.

    Raises:
        SetupError: there is no such dataset or split, the format cannot hold it, or something else is in `out`.
    """
    source, progress = _source(dataset), progress or Quiet()
    parts = _parts(source, splits, part_rows)
    form.prepare(source)
    target = Store(out)
    request = _request(source, form, parts, part_rows)
    done = _earlier(target, request)
    if done is None:
        done = _write(source, form, parts, request, target, progress)
    return Exported(
        str(target),
        form.name,
        done["rows"],
        done["left_out"],
        done["splits"],
        len(done["files"]),
        sum(file["bytes"] for file in done["files"]),
        done["parts_kept"],
    )


def _source(dataset: str | Path) -> Source:
    store = opened(str(dataset))
    sidecars = commit.sidecars(store)
    shards = [file["path"] for sidecar in sidecars.values() for file in sidecar["files"]]
    first = next((path for path in shards if path.startswith("shards/")), None)
    if first is None:
        raise SetupError(f"{store} has no accepted rows to export")
    schema = pa.ipc.open_file(pa.BufferReader(store.read(first))).schema
    return Source(store, json.loads(store.read(MANIFEST)), schema)


def _parts(source: Source, splits: Sequence[str], part_rows: int) -> list[Part]:
    """Whole units, in plan order, in parts of about so many rows."""
    known = [split for split, rows in source.manifest["splits"].items() if rows]
    for split in splits:
        if split not in known:
            raise SetupError(f"{source.store} has no split {split!r}{near_matches(split, known)}")
    runs: dict[str, list[list[Mapping[str, Any]]]] = {split: [] for split in known if not splits or split in splits}
    for sidecar in commit.sidecars(source.store).values():
        if (runs_of := runs.get(sidecar["split"])) is None:
            continue
        if not runs_of or sum(one["accepted"] for one in runs_of[-1]) >= part_rows:
            runs_of.append([])
        runs_of[-1].append(sidecar)
    return [
        Part(split, number, len(found), tuple(run)) for split, found in runs.items() for number, run in enumerate(found)
    ]


def _request(source: Source, form: Format, parts: Sequence[Part], part_rows: int) -> dict[str, Any]:
    """All that the bytes of an export follow from, for whoever goes on with it."""
    options = dataclasses.asdict(form)  # type: ignore[call-overload]
    found = {
        "format": form.name,
        "options": options,
        "dataset": source.manifest["recipe"]["name"],
        "dataset_sha256": sha256(source.store.read(CHECKSUMS)),
        "splits": list(dict.fromkeys(part.split for part in parts)),
        "part_rows": part_rows,
    }
    # As it will be read back.
    kept: dict[str, Any] = json.loads(commit.json_bytes(found))
    return kept


def _earlier(target: Store, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a finished export of the same says; None where there is something to do.

    Raises:
        SetupError: something else is there.
    """
    for path in (RESULT, REQUEST):
        if target.exists(path):
            found: dict[str, Any] = json.loads(target.read(path))
            theirs = found["request"] if path == RESULT else found
            if told := [key for key in request if theirs.get(key) != request[key]]:
                raise SetupError(
                    f"{target} holds an export with other {', '.join(told)}: name another folder, or delete that one"
                )
            return found | {"parts_kept": len(found["parts"])} if path == RESULT else None
    if is_dataset(target) or target.files():
        raise SetupError(f"{target} is not empty, and holds no export: name another folder")
    return None


def _write(
    source: Source, form: Format, parts: Sequence[Part], request: dict[str, Any], target: Store, progress: Reporter
) -> dict[str, Any]:
    target.create(REQUEST, commit.json_bytes(request))
    written: list[dict[str, Any]] = []
    kept = [part for part in parts if target.exists(_mark(part))]
    progress.start("rows", sum(part.rows for part in parts), sum(part.rows for part in kept))
    try:
        for part in parts:
            if part not in kept:
                _write_part(source, form, part, target)
                progress.advance(part.rows)
            written.append(json.loads(target.read(_mark(part))))
    finally:
        progress.stop()
    return _close(source, form, parts, written, request, target) | {"parts_kept": len(kept)}


def _mark(part: Part) -> str:
    """The file that says that a part is written."""
    return f"export/{part.name}.json"


def _write_part(source: Source, form: Format, part: Part, target: Store) -> None:
    left_out: list[dict[str, str]] = []

    def leave_out(row: Row, reason: str, detail: str) -> None:
        left_out.append({"id": row["id"], "split": part.split, "reason": reason, "detail": detail})

    files = _put(form.files(part, source, leave_out), target)
    facts = {"rows": part.rows - len(left_out), "left_out": left_out, "files": files}
    target.write(_mark(part), commit.json_bytes(facts))


def _put(files: Iterator[tuple[str, bytes]], target: Store) -> list[dict[str, Any]]:
    found = []
    for path, content in files:
        target.write(path, content)
        found.append({"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    return found


def _close(
    source: Source,
    form: Format,
    parts: Sequence[Part],
    written: Sequence[dict[str, Any]],
    request: dict[str, Any],
    target: Store,
) -> dict[str, Any]:
    """Write the card and what belongs to the whole, then the manifest; only then forget the marks of parts."""
    left_out = [one for facts in written for one in facts["left_out"]]
    splits: Counter[str] = Counter()
    for part, facts in zip(parts, written, strict=True):
        splits[part.split] += facts["rows"]
    result = {
        "request": request,
        "rows": splits.total(),
        "splits": dict(splits),
        "left_out": tally.counted(one["reason"] for one in left_out),
        "parts": [part.name for part in parts],
        "licences": source.manifest["licences"],
        "fingerprints": {name: source.manifest["fingerprints"].get(name) for name in ("codec", "features")},
        "gates": {side: source.manifest["gates"][side] for side in SIDES},
        "recipe": source.manifest["recipe"],
    }
    # What is in the folder `export` goes with it.
    files = [file for facts in written for file in facts["files"] if not file["path"].startswith("export/")]
    files += _put(form.closing(parts, target), target)
    if left_out:
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in left_out)
        files += _put(iter([(LEFT_OUT, lines.encode())]), target)
    files += _put(iter([(CARD, export_card(form, result, source.manifest).encode())]), target)
    result["files"] = files
    target.write(RESULT, commit.json_bytes(result))
    for path in target.files("export"):
        target.delete(path)
    if target.local:
        shutil.rmtree(target.full("export"), ignore_errors=True)
    return result
