"""Tables of pairs, and the bundled corpus: which columns of a row make a pair, whatever types they have."""

import dataclasses
import datetime
import decimal
import math
import re
import shlex
import uuid
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from anytalk.pipelines.dataset import folder_at, local_file
from anytalk.pipelines.recipe import TABLE_SUFFIXES, Bundled, Columns, Hub, Recordings, Table
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.language import is_tag, primary, tag_of_name
from anytalk.synth.remote import is_url, name_of
from anytalk.synth.seed import digest

from .attachment import Attachments, of_file, of_url
from .pair import BadPair, Pair, Recording
from .rows import Row, as_flow, chat_kind, column_names, json_lines, table_rows

BUNDLED = {"en": "pairs.jsonl", "de": "pairs.de.jsonl"}
"""File of the corpus in each language."""

LAST_TURN = 2**15 - 1

ROW_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)
"""What a value that nobody thought of can raise."""

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
    rows = json_lines(enumerate(corpus.read_text(encoding="utf-8").splitlines(), start=1), name)
    return table_pairs(source, rows, attachments, Path(), name)


def file_pairs(source: Table | Recordings, attachments: Attachments) -> Iterator[Pair | BadPair]:
    """Read a table that is one file.

    Raises:
        SetupError: it is a folder, is not readable, or lacks the columns.
    """
    if not is_url(source.path) and Path(source.path).is_dir():
        raise SetupError(
            f"source.path: {source.path} is a folder; a {source.kind} source is a file; a folder of recordings is of "
            "the kind recordings, or ljspeech where it has a metadata.csv"
        )
    kind = source.kind if isinstance(source, Table) else _kind_of(source.path)
    with local_file(source.path) as path:
        folder = folder_at(source.path) if is_url(source.path) else path.parent
        yield from table_pairs(source, table_rows(path, kind), attachments, folder, path.stem)


def is_table(path: str) -> bool:
    """Whether a path or URL has the suffix of a table."""
    return name_of(path).suffix.lower() in TABLE_SUFFIXES


def _kind_of(path: str) -> str:
    """Kind of a table by its suffix.

    Raises:
        SetupError: it is none that is read.
    """
    if not is_table(path):
        is_text = name_of(path).suffix.lower() in ("", ".txt", ".tab", ".dat")
        named = f", or name its kind: --set 'source={{kind: csv, path: {path}}}'" if is_text else ""
        raise SetupError(
            f"source.path: {path} is neither a folder of recordings nor a table that is read "
            f"({', '.join(TABLE_SUFFIXES)}); convert it to one of these{named}"
        )
    return TABLE_SUFFIXES[name_of(path).suffix.lower()]


def table_pairs(
    source: Mapped, rows: Iterator[Row], attachments: Attachments, folder: Path | str, name: str
) -> Iterator[Pair | BadPair]:
    """Map the columns of a table to pairs.

    Args:
        source: its columns and defaults.
        rows: of the table.
        attachments: stores the audio that rows hold.
        folder: where relative paths of recordings start, a path or a URL.
        name: label of rows that carry none.

    Raises:
        SetupError: there are no rows, or no column that makes a question.
    """
    columns = Columns() if isinstance(source, Bundled) else source.columns
    place, checked = None, False
    turns = Turns()
    for place, row in rows:
        if isinstance(row, BadPair):
            yield row
            continue
        if not checked:
            _check_columns(source, columns, row, name)
            checked = True
        try:
            pair = _pair(source, columns, row, attachments, folder, name, place)
            # Without a name of its own a conversation is one row.
            counts = columns.turn not in row and text_in(row, columns.conversation)
            yield turns.numbered(pair) if counts else pair
        except SampleError as error:
            yield BadPair(error.reason, error.detail, place)
        except ROW_ERRORS as error:
            yield BadPair("malformed_row", " ".join(str(error).split())[:300], place)
    if place is None:
        raise SetupError(f"source: {getattr(source, 'path', name)} holds no rows")


class Turns:
    """Numbers the turns of conversations in tables that do not: neighbouring rows of one name, in their order."""

    def __init__(self) -> None:
        self._name: tuple[str, str] | None = None
        self._turn = 0

    def numbered(self, pair: Pair) -> Pair:
        """The pair of the next row, with the number of its turn."""
        name = (pair.split_name, pair.conversation)
        self._turn = self._turn + 1 if name == self._name else 0
        self._name = name
        return dataclasses.replace(pair, turn=self._turn)


_HEARD = ("transcription", "transcript", "sentence", "text")

GUESSES = {
    "question": ("question", "prompt", "query", "instruction", "input", "user", "q", *_HEARD),
    "answer": ("answer", "response", "reply", "completion", "output", "assistant", "a"),
    "question_audio": ("question_audio", "audio", "audio_file", "file_name", "wav", "path"),
}
"""Names that people give to columns, whatever their capitals."""


def guessed_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Columns that hold questions, answers and recordings under other names than ours, as far as can be told."""
    by_name = {str(name).strip().lower(): str(name) for name in reversed(list(row))}
    found = {}
    for column, guesses in GUESSES.items():
        name = next((by_name[guess] for guess in guesses if guess in by_name), column)
        if column not in row and name != column:
            found[column] = name
    # A text beside a recording is what is said in it.
    if "question_audio" not in found and "question_audio" not in row and found.get("question", "").lower() in _HEARD:
        del found["question"]
    return found


def _check_columns(source: Mapped, columns: Columns, row: Mapping[str, Any], name: str) -> None:
    """Refuse a table without questions or answers, and say how it is read where that can be seen.

    Raises:
        SetupError: it has no column that makes a question, or a CSV or Parquet file none that makes an answer.
    """
    if {columns.question, columns.question_audio} & row.keys():
        _check_answers(source, columns, row, name)
        return
    missing = f"source.columns.question: no column {columns.question!r} in {name}; it has: {column_names(row)}"
    if (chat := chat_kind(row)) is not None:
        place = {"dataset": source.dataset} if isinstance(source, Hub) else {"path": getattr(source, "path", name)}
        keys = {"kind": chat["kind"], **place, **chat}
        raise SetupError(f"{missing}; these are chats of the kind {chat['kind']}: --set 'source={as_flow(keys)}'")
    raise SetupError(f"{missing}; {_advice(row, 'question')}")


def _check_answers(source: Mapped, columns: Columns, row: Mapping[str, Any], name: str) -> None:
    """Refuse questions without answers, unless they are recordings; JSON may leave out in one row what others have."""
    if {columns.answer, columns.answer_audio, columns.question_audio} & row.keys():
        return
    has_all = isinstance(source, Hub) or (isinstance(source, Table) and source.kind in ("csv", "parquet"))
    if has_all or "answer" in guessed_columns(row):
        missing = f"source.columns.answer: no column {columns.answer!r} in {name}; it has: {column_names(row)}"
        raise SetupError(f"{missing}; {_advice(row, 'answer')}")


def _advice(row: Mapping[str, Any], side: str) -> str:
    """How to name one's columns; with their names, where they can be guessed."""
    guessed = guessed_columns(row)
    if side not in guessed:
        return f"name yours with --set source.columns.{side}=..."
    settings = (f"source.columns.{key}={as_flow([name])[1:-1]}" for key, name in guessed.items())
    return " ".join(["say", *(f"--set {shlex.quote(setting)}" for setting in settings)])


def _pair(
    source: Mapped,
    columns: Columns,
    row: Mapping[str, Any],
    attachments: Attachments,
    folder: Path | str,
    name: str,
    place: str,
) -> Pair:
    question_recording = recording_in(row.get(columns.question_audio), attachments, folder, place)
    answer_recording = recording_in(row.get(columns.answer_audio), attachments, folder, place)
    question, answer = text_in(row, columns.question), text_in(row, columns.answer)
    if columns.question == "instruction" and (more := text_in(row, "input")):
        question = with_input(question or "", more)
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
        turn=turn_in(row, columns.turn),
        question=question,
        answer=answer,
        language=language_in(row, columns.language) or source.language,
        question_recording=question_recording,
        answer_recording=answer_recording,
        source=place,
        question_speaker=text_in(row, columns.question_speaker) or None,
        answer_speaker=text_in(row, columns.answer_speaker) or None,
    )


def with_input(instruction: str, more: str) -> str:
    """What to do and with what, which Alpaca parts, as one question.

    >>> with_input("Name the odd one out", "Twitter, Instagram, Telegram")
    'Name the odd one out: Twitter, Instagram, Telegram'
    """
    return f"{instruction}{':' if instruction[-1:].isalnum() else ''} {more}".strip()


def text_in(row: Mapping[str, Any], column: str) -> str | None:
    """Text of a column, with single spaces; None where there is none, as NaN says too.

    Raises:
        ValueError: it holds something else, or characters that no text has.
    """
    value = row.get(column)
    if isinstance(value, float | decimal.Decimal):
        # pandas makes floats of whole numbers beside gaps.
        value = None if math.isnan(value) else int(value) if math.isfinite(value) and value == int(value) else value
    if isinstance(value, bytes):
        value = value.decode()
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, _TEXTS):
        raise ValueError(f"column {column!r} holds {type(value).__name__}, not text")
    text = " ".join(str(value).split())
    if "\0" in text or not (text.isascii() or _SURROGATE.search(text) is None):
        raise ValueError(f"column {column!r} holds characters that no text has: {text[:40]!r}")
    return text


_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXTS = (str, int, float, decimal.Decimal, datetime.date, datetime.time, uuid.UUID)


def turn_in(row: Mapping[str, Any], column: str) -> int:
    """Number of a turn; 0 where there is none.

    Raises:
        ValueError: it is no number, or out of range.
    """
    text = text_in(row, column) or "0"
    number = float(text)
    if not 0 <= number <= LAST_TURN or number != int(number):
        raise ValueError(f"turn {text[:40]} is no whole number from 0 to {LAST_TURN}")
    return int(number)


def language_in(row: Mapping[str, Any], column: str) -> str | None:
    """Tag of a language; None where there is none.

    Raises:
        SampleError: `unknown_language`, for what is no tag.
    """
    tag = text_in(row, column)
    if tag and not is_tag(tag):
        meant = tag_of_name(tag)
        advice = f"; {meant!r} is meant" if meant else ", such as en or de-AT"
        raise SampleError("unknown_language", f"{tag[:40]!r} is no language tag{advice}")
    return tag


def recording_in(value: Any, attachments: Attachments, folder: Path | str, name: str) -> Recording | None:
    """Recording of a column: a path, the bytes of a file, or both as `datasets` has them.

    Args:
        value: of the column.
        attachments: stores bytes.
        folder: where relative paths start. What a table at a URL names lies at one as well.
        name: of a recording that has none.

    Raises:
        SampleError: `missing_audio`: the path leads nowhere.
        ValueError: it is something else.
    """
    if isinstance(value, Mapping) and not {"path", "bytes"} & value.keys():
        raise ValueError(f"a recording is a path or the bytes of a file; this has {column_names(value)}")
    if isinstance(value, float) and math.isnan(value):
        return None
    path, content = (value.get("path"), value.get("bytes")) if isinstance(value, Mapping) else (value, None)
    if isinstance(path, bytes):
        path, content = None, path
    if isinstance(content, bytes) and content:
        return attachments.add(content, name)
    if not path:
        return None
    if not isinstance(path, str):
        raise ValueError(f"a recording is a path or bytes, not {type(path).__name__}")
    if isinstance(folder, str) or is_url(path):
        return of_url(path if is_url(path) else f"{folder}/{path}")
    if not (folder / path).is_file():
        raise SampleError("missing_audio", f"recording {folder / path} does not exist")
    return of_file(folder / path)
