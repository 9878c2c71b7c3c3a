"""CSV as people have it: commas, semicolons, tabs or bars, with quotation marks that are closed, or are not."""

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anytalk.synth.errors import SetupError

from .encoding import Line, lines_of

DELIMITERS = (",", ";", "\t", "|")
MOST_LINES, MOST_CHARACTERS = 10_000, 2**24
"""Of a field in quotation marks; after so much the first one is taken for a stray."""

NOT_CLOSED = "a quotation mark opens a field and is never closed; write it twice inside quotation marks"


def read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Read the rows of a CSV file.

    Returns:
        The line that each row begins in, and its values by column, None for an empty field; or what is wrong with it.

    Raises:
        SetupError: there is no header, it names a column twice, or the file cannot be read.
    """
    csv.field_size_limit(2**31 - 1)
    waiting: deque[Line] = deque()
    lines = lines_of(path)
    header = next(((number, line) for number, line in lines if line is None or line.strip()), None)
    if header is None:
        return
    if header[1] is None:
        raise SetupError(f"source.path: the header of {path} is not UTF-8")
    # The first of those that part the header into most columns.
    delimiter = max(DELIMITERS, key=lambda mark: len(_header(header[1] or "", mark)))
    names = _header(header[1], delimiter)
    if not names:
        raise SetupError(f"source.path: the header of {path} cannot be read (line {header[0]}): {NOT_CLOSED}")
    if twice := [name for name in names if name and names.count(name) > 1]:
        bars = "; lines of id|text|text are of the kind ljspeech, whose path is the folder" if delimiter == "|" else ""
        raise SetupError(f"source.path: {path} has two columns {twice[0][:60]!r}{bars}")
    while (first := _next(waiting, lines)) is not None:
        number, text = first
        if text is None:
            yield number, "not in the encoding of the rest, or too long"
        elif text.strip():
            fields = _record(text, delimiter, len(names), waiting, lines)
            yield number, fields if isinstance(fields, str) else _row(fields, names)


def _header(text: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in _fields([text], delimiter) or []]
    except csv.Error:
        return []


def _row(fields: list[str], names: list[str]) -> dict[str, Any] | str:
    if len(fields) != len(names):
        what = "field" if len(fields) == 1 else "fields"
        return f"{len(fields)} {what}, and the header has {len(names)}; a field that holds a delimiter needs quotes"
    return {name: field or None for name, field in zip(names, fields, strict=True)}


def _next(waiting: deque[Line], lines: Iterator[Line]) -> Line | None:
    return waiting.popleft() if waiting else next(lines, None)


def _record(text: str, delimiter: str, count: int, waiting: deque[Line], lines: Iterator[Line]) -> list[str] | str:
    """Fields of the record that begins with a line; lines that do not belong to it are put back."""
    if '"' not in text:
        return text.split(delimiter)
    taken: list[Line] = []
    texts, length = [text], len(text)
    while True:
        if '"' in texts[-1]:
            try:
                fields = _fields(texts, delimiter)
            except csv.Error as error:
                waiting.extendleft(reversed(taken))
                return f"a quotation mark stands where none can: {error}"
            if fields is not None and taken and len(fields) != count:
                # Two stray ones, with rows in between.
                waiting.extendleft(reversed(taken))
                return NOT_CLOSED
            if fields is not None:
                return fields
        following = _next(waiting, lines)
        if following is not None:
            taken.append(following)
            texts.append(following[1] or "")
            length += len(texts[-1])
        if following is None or following[1] is None or len(taken) > MOST_LINES or length > MOST_CHARACTERS:
            waiting.extendleft(reversed(taken))
            return NOT_CLOSED


def _fields(texts: list[str], delimiter: str) -> list[str] | None:
    """Fields of a whole record; None where a quotation mark is still open.

    Raises:
        csv.Error: something follows a closing quotation mark.
    """
    try:
        rows = list(csv.reader((f"{text}\n" for text in texts), delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return None
        raise
    return rows[0] if rows else []
