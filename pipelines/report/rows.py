"""Rows of a dataset as one flat table a unit, accepted and rejected ones alike, without sounds, codes and features.

A rejected row has the measures of its best attempts under the names that an accepted row has them, so that both are
sorted, filtered and counted in the same way.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from anytalk.pipelines.dataset import MEASURES, PLAN, SIDES, Store, commit, schema
from anytalk.synth.errors import SetupError

ACCEPTED, REJECTED = "accepted", "rejected"

_TEXTS = ("question", "answer", "question_written", "answer_written")
_OF_SIDE = (("voice", pa.string()), ("transcript", pa.string()), ("samples", pa.int64()))

FLAT = pa.schema(
    [
        ("id", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("split", pa.string()),
        ("unit", pa.int32()),
        ("shard", pa.string()),
        ("split_name", pa.string()),
        ("conversation", pa.string()),
        ("turn", pa.int16()),
        ("variant", pa.int16()),
        ("language", pa.string()),
        *((name, pa.string()) for name in _TEXTS),
        *((f"{side}_{name}", kind) for side in SIDES for name, kind in _OF_SIDE),
        *((f"{side}_speaker", pa.string()) for side in SIDES),
        *((f"{side}_{name}", pa.float32()) for side in SIDES for name in MEASURES),
        ("attempts", pa.int8()),
        ("seed", pa.uint64()),
        ("source", pa.string()),
    ]
)
"""Columns of the flat table; `attempts` of a rejected row is how often the side that was spoken most was."""

_STORED = schema.attempt_schema({}).field("attempts").type.value_type
ATTEMPT = pa.schema([("id", pa.string()), *(field for field in _STORED if field.name not in ("audio", "codes"))])
"""Columns of stored attempts, without their sounds."""


def flat_tables(store: Store) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Read a dataset, a unit at a time in plan order, then what its plan rejected.

    Yields:
        Rows (`FLAT`) and every attempt that is stored beside the accepted ones (`ATTEMPT`).

    Raises:
        SetupError: there is no dataset, or a file of it cannot be read.
    """
    if not store.exists(PLAN):
        raise SetupError(f"{store} holds no anytalk dataset")
    for sidecar in commit.sidecars(store).values():
        yield unit_tables(store, sidecar)
    for path in store.files("rejects"):
        if path.startswith("rejects/plan-"):
            for batch in read_batches(store, path):
                yield _rejected(batch, {"split": None, "unit": None, "shard": path}), ATTEMPT.empty_table()


def unit_tables(store: Store, sidecar: Mapping[str, Any]) -> tuple[pa.Table, pa.Table]:
    """Rows of one committed unit, and the attempts that are stored of them; see `flat_tables`."""
    rows, attempts = [FLAT.empty_table()], [ATTEMPT.empty_table()]
    for file in sidecar["files"]:
        place = {"split": sidecar["split"], "unit": sidecar["unit"], "shard": file["path"]}
        folder = file["path"].partition("/")[0]
        for table in read_batches(store, file["path"], FLAT.names if folder == "shards" else None):
            if folder == "shards":
                rows.append(_accepted(table, place))
            elif folder == "rejects":
                rows.append(_rejected(table, place))
            if folder != "shards":
                attempts.append(attempts_of(table))
    return pa.concat_tables(rows), pa.concat_tables(attempts)


def read_batches(store: Store, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read a file batch by batch; of the columns that are not asked for, nothing is read.

    Raises:
        SetupError: it is gone or damaged.
    """
    try:
        with store.open(path) as file:
            names = pa.ipc.open_file(file).schema.names
            fields = [place for place, name in enumerate(names) if columns is None or name in columns]
            reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
            for number in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(number)])
    except (pa.ArrowException, OSError) as error:
        raise SetupError(f"{store}/{path} cannot be read: {error}; run: anytalk check {store}") from error


def attempts_of(table: pa.Table) -> pa.Table:
    """Every attempt in a table of rejected rows, or of attempts at accepted ones (`ATTEMPT`)."""
    column = table["attempts"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    made = column.flatten()
    known = {"id": table["id"].combine_chunks().take(pc.list_parent_indices(column))}
    # Measures that an earlier version did not take are missing.
    known |= {field.name: made.field(field.name) for field in made.type if field.name in ATTEMPT.names}
    columns = [known.get(field.name, pa.nulls(len(made), field.type)) for field in ATTEMPT]
    return pa.Table.from_arrays(columns, schema=ATTEMPT)


def nearest(attempts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The best of some attempts at a side, as `speech.attempts.best` chooses it; None of none."""

    def rank(attempt: Mapping[str, Any]) -> tuple[bool, float, float, int]:
        mos = attempt["mos"]
        return mos is None, attempt["wer"] or 0.0, -(mos or 0.0), -attempt["attempt"]

    return min(attempts, key=rank, default=None)


def _accepted(table: pa.Table, place: dict[str, Any]) -> pa.Table:
    known = place | {"outcome": ACCEPTED}
    columns = [
        table[field.name].combine_chunks()
        if field.name in table.column_names and field.name not in known
        # A dataset whose source names no speakers has no column for them.
        else pa.repeat(pa.scalar(known.get(field.name), field.type), table.num_rows)
        for field in FLAT
    ]
    return pa.table(columns, schema=FLAT)


def _rejected(table: pa.Table, place: dict[str, Any]) -> pa.Table:
    made: dict[str, list[dict[str, Any]]] = {}
    for attempt in attempts_of(table).to_pylist():
        made.setdefault(attempt["id"], []).append(attempt)
    rows = []
    for row in table.drop_columns("attempts").to_pylist():
        flat = {name: row.get(name) for name in FLAT.names} | place | {"outcome": REJECTED}
        own = made.get(row["id"], [])
        for side in SIDES:
            best = nearest([attempt for attempt in own if attempt["side"] == side]) or {}
            flat |= {f"{side}_{name}": best.get(name) for name in ("voice", "transcript", *MEASURES)}
        counts = [sum(attempt["side"] == side for attempt in own) for side in SIDES]
        rows.append(flat | {"attempts": max(counts)})
    return pa.Table.from_pylist(rows, schema=FLAT)
