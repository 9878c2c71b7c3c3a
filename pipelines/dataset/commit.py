"""Commit one work unit: a shard, its rejects, attempts beside its rows, and the sidecar that announces them.

Shards are named by the hash of their bytes, so writing one twice does no harm; the sidecar is created exclusively, so
of two workers that did the same unit one is first and the other's work is thrown away. What no sidecar names is
collected at the end; what a sidecar names that is not of this dataset stays, and the dataset is not closed.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256

from .sidecars import Sidecars
from .store import PART, Store

FOLDERS = {"accepted": "shards", "rejected": "rejects", "attempts": "attempts"}
"""Where the files of each outcome live."""


def arrow_bytes(table: pa.Table, batch_rows: int) -> bytes:
    """Write an Arrow IPC file, uncompressed so that it can be memory-mapped.

    The file format, not the stream format: a stream that was cut off reads short without an error.
    """
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return sink.getvalue()


def json_bytes(value: object) -> bytes:
    """JSON for people and programs: indented, keys in their order, a newline at the end."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def sidecar_path(number: int, key: str) -> str:
    """Where the sidecar of a unit lives."""
    return f"units/{number:06d}-{key[:16]}.json"


def commit_unit(
    store: Store,
    number: int,
    key: str,
    split: str,
    tables: Mapping[str, pa.Table],
    batch_rows: int,
    facts: Mapping[str, Any],
    kept: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write a unit's files and announce them.

    Args:
        store: the dataset.
        number: the unit's number in plan order.
        key: hash of everything that the unit's bytes follow from.
        split: the split of all its rows.
        tables: `accepted` and `rejected` rows, and other `attempts` at accepted ones; an empty table writes no file.
        batch_rows: rows of a record batch.
        facts: what else the sidecar says.
        kept: files of an earlier sidecar that stay as they are, by folder; none of these is written.

    Returns:
        The sidecar that counts: this one, or the one of whoever was first.
    """
    files: list[dict[str, Any]] = []
    for outcome, folder in FOLDERS.items():
        if kept and folder in kept:
            files.append(dict(kept[folder]))
            continue
        rows, label = tables[outcome], split if outcome == "accepted" else "unit"
        if not rows.num_rows:
            continue
        content = arrow_bytes(rows, batch_rows)
        path = f"{folder}/{label}-{number:06d}-{sha256(content)[:16]}.arrow"
        # A judgement may leave a file as it is, and until its sidecar stands the file belongs to another one.
        if not (store.exists(path) and store.read(path) == content):
            store.write(path, content)
        files.append({"path": path, "sha256": sha256(content), "bytes": len(content), "rows": rows.num_rows})
    sidecar = {"unit": number, "key": key, "split": split, "files": files, **facts}
    if not store.create(sidecar_path(number, key), json_bytes(sidecar)):
        sidecar = json.loads(store.read(sidecar_path(number, key)))
    return sidecar


def sidecar_of(store: Store, number: int, key: str) -> dict[str, Any] | None:
    """The sidecar of a unit under a key, if it is committed."""
    try:
        sidecar: dict[str, Any] = json.loads(store.read(sidecar_path(number, key)))
    except FileNotFoundError:
        return None
    return sidecar


def sidecar_paths(store: Store) -> dict[int, list[str]]:
    """Where the sidecars of each unit are, from one listing; a unit that is judged again has several for a while."""
    found: dict[int, list[str]] = {}
    for path in store.files("units"):
        if path.endswith(".json"):
            found.setdefault(int(path[len("units/") :].partition("-")[0]), []).append(path)
    return found


def latest_sidecar(store: Store, paths: Sequence[str], before: int | None = None) -> dict[str, Any]:
    """The sidecar of a committed unit; of one that was judged again, that of the last judgement (before another)."""
    found = [json.loads(store.read(path)) for path in paths]
    latest: dict[str, Any] = max(
        (sidecar for sidecar in found if before is None or sidecar["judgement"] < before),
        key=lambda sidecar: int(sidecar["judgement"]),
    )
    return latest


def sidecars(store: Store) -> Sidecars:
    """Sidecars of all committed units, in their order; of a unit that was judged again, that of the last judgement."""
    units = sorted(sidecar_paths(store).items())
    contents = iter(store.read_each([path for _, paths in units for path in paths]))
    # Of most there is one.
    return Sidecars({number: _latest([next(contents) for _ in paths]) for number, paths in units})


def _latest(contents: Sequence[bytes]) -> bytes:
    """Of the sidecars of a unit, that of the last judgement."""
    return contents[0] if len(contents) == 1 else max(contents, key=lambda content: json.loads(content)["judgement"])


def collect(store: Store, kept: Iterable[str], judgement: int) -> list[str]:
    """Delete what nothing refers to: files of killed or beaten workers, and of judgements that a later one replaced.

    Args:
        store: the dataset.
        kept: files that stay.
        judgement: number of the last one.

    Returns:
        What was deleted.

    Raises:
        SetupError: there are units that are not of this dataset; nothing was deleted.
    """
    keep = set(kept)
    folders = tuple(f"{folder}/" for folder in (*FOLDERS.values(), "units", "plan"))
    stray = [path for path in store.files() if path not in keep and (path.endswith(PART) or path.startswith(folders))]
    refuse_foreign(store, [path for path in stray if path.startswith("units/") and path.endswith(".json")], judgement)
    store.delete_each(stray)
    return stray


def refuse_foreign(store: Store, paths: Iterable[str], judgement: int) -> None:
    """See that sidecars which a run does not know are those of earlier judgements.

    Raises:
        SetupError: some are of another recipe, or of another version of anytalk.
    """
    for path in paths:
        sidecar = json.loads(store.read(path))
        refuse_earlier(store, [sidecar])
        if sidecar["judgement"] >= judgement:
            raise SetupError(
                f"{store}/{path} is a unit of another recipe or of another version of anytalk; it and its files are "
                "left alone: build into another folder, or move them away"
            )


def refuse_earlier(store: Store, sidecars: Iterable[Mapping[str, Any]]) -> None:
    """Refuse units that do not say what they were made with.

    Raises:
        SetupError: an earlier version of anytalk made them.
    """
    if any("made_with" not in sidecar for sidecar in sidecars):
        raise SetupError(
            f"{store} was made by an earlier version of anytalk, whose units do not say what they were made with: "
            "use that version, or build into another folder"
        )
