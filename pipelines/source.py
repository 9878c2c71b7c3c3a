"""Read pairs: the bundled corpus, tables of text, and recordings with transcripts.

A reader yields one `Pair` for each row of the source. What cannot be read as a pair is yielded as a `BadPair` with its
reason, so that nothing of the source is lost without a word.
"""

import csv
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anytalk.synth.errors import SetupError
from anytalk.synth.seed import digest

from .recipe import Source

AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".wma", ".aiff", ".webm", ".mp4"}


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recording that a row brings along: where it is, and the SHA-256 of its bytes."""

    path: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Pair:
    """One question and its answer as the source has them. A side without text has a recording, or is not there."""

    split_name: str
    conversation: str
    turn: int
    question: str
    answer: str | None
    language: str
    question_recording: Recording | None = None
    answer_recording: Recording | None = None
    source: str = ""

    def recording_hashes(self) -> tuple[str | None, str | None]:
        """SHA-256 of the question's and of the answer's own recording, where there is one."""
        question, answer = self.question_recording, self.answer_recording
        return (question.sha256 if question else None, answer.sha256 if answer else None)


@dataclasses.dataclass(frozen=True)
class BadPair:
    """A row of the source that is no pair."""

    reason: str
    detail: str
    source: str


def read_pairs(source: Source) -> Iterator[Pair | BadPair]:
    """Read a source in its order, up to its limit of conversations.

    Raises:
        SetupError: the source is missing, or holds no such columns.
    """
    seen: set[str] = set()
    for pair in _pairs(source):
        if isinstance(pair, Pair):
            if pair.conversation not in seen and len(seen) == source.limit:
                return
            seen.add(pair.conversation)
        yield pair


def stamp(source: Source) -> list[tuple[str, int, int]]:
    """Path, size and time of every file that a source consists of; equal stamps need no second reading."""
    if source.kind == "bundled":
        return []
    path = _existing(source)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


def _existing(source: Source) -> Path:
    path = Path(str(source.path))
    if not path.exists():
        raise SetupError(f"source.path: {path} does not exist")
    return path


def _pairs(source: Source) -> Iterator[Pair | BadPair]:
    if source.kind == "bundled":
        corpus = resources.files("anytalk.synth") / "corpus" / "pairs.jsonl"
        rows = _jsonl(corpus.read_text(encoding="utf-8").splitlines(), "bundled")
        return _table_pairs(source, rows, Path(), "bundled")
    path = _existing(source)
    if path.is_dir():
        if source.kind != "recordings":
            raise SetupError(f"source.path: {path} is a folder; a {source.kind} source is a file")
        return _folder_pairs(source, path)
    kind = {".csv": "csv", ".parquet": "parquet"}.get(path.suffix.lower(), "jsonl")
    if source.kind != "recordings":
        kind = source.kind
    readers = {"jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}
    return _table_pairs(source, readers[kind](path), path.parent, path.stem)


Row = tuple[str, Mapping[str, Any] | BadPair]


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", errors="replace") as lines:
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
    for batch in file.iter_batches(1024):
        for row in batch.to_pylist():
            yield f"{path.name}:{next(number)}", row


def _table_pairs(source: Source, rows: Iterator[Row], folder: Path, name: str) -> Iterator[Pair | BadPair]:
    """Map the columns of a table to pairs."""
    columns = source.columns
    first = next(rows, None)
    if first is None:
        raise SetupError(f"source.path: {source.path} holds no rows")
    if isinstance(first[1], Mapping) and not {columns.question, columns.question_audio} & first[1].keys():
        raise SetupError(
            f"source.columns.question: no column {columns.question!r} in {source.path}; "
            f"it has: {', '.join(first[1])}; name yours with --set source.columns.question=..."
        )
    for place, row in itertools.chain([first], rows):
        if isinstance(row, BadPair):
            yield row
            continue
        try:
            yield _pair(source, row, folder, name, place)
        except (ValueError, FileNotFoundError) as error:
            reason = "missing_audio" if isinstance(error, FileNotFoundError) else "malformed_row"
            yield BadPair(reason, str(error), place)


def _pair(source: Source, row: Mapping[str, Any], folder: Path, name: str, place: str) -> Pair:
    columns = source.columns

    def text(column: str) -> str | None:
        value = row.get(column)
        if value is not None and not isinstance(value, str | int | float):
            raise ValueError(f"column {column!r} holds {type(value).__name__}, not text")
        return None if value is None else " ".join(str(value).split())

    question_recording = _recording(text(columns.question_audio), folder)
    answer_recording = _recording(text(columns.answer_audio), folder)
    question, answer = text(columns.question) or "", text(columns.answer)
    if answer is None and question_recording is None:
        answer = ""  # A text pair without an answer is a bad row; a transcribed recording without one is an ASR row.
    hashes = [recording.sha256 if recording else None for recording in (question_recording, answer_recording)]
    # Without a name of its own a conversation is named by what it says, wherever in the file it stands.
    conversation = text(columns.conversation) or digest(question, answer, *hashes)[:16]
    return Pair(
        split_name=text(columns.split_name) or source.split_name or name,
        conversation=conversation,
        turn=int(text(columns.turn) or 0),
        question=question,
        answer=answer,
        language=text(columns.language) or source.language,
        question_recording=question_recording,
        answer_recording=answer_recording,
        source=place,
    )


def _recording(path: str | None, folder: Path) -> Recording | None:
    if not path:
        return None
    if not (folder / path).is_file():
        raise FileNotFoundError(f"recording {folder / path} does not exist")
    return _hashed(folder / path)


def _hashed(path: Path) -> Recording:
    with path.open("rb") as file:
        return Recording(str(path), hashlib.file_digest(file, "sha256").hexdigest())


def _folder_pairs(source: Source, folder: Path) -> Iterator[Pair | BadPair]:
    """`NAME.wav` with `NAME.txt` is a question; `NAME.answer.wav` and `NAME.answer.txt` beside it are its answer."""
    paths = {
        str(path.relative_to(folder).with_suffix("")): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    }
    if not paths:
        raise SetupError(f"source.path: no recordings in {folder}; known: {', '.join(sorted(AUDIO_SUFFIXES))}")
    names = dict.fromkeys(name.removesuffix(".answer") for name in paths)
    for name in names:
        question_path = paths.get(name)
        place = str((question_path or paths[f"{name}.answer"]).relative_to(folder))
        question, answer = _transcript(folder, name), _transcript(folder, f"{name}.answer")
        if question is None:
            yield BadPair("missing_transcript", f"{name}.txt does not exist", place)
            continue
        answer_path = paths.get(f"{name}.answer")
        if answer is None and (answer_path is not None or question_path is None):
            yield BadPair("missing_transcript", f"{name}.answer.txt does not exist", place)
            continue
        yield Pair(
            split_name=source.split_name or folder.name,
            conversation=name,
            turn=0,
            question=question,
            answer=answer,
            language=source.language,
            question_recording=_hashed(question_path) if question_path else None,
            answer_recording=_hashed(answer_path) if answer_path else None,
            source=place,
        )


def _transcript(folder: Path, name: str) -> str | None:
    path = folder / f"{name}.txt"
    return " ".join(path.read_text(encoding="utf-8", errors="replace").split()) if path.is_file() else None
