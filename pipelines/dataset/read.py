"""Read the texts of a dataset that is built, conversation by conversation."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from anytalk.synth.errors import SetupError

from . import commit
from .store import Store

MANIFEST = "dataset.json"


@dataclasses.dataclass(frozen=True)
class BuiltConversation:
    """Accepted rows of a conversation, all variants of it."""

    split: str
    split_name: str
    conversation: str
    rows: list[dict[str, Any]]

    def place(self, store: Store) -> str:
        """Where it stands, for a person."""
        return f"{str(store).rstrip('/').rpartition('/')[2]}:{self.split_name}/{self.conversation}"

    def first_variant(self) -> list[dict[str, Any]]:
        """Its turns as they were spoken first."""
        first = min(row["variant"] for row in self.rows)
        return [row for row in self.rows if row["variant"] == first]


def is_dataset(store: Store) -> bool:
    """Whether a finished anytalk dataset lies there."""
    if not store.exists(MANIFEST):
        return False
    try:
        return bool(json.loads(store.read(MANIFEST)).get("format") == "anytalk")
    except (ValueError, AttributeError):
        return False


def opened(dataset: str) -> Store:
    """Open a finished dataset.

    Raises:
        SetupError: there is none.
    """
    store = Store(dataset)
    if not is_dataset(store):
        raise SetupError(f"{dataset} is no finished anytalk dataset")
    return store


def rows_of(store: Store, columns: Sequence[str]) -> Iterator[BuiltConversation]:
    """Read some columns of a finished dataset, a unit at a time.

    Yields:
        Its conversations in plan order, with `id`, `variant` and these columns in their rows.

    Raises:
        SetupError: it lacks a column.
    """
    keys = ["split_name", "conversation"]
    for sidecar in commit.sidecars(store).values():
        for file in sidecar["files"]:
            if not file["path"].startswith("shards/"):
                continue
            rows = _columns(store, file["path"], [*keys, "id", "turn", "variant", *columns]).to_pylist()
            # A unit holds whole conversations.
            for (split_name, conversation), group in itertools.groupby(rows, key=lambda row: [row[k] for k in keys]):
                yield BuiltConversation(sidecar["split"], split_name, conversation, list(group))


def _columns(store: Store, path: str, names: Sequence[str]) -> pa.Table:
    """Some columns of a shard; of the others, which are most of it, nothing is read."""

    def read(file: Any) -> pa.Table:
        schema = pa.ipc.open_file(file).schema
        if missing := [name for name in names if name not in schema.names]:
            raise SetupError(f"{store} has no column {missing[0]!r}; it has: {', '.join(schema.names)}")
        fields = sorted({schema.get_field_index(name) for name in names})
        return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields)).read_all()

    try:
        return store.look(path, read)
    except (pa.ArrowException, OSError) as error:
        raise SetupError(f"{store}/{path} cannot be read: {error}; run: anytalk check {store}") from error
