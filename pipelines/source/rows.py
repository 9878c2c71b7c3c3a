"""The rows of any table file: JSON lines, JSON arrays, CSV with any delimiter, Parquet.

Whatever is wrong with one row makes a `BadPair` with its place; whatever is wrong with the file is one line.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from anytalk.pipelines.recipe import TABLE_SUFFIXES
from anytalk.synth.errors import SetupError

from .delimited import DELIMITERS, read_csv
from .encoding import LONGEST_LINE, Line, lines_of
from .pair import BadPair

Row = tuple[str, Mapping[str, Any] | BadPair]
"""Where a row stands, and its values by column."""

LARGEST_JSON_BYTES = 2**30
"""Of a JSON document that is no JSON lines, and must be read at once."""

NAMED_COLUMNS = 12


def table_rows(path: Path, kind: str) -> Iterator[Row]:
    """Read the rows of a table by column.

    Args:
        path: the file.
        kind: `jsonl` (also a JSON array, or an object that holds one), `csv` (with commas, semicolons, tabs or bars)
            or `parquet`.

    Raises:
        SetupError: it cannot be read as that.
    """
    if path.is_file() and (found := _kind_within(path, kind)) not in (None, kind):
        raise SetupError(f"source.kind: {path} is {_CALLED[found]}, not {kind}: --set source.kind={found}")
    return {"jsonl": _read_json, "csv": _read_csv, "parquet": _read_parquet}[kind](path)


_CALLED = {"jsonl": "JSON", "csv": "text with columns", "parquet": "a Parquet file"}


def _kind_within(path: Path, kind: str) -> str | None:
    """Kind of table that a file is by what is in it, where that is plain; None where it is not."""
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PAR1":
                return "parquet"
        first = next((line for _, line in lines_of(path) if line is None or line.strip()), None)
    except (OSError, SetupError):
        return None  # Whoever reads it says what is wrong.
    if first is None:
        return None
    is_json = first.lstrip()[:1] in ("{", "[") and (_is_json(first) or first.strip() in ("{", "["))
    if kind == "csv":
        return "jsonl" if is_json else None
    looks_like_csv = TABLE_SUFFIXES.get(path.suffix.lower()) == "csv" and any(mark in first for mark in DELIMITERS)
    return "csv" if looks_like_csv and not is_json else None


def bad_row(detail: str, place: str) -> Row:
    """A row that cannot be read."""
    return place, BadPair("malformed_row", detail, place)


def column_names(row: Mapping[str, Any]) -> str:
    """Name the columns of a row for a message."""
    names = [str(name)[:60] for name in list(row)[:NAMED_COLUMNS]]
    names = [name if name.isprintable() else ascii(name) for name in names]
    return ", ".join(names) + (f", and {len(row) - NAMED_COLUMNS} more" if len(row) > NAMED_COLUMNS else "")


def chat_kind(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What reads a row that holds a whole chat, as keys of a source; None for any other row.

    >>> chat_kind({"id": "c1", "conversations": [{"from": "human", "value": "Hello."}]})
    {'kind': 'sharegpt'}
    """
    for name in ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns", "data"):
        turns = turns_in(row.get(name))
        if not isinstance(turns, list | tuple) or not turns:
            continue
        kind = _kind_of_turns(turns)
        if kind is not None:
            return {"kind": kind} | ({} if CHAT_COLUMNS[kind] == name else {"columns": {"turns": name}})
    return {"kind": "alpaca"} if {"instruction", "output"} <= row.keys() else None


def turns_in(value: Any) -> Any:
    """Turns of a chat; what is text is read as JSON, which is how a CSV file holds them."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


CHAT_COLUMNS = {"messages": "messages", "sharegpt": "conversations", "ultrachat": "data"}
"""Column of the turns, by kind of chats."""


def _kind_of_turns(turns: Sequence[Any]) -> str | None:
    if all(isinstance(turn, str) for turn in turns):
        return "ultrachat"
    if all(isinstance(turn, Mapping) for turn in turns):
        if all({"role", "content"} <= turn.keys() for turn in turns):
            return "messages"
        if all({"from", "value"} <= turn.keys() for turn in turns):
            return "sharegpt"
    return None


def as_flow(value: Any) -> str:
    """A value as one would write it after --set: `{kind: sharegpt, path: chats.json}`."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).strip()


def _refused(path: Path, what: str) -> SetupError:
    return SetupError(f"source.path: {path} {what}")


def _read_json(path: Path) -> Iterator[Row]:
    lines = lines_of(path)
    first = next(((number, line) for number, line in lines if line is None or line.strip()), (1, ""))
    lines.close()  # type: ignore[attr-defined]
    text = (first[1] or "").strip()
    if text.startswith("[") or (text.startswith("{") and not _is_json(text)):
        document = _whole_document(path, is_array=text.startswith("["))
        if document is not None:
            yield from document
            return
    yield from json_lines(lines_of(path), path.name)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _whole_document(path: Path, is_array: bool) -> Iterator[Row] | None:
    """Rows of a file that is one JSON array, or one object with an array in it; None for what are lines after all."""
    if path.stat().st_size > LARGEST_JSON_BYTES:
        if not is_array:
            return None
        raise _refused(path, f"is a JSON array of over 1 GB; convert it: jq -c '.[]' {path.name} > {path.stem}.jsonl")
    try:
        text = "\n".join(line if line is not None else "\ufffd" for _, line in lines_of(path))
        document = json.loads(text, parse_constant=lambda name: None, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        if not is_array or _are_lines(path):
            return None
        raise _refused(path, f"is a JSON array that cannot be read: {_short(error)}") from error
    if isinstance(document, dict):
        arrays = [value for value in document.values() if isinstance(value, list) and value]
        arrays = [value for value in arrays if all(isinstance(one, dict) for one in value)]
        if len(arrays) != 1:
            return iter([(f"{path.name}:1", document)])
        [document] = arrays
    return (
        (place, row) if isinstance(row, dict) else bad_row("not a JSON object", place)
        for number, row in enumerate(document, start=1)
        for place in [f"{path.name}#{number}"]
    )


def _are_lines(path: Path) -> bool:
    """Whether a second line is JSON by itself."""
    texts = (line for _, line in lines_of(path) if line and line.strip())
    next(texts, None)
    return _is_json(next(texts, "").strip() or "[")


def json_lines(lines: Iterable[Line], name: str) -> Iterator[Row]:
    """Read JSON lines: one object a line.

    Args:
        lines: numbers and texts.
        name: of the file.
    """
    for number, line in lines:
        place = f"{name}:{number}"
        if line is None:
            yield bad_row(f"not UTF-8, or longer than {LONGEST_LINE >> 20} MB", place)
            continue
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=lambda name: None, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            yield bad_row(f"not JSON: {_short(error)}", place)
            continue
        yield (place, row) if isinstance(row, dict) else bad_row("not a JSON object", place)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless a key of it stands twice and one of the values would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"the key {twice[:60]!r} stands twice")
    return found


def _short(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return " ".join(str(error).split())[:200]


def _read_csv(path: Path) -> Iterator[Row]:
    for number, found in read_csv(path):
        place = f"{path.name}:{number}"
        yield bad_row(found, place) if isinstance(found, str) else (place, found)


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        groups = file.num_row_groups
        sizes = [file.metadata.row_group(group).num_rows for group in range(groups)]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(path, f"is no Parquet file: {_short(error)}") from error
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _refused(path, f"has two columns {twice!r}")
    number = 0
    for group, size in enumerate(sizes):
        end = number + size
        try:
            # Few rows at once: they may hold audio.
            for batch in file.iter_batches(64, row_groups=[group]):
                for values in _values(batch):
                    number += 1
                    place = f"{path.name}:{number}"
                    yield bad_row(values, place) if isinstance(values, str) else (place, values)
        except (pa.ArrowException, OSError, ValueError) as error:
            for place in (f"{path.name}:{row}" for row in range(number + 1, end + 1)):
                yield bad_row(f"its page of the Parquet file cannot be read: {_short(error)}", place)
        number = end


def _values(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """Rows of a batch as Python values; a message in place of one that has none, such as a date after 9999."""
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError, TypeError, pa.ArrowException):
        pass
    for place in range(batch.num_rows):
        try:
            yield batch.slice(place, 1).to_pylist()[0]
        except (ValueError, OverflowError, TypeError, pa.ArrowException) as error:
            yield f"a value has no form in Python: {_short(error)}"
