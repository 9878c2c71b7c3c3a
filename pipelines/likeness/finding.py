"""Near-duplicates and evaluation texts in a dataset that is built: in its texts and in what was heard."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anytalk.pipelines.dataset import MANIFEST, BuiltConversation, Store, opened, rows_of
from anytalk.pipelines.progress import Quiet, Reporter, counted, measured
from anytalk.pipelines.recipe import Decontaminate, Dedup
from anytalk.synth.text import load_normaliser

from .evaluation import index_of
from .near_duplicate import near_duplicates
from .ngram import contaminations
from .spool import conversations_of, document_of, spooled

FORMS = ("", "_written", "_transcript")
"""Endings of the columns that hold a side's words: as it was to be said, as it was written, as it was heard."""


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


def find_duplicates(dataset: str, rules: Dedup, progress: Reporter | None = None) -> list[Finding]:
    """Find conversations of a dataset that are like an earlier one, by text and by what was heard.

    Args:
        dataset: folder or URL.
        rules: what is alike, and earlier datasets.
        progress: who is told how far it is.

    Returns:
        What was found, in plan order; each conversation once.

    Raises:
        SetupError: one of the folders holds no finished dataset.
    """
    store, earlier, progress = opened(dataset), [opened(name) for name in rules.against], progress or Quiet()
    found: dict[int, dict[str, Any]] = {}
    for ending, name in (("", "text"), ("_transcript", "transcript")):
        columns = [f"{side}{ending}" for side in rules.sides]
        before = (document for one in earlier for document in conversations_of(one, columns))
        told = counted(before, f"reading {name}s of earlier datasets", progress) if earlier else ()
        own = (document_of(one, store, columns) for one in _read(store, columns, f"rows' {name}s read", progress))
        with spooled(own, told) as spool:
            progress.phase(f"comparing {name}s", len(spool))
            for likeness in near_duplicates(spool, rules.threshold, rules.ngram):
                facts = {"column": name, "matched": spool[likeness.like].name, "similarity": likeness.similarity}
                found.setdefault(likeness.place - spool.earlier, {"reason": "near_duplicate", "ngram": None, **facts})
    progress.stop()
    return _findings(store, found)


def find_contamination(dataset: str, rules: Decontaminate, progress: Reporter | None = None) -> list[Finding]:
    """Find conversations of a dataset that hold evaluation texts, in any form of any row.

    Args:
        dataset: folder or URL.
        rules: the evaluation sets, and how much of a text is too much.
        progress: who is told how far it is.

    Returns:
        What was found, in plan order.

    Raises:
        SetupError: the folder holds no finished dataset, or a set is not in order.
    """
    store, progress = opened(dataset), progress or Quiet()
    manifest = json.loads(store.read(MANIFEST))
    # One recogniser heard everything, so that all rows are of one language.
    first = next(rows_of(store, ["language"]), None)
    language = first.rows[0]["language"] if first else "en"
    index = index_of(rules, load_normaliser(manifest["recipe"]["clean"]["normalise"], language), progress)
    columns = [f"{side}{ending}" for side in rules.sides for ending in FORMS]
    # Each variant was heard anew.
    documents = (
        [row[column] or "" for row in conversation.rows for column in columns]
        for conversation in _read(store, columns, "rows compared", progress)
    )
    found = {
        one.place: {
            "reason": "contaminated",
            "column": columns[one.text % len(columns)],
            "matched": one.evaluation,
            "similarity": one.similarity,
            "ngram": one.ngram,
        }
        for one in contaminations(documents, index)
    }
    return _findings(store, found)


def _read(store: Store, columns: Sequence[str], what: str, progress: Reporter) -> Iterator[BuiltConversation]:
    """Read a dataset, and tell how many of its rows have passed."""
    total = json.loads(store.read(MANIFEST))["rows_accepted"]
    return measured(rows_of(store, columns), what, total, progress, lambda conversation: len(conversation.rows))


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
