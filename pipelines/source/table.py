"""Tables of pairs: JSON lines, CSV, Parquet, and the bundled corpus, with columns by any name."""

import csv
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anytalk.pipelines.recipe import TABLE_SUFFIXES, Bundled, Columns, Hub, Recordings, Table
from anytalk.synth.errors import SetupError
from anytalk.synth.language import primary
from anytalk.synth.seed import digest

from .attachment import Attachments, of_file
from .pair import BadPair, Pair, Recording

BUNDLED = {"en": "pairs.jsonl", "de": "pairs.de.jsonl"}
"""File of the corpus in each language."""

Row = tuple[str, Mapping[str, Any] | BadPair]
"""Where a row stands, and its values by column."""

Mapped = Bundled | Table | Recordings | Hub
"""Sources whose rows have columns to be mapped."""


def bundled_pairs(source: Bundled, attachments: Attachments) -> Iterator[Pair | BadPair]:
    """Read the corpus that ships with the package, in the language that is asked for.

    Raises:
        SetupError: there is none.
    """
    code = primary(source.language)
    if code not in BUNDLED:
        raise SetupError(
            f"source.language: no corpus is bundled in {source.language!r}; there are: {', '.join(BUNDLED)}"
        )
    corpus = resources.files("anytalk.synth") / "corpus" / BUNDLED[code]
    name = "bundled" if code == "en" else f"bundled-{code}"
    rows = _jsonl(corpus.read_text(encoding="utf-8").splitlines(), name)
    return table_pairs(source, rows, attachments, Path(), name)


def file_pairs(source: Table | Recordings, attachments: Attachments) -> Iterator[Pair | BadPair]:
    """Read a table that is one file.

    Raises:
        SetupError: it is a folder, is not readable, or lacks the columns.
    """
    path = Path(source.path)
    if path.is_dir():
        raise SetupError(f"source.path: {path} is a folder; a {source.kind} source is a file")
    kind = source.kind if isinstance(source, Table) else _kind_of(path)
    return table_pairs(source, table_rows(path, kind), attachments, path.parent, path.stem)


def _kind_of(path: Path) -> str:
    """Kind of a table by its suffix.

    Raises:
        SetupError: it is none that is read.
    """
    # Lists of recordings often are JSON lines under the name .json.
    kinds = TABLE_SUFFIXES | {".json": "jsonl"}
    if path.suffix.lower() not in kinds:
        raise SetupError(
            f"source.path: {path} is neither a folder of recordings nor a table that is read "
            f"({', '.join(TABLE_SUFFIXES)}); convert it to one of these"
        )
    return kinds[path.suffix.lower()]


def table_rows(path: Path, kind: str) -> Iterator[Row]:
    """Read the rows of a table by column.

    Args:
        path: the file.
        kind: `jsonl`, `csv` or `parquet`.

    Raises:
        SetupError: it is a JSON array, is separated by tabs, or is no Parquet file.
    """
    return {"jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}[kind](path)


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next((line for line in lines if line.strip()), "")
        if first.lstrip().startswith("["):
            raise SetupError(
                f"source.path: {path} is a JSON array, and JSON lines are read, one object a line; "
                f"convert it: jq -c '.[]' {path.name} > {path.stem}.jsonl"
            )
        lines.seek(0)
        yield from _jsonl(lines, path.name)


def _jsonl(lines: Iterable[str], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            yield place, BadPair("malformed_row", f"not JSON: {error}", place)
            continue
        yield place, row if isinstance(row, dict) else BadPair("malformed_row", "not a JSON object", place)


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = file.readline()
        if "\t" in header and "," not in header:
            raise SetupError(
                f"source.path: {path} is separated by tabs; a csv source is separated by commas: "
                "save it as CSV or JSON lines"
            )
        file.seek(0)
        for number, row in enumerate(csv.DictReader(file), start=2):
            yield (
                f"{path.name}:{number}",
                {key: value or None for key, value in row.items() if key is not None},
            )


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise SetupError(f"source.path: {path} is no Parquet file: {error}") from error
    number = itertools.count(1)
    # Few rows at once: they may hold audio.
    for batch in file.iter_batches(64):
        for row in batch.to_pylist():
            yield f"{path.name}:{next(number)}", row


def table_pairs(
    source: Mapped, rows: Iterator[Row], attachments: Attachments, folder: Path, name: str
) -> Iterator[Pair | BadPair]:
    """Map the columns of a table to pairs.

    Args:
        source: its columns and defaults.
        rows: of the table.
        attachments: stores the audio that rows hold.
        folder: where relative paths of recordings start.
        name: label of rows that carry none.

    Raises:
        SetupError: there are no rows, or no column that makes a question.
    """
    columns = Columns() if isinstance(source, Bundled) else source.columns
    first = next(rows, None)
    if first is None:
        raise SetupError(f"source: {name} holds no rows")
    if isinstance(first[1], Mapping) and not {columns.question, columns.question_audio} & first[1].keys():
        raise SetupError(
            f"source.columns.question: no column {columns.question!r} in {name}; "
            f"it has: {', '.join(first[1])}; name yours with --set source.columns.question=..."
        )
    for place, row in itertools.chain([first], rows):
        if isinstance(row, BadPair):
            yield row
            continue
        try:
            yield _pair(source, columns, row, attachments, folder, name, place)
        except (ValueError, FileNotFoundError) as error:
            reason = "missing_audio" if isinstance(error, FileNotFoundError) else "malformed_row"
            yield BadPair(reason, str(error), place)


def _pair(
    source: Mapped,
    columns: Columns,
    row: Mapping[str, Any],
    attachments: Attachments,
    folder: Path,
    name: str,
    place: str,
) -> Pair:
    question_recording = recording_in(row.get(columns.question_audio), attachments, folder, place)
    answer_recording = recording_in(row.get(columns.answer_audio), attachments, folder, place)
    question, answer = text_in(row, columns.question), text_in(row, columns.answer)
    if isinstance(source, Recordings) and source.transcribe:
        question, answer = question or None, answer or None
        hears_question, hears_answer = question_recording is not None, answer_recording is not None
    else:
        hears_question = hears_answer = False
    if question is None and not hears_question:
        question = ""
    # Without an answer a text pair is a bad row, and so is a recorded answer without a transcript; a recorded question
    # without one is an ASR row.
    if answer is None and not hears_answer and (answer_recording or not question_recording):
        answer = ""
    hashes = [recording.sha256 if recording else None for recording in (question_recording, answer_recording)]
    # Without a name of its own a conversation is named by what it says, wherever in the file it stands.
    conversation = text_in(row, columns.conversation) or digest(question, answer, *hashes)[:16]
    return Pair(
        split_name=text_in(row, columns.split_name) or source.split_name or name,
        conversation=conversation,
        turn=int(text_in(row, columns.turn) or 0),
        question=question,
        answer=answer,
        language=text_in(row, columns.language) or source.language,
        question_recording=question_recording,
        answer_recording=answer_recording,
        source=place,
    )


def text_in(row: Mapping[str, Any], column: str) -> str | None:
    """Text of a column, with single spaces; None where there is none.

    Raises:
        ValueError: it holds something else.
    """
    value = row.get(column)
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"column {column!r} holds {type(value).__name__}, not text")
    return None if value is None else " ".join(str(value).split())


def recording_in(value: Any, attachments: Attachments, folder: Path, name: str) -> Recording | None:
    """Recording of a column: a path, the bytes of a file, or both as `datasets` has them.

    Args:
        value: of the column.
        attachments: stores bytes.
        folder: where relative paths start.
        name: of a recording that has none.

    Raises:
        FileNotFoundError: the path leads nowhere.
        ValueError: it is something else.
    """
    path, content = (value.get("path"), value.get("bytes")) if isinstance(value, Mapping) else (value, None)
    if isinstance(path, bytes):
        path, content = None, path
    if isinstance(content, bytes) and content:
        return attachments.add(content, name)
    if not path:
        return None
    if not isinstance(path, str):
        raise ValueError(f"a recording is a path or bytes, not {type(path).__name__}")
    if not (folder / path).is_file():
        raise FileNotFoundError(f"recording {folder / path} does not exist")
    return of_file(folder / path)
