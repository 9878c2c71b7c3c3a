"""Near-duplicates and evaluation texts in a dataset that is built: in its texts and in what was heard."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from anytalk.pipelines import commit
from anytalk.pipelines.recipe_dedup import Dedup
from anytalk.pipelines.store import Store
from anytalk.synth.errors import SetupError

from .near_duplicate import near_duplicates
from .ngram import EvaluationIndex, contaminations
from .spool import Document, spooled

MANIFEST = "dataset.json"
FORMS = ("", "_written", "_transcript")
"""Endings of the columns that hold a side's words: as it was to be said, as it was written, as it was heard."""


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


@dataclasses.dataclass(frozen=True)
class Finding:
    """A conversation that should not be there."""

    split: str
    split_name: str
    conversation: str
    reason: str
    """`near_duplicate` or `contaminated`."""
    column: str
    """Column in which it was found; `text` or `transcript` for both sides together."""
    matched: str
    """What it is like, and where that stands."""
    similarity: float
    ngram: str | None
    """The first words in common, of a contamination."""
    rows: list[str]
    """Ids of all its rows."""


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
    full = store.full(path)
    with pa.memory_map(full) if store.local else pa.PythonFile(store.filesystem.open(full, "rb")) as file:
        schema = pa.ipc.open_file(file).schema
        if missing := [name for name in names if name not in schema.names]:
            raise SetupError(f"{store} has no column {missing[0]!r}; it has: {', '.join(schema.names)}")
        fields = sorted({schema.get_field_index(name) for name in names})
        return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields)).read_all()


def conversations_of(store: Store, columns: Sequence[str]) -> Iterator[Document]:
    """Each conversation of a dataset as one document: these columns of its turns as they were spoken first."""
    for conversation in rows_of(store, columns):
        texts = [row[column] or "" for row in conversation.first_variant() for column in columns]
        yield Document(conversation.place(store), tuple(texts))


def find_duplicates(dataset: str, rules: Dedup, in_process: int) -> list[Finding]:
    """Find conversations of a dataset that are like an earlier one, by text and by what was heard.

    Args:
        dataset: folder or URL.
        rules: what is alike, and earlier datasets.
        in_process: for more conversations than this, Ray Data is used.

    Returns:
        What was found, in plan order; each conversation once.

    Raises:
        SetupError: one of the folders holds no finished dataset.
    """
    store, earlier = opened(dataset), [opened(name) for name in rules.against]
    found: dict[int, dict[str, Any]] = {}
    for ending, name in (("", "text"), ("_transcript", "transcript")):
        columns = [f"{side}{ending}" for side in rules.sides]
        before = itertools.chain.from_iterable(conversations_of(one, columns) for one in earlier)
        with spooled(conversations_of(store, columns), before) as spool:
            for likeness in near_duplicates(spool, rules.threshold, rules.ngram, len(spool) > in_process):
                facts = {"column": name, "matched": spool[likeness.like].name, "similarity": likeness.similarity}
                found.setdefault(likeness.place - spool.earlier, {"reason": "near_duplicate", "ngram": None, **facts})
    return _findings(store, found)


def find_contamination(dataset: str, index: EvaluationIndex, sides: Sequence[str], in_process: int) -> list[Finding]:
    """Find conversations of a dataset that hold evaluation texts, in any form of any row.

    Args:
        dataset: folder or URL.
        index: of the evaluation texts.
        sides: where they are looked for.
        in_process: for more rows than this, Ray Data is used.

    Returns:
        What was found, in plan order.

    Raises:
        SetupError: the folder holds no finished dataset.
    """
    store = opened(dataset)
    columns = [f"{side}{ending}" for side in sides for ending in FORMS]
    # Each variant was heard anew.
    documents = (
        [row[column] or "" for row in conversation.rows for column in columns]
        for conversation in rows_of(store, columns)
    )
    rows = json.loads(store.read(MANIFEST))["rows_accepted"]
    found = {
        one.place: {
            "reason": "contaminated",
            "column": columns[one.text % len(columns)],
            "matched": one.evaluation,
            "similarity": one.similarity,
            "ngram": one.ngram,
        }
        for one in contaminations(documents, index, on_ray=rows > in_process)
    }
    return _findings(store, found)


def _findings(store: Store, found: Mapping[int, dict[str, Any]]) -> list[Finding]:
    """Say which rows are meant; they are read again, so that no others are in memory."""
    return [
        Finding(
            split=conversation.split,
            split_name=conversation.split_name,
            conversation=conversation.conversation,
            rows=[row["id"] for row in conversation.rows],
            **found[place],
        )
        for place, conversation in enumerate(rows_of(store, []) if found else ())
        if place in found
    ]
