"""Read evaluation sets: text files, tables, datasets of the hub, anytalk datasets."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anytalk.pipelines.dataset import MANIFEST, Store, is_dataset, rows_of
from anytalk.pipelines.progress import Reporter, counted
from anytalk.pipelines.recipe import TABLE_SUFFIXES, Decontaminate, EvaluationSet, Hub
from anytalk.pipelines.source import BadPair, column_names, hub_rows, lines_of, table_rows
from anytalk.synth.errors import SetupError

from .ngram import EvaluationIndex, EvaluationText

QUESTION_COLUMNS = (
    "question",
    "prompt",
    "instruction",
    "query",
    "problem",
    "input",
    "text",
    "sentence",
    "transcript",
    "transcription",
    "messages",
)
"""The first of these that a set has is read, unless the recipe names columns."""

Row = tuple[str, Mapping[str, Any]]


def evaluation_stamp(sets: Sequence[EvaluationSet], datasets: Sequence[str]) -> list[tuple[str, int, int]]:
    """Path, size and time of every local file of evaluation sets and of earlier datasets.

    Raises:
        SetupError: one of them is missing.
    """
    for name in datasets:
        if not is_dataset(Store(name)):
            raise SetupError(f"dedup.against: {name} is no finished anytalk dataset")
    local = [name for name in datasets if Store(name).local]
    paths = [Path(name) for name in (*(one.path for one in sets if not _is_elsewhere(one)), *local)]
    files = [
        file
        for path in paths
        for file in ([path / MANIFEST] if is_dataset(Store(path)) else sorted(path.rglob("*")) or [path])
        if file.is_file()
    ]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _is_elsewhere(one: EvaluationSet) -> bool:
    """Whether a set is read from the hub or an object store.

    Raises:
        SetupError: it is named like a file, and there is none.
    """
    if Path(one.path).exists():
        return False
    if "://" not in one.path and Path(one.path).suffix.lower() in {".txt", *TABLE_SUFFIXES}:
        raise SetupError(f"decontaminate.against: {one.path} does not exist")
    return True


def index_of(rules: Decontaminate, to_spoken: Callable[[str], str], progress: Reporter) -> EvaluationIndex:
    """Read the evaluation sets of some rules into an index; see `evaluation_texts`."""
    found = (text for one in rules.against for text in evaluation_texts(one, to_spoken))
    texts = list(counted(found, "reading evaluation texts", progress))
    return EvaluationIndex(texts, rules.ngram, rules.min_overlap)


def evaluation_texts(one: EvaluationSet, to_spoken: Callable[[str], str] = str) -> Iterator[EvaluationText]:
    """Read the texts of an evaluation set.

    Args:
        one: where it is, and which columns.
        to_spoken: writes a text out as it is said; a text that changes is there in both forms.

    Raises:
        SetupError: it is missing, empty, or has no such columns.
        EngineError: a remote set broke off.
    """
    columns: tuple[str, ...] | None = None
    for place, row in _rows(one):
        if columns is None:
            columns = _columns(one, row)
        for column in columns:
            for text in _texts(row.get(column)):
                yield EvaluationText(place, text)
                if (spoken_form := to_spoken(text)) != text:
                    yield EvaluationText(place, spoken_form)
    if columns is None:
        raise SetupError(f"decontaminate.against: {one.path} holds no rows")


def _rows(one: EvaluationSet) -> Iterator[Row]:
    _is_elsewhere(one)
    path, suffix = Path(one.path), Path(one.path).suffix.lower()
    if is_dataset(Store(one.path)):
        return _dataset_rows(one)
    if path.is_file() and suffix == ".txt":
        return _good(_lines(path))
    if path.is_file() and suffix in TABLE_SUFFIXES:
        return _good(table_rows(path, TABLE_SUFFIXES[suffix]))
    hub = Hub(kind="hub", dataset=one.path, config=one.config, split=one.split, revision=one.revision)
    return _good(hub_rows(hub))


def _good(rows: Iterator[Row] | Iterator[tuple[str, Mapping[str, Any] | BadPair]]) -> Iterator[Row]:
    """Rows of a table; what is none could hide an evaluation text."""
    try:
        for place, row in rows:
            if isinstance(row, BadPair):
                raise SetupError(f"{place}: {row.detail}")
            yield place, row
    except SetupError as error:
        raise SetupError(f"decontaminate.against: {re.sub(r'^source[.][a-z]+: ', '', str(error))}") from error


def _lines(path: Path) -> Iterator[Row]:
    for number, line in lines_of(path):
        if line is None:
            raise SetupError(f"{path.name}:{number}: not UTF-8, or too long a line")
        if line.strip():
            yield f"{path.name}:{number}", {"text": line.strip()}


def _dataset_rows(one: EvaluationSet) -> Iterator[Row]:
    store = Store(one.path)
    columns = one.columns or ("question",)
    for conversation in rows_of(store, columns):
        if conversation.split == one.split:
            for row in conversation.rows:
                yield f"{conversation.place(store)}", row


def _columns(one: EvaluationSet, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns to be read, from the first row."""
    columns = one.columns or tuple(column for column in QUESTION_COLUMNS if column in row)[:1]
    if not columns or (missing := [column for column in columns if column not in row]):
        wanted = f"no column {missing[0]!r}" if columns else "none of the usual columns of questions"
        raise SetupError(
            f"decontaminate.against: {one.path} has {wanted}; it has: {column_names(row)}; name them under columns"
        )
    return columns


def _texts(value: Any) -> Iterator[str]:
    """Texts of a value: itself, those of a list, those of the messages of a chat."""
    if isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(value.get("content"))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from _texts(inner)
