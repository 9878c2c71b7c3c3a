"""A folder of recordings: which files belong together, and a reject for each file that is in no row."""

import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from anytalk.pipelines.concurrency import several_in_order
from anytalk.pipelines.recipe import TABLE_SUFFIXES, Recordings
from anytalk.pipelines.source.encoding import lines_of
from anytalk.pipelines.source.pair import BadPair, Pair
from anytalk.pipelines.source.table import text_in
from anytalk.synth.errors import SetupError

from .files import AUDIO_SUFFIXES, Folder, at_once, folder_of

AUDIO_HEAD = re.compile(
    rb"ID3|fLaC|OggS|FORM....AIF|(?:RIFF|RIFX|RF64|BW64)....WAVE|....ftyp|\x1a\x45\xdf\xa3|#!AMR|\.snd|caff|riff\x2e\x91"
    rb"|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xfd][\x10-\xef]|\x30\x26\xb2\x75",
    re.DOTALL,
)
"""What recordings of the usual formats begin with, whatever their names."""

TRANSCRIPT = ".txt"
ANSWER = ".answer"


@dataclass
class _Files:
    """Files of one name, but for suffixes."""

    questions: list[PurePath] = field(default_factory=list)
    answers: list[PurePath] = field(default_factory=list)
    question_text: PurePath | None = None
    answer_text: PurePath | None = None


def folder_pairs(source: Recordings, folder: Folder) -> Iterator[Pair | BadPair]:
    """`NAME.wav` with `NAME.txt` is a question; `NAME.answer.wav` and `NAME.answer.txt` beside it are its answer.

    Every file but hidden ones (`.NAME`) is in a row, or is a reject.

    Raises:
        SetupError: there are no recordings, or the folder has the layout of a set that is a table.
    """
    groups, rejects = _sorted_out(folder)
    if not any(files.questions or files.answers for files in groups.values()):
        raise SetupError(f"source.path: no recordings in {folder.path}; known: {', '.join(sorted(AUDIO_SUFFIXES))}")
    if (
        folder.is_near
        and not source.transcribe
        and not any(files.question_text for files in groups.values() if files.questions or files.answers)
    ):
        stems = {path.stem for files in groups.values() for path in (*files.questions, *files.answers)}
        _refuse_table(Path(folder.path), stems)
    read = functools.partial(_group_pairs, source, folder)
    for found in several_in_order(lambda group: list(read(*group)), groups.items(), at_once(folder)):
        yield from found
    yield from rejects


TABLES = (".csv", ".tsv", ".txt", ".list", ".jsonl", ".json", ".parquet")
"""Suffixes of what may be a table of transcripts."""

LOOKED_AT = 5
"""Lines of such a table that are looked at."""


def _refuse_table(folder: Path, stems: set[str]) -> None:
    """Raise for a set whose transcripts stand in one table, and say how it is read: LJSpeech's layout, or columns.

    Args:
        folder: of the recordings.
        stems: their names without suffixes.
    """
    if (found := _table_in(folder, stems)) is None:
        return
    kind, path = found
    own = "" if path.name == "metadata.csv" else f", metadata: {path.name}"
    how = {
        "ljspeech": f"is of the kind ljspeech: --set 'source={{kind: ljspeech, path: {folder}{own}}}'",
        "table": f"is read as a table: --set source={path}",
    }
    raise SetupError(
        f"source.path: {folder} has no NAME.txt beside its recordings, but {path.name}, so that it {how[kind]}"
    )


COPIES = ("dataset_dict.json", "state.json", "dataset_info.json")
"""Files of which one is in every copy that `datasets` saves."""


def source_in(folder: Path) -> dict[str, Any]:
    """How a folder of this machine is read, as keys of a source: as a copy from the hub, a table, or recordings."""
    if any((folder / name).is_file() for name in COPIES):
        return {"kind": "hub", "dataset": str(folder)}
    groups, _ = _sorted_out(folder_of(str(folder)))
    recorded = [files for files in groups.values() if files.questions or files.answers]
    stems = {path.stem for files in recorded for path in (*files.questions, *files.answers)}
    found = None if any(files.question_text for files in recorded) else _table_in(folder, stems)
    if found is None:
        return {"kind": "recordings", "path": str(folder)}
    kind, path = found
    if kind == "table":
        return {"kind": TABLE_SUFFIXES.get(path.suffix.lower(), "csv"), "path": str(path)}
    return {"kind": kind, "path": str(folder)} | ({} if path.name == "metadata.csv" else {"metadata": path.name})


def _table_in(folder: Path, stems: set[str]) -> tuple[str, Path] | None:
    """The table that holds the transcripts of a folder's recordings, and what reads it: `ljspeech` or `table`."""
    tables = [path for path in folder.iterdir() if path.suffix.lower() in TABLES and path.is_file()]
    for path in sorted(tables, key=lambda path: (path.stem != "metadata", path.name)):
        if (kind := _kind_of_table(path, stems)) is not None:
            return kind, path
    return None


def _kind_of_table(path: Path, stems: set[str]) -> str | None:
    """What reads a file as the transcripts of recordings; None where it names none of them."""
    if path.suffix.lower() == ".parquet":
        return "table"
    try:
        lines = [line for _, line in itertools.islice(lines_of(path), LOOKED_AT) if line and line.strip()]
    except SetupError:
        return None
    firsts = [re.split(r"[|,;\t]", line.strip("\ufeff\"' "), maxsplit=1)[0].strip("\"' ") for line in lines]
    names_columns = "question" in lines[0].lower() if lines else False
    if names_columns:
        return "table"
    is_named = any(Path(first).name in stems or Path(first).stem in stems for first in firsts)
    return "ljspeech" if is_named or path.stem == "metadata" else None


def _sorted_out(folder: Folder) -> tuple[dict[str, _Files], list[BadPair]]:
    """Files by their common name, in order, and those that are nothing here."""
    groups: dict[str, _Files] = {}
    rejects = []
    for path in folder.files():
        place = folder.place(path)
        stem, suffix = path.stem, path.suffix
        if place != str(path):
            rejects.append(BadPair("unreadable_name", "the name is not UTF-8; rename the file", place))
            continue
        is_text = suffix.lower() == TRANSCRIPT
        if not is_text and suffix.lower() not in AUDIO_SUFFIXES and AUDIO_HEAD.match(folder.head(path)) is None:
            rejects.append(BadPair("unused_file", "neither a recording nor a transcript (NAME.txt)", place))
            continue
        is_answer = stem.lower().endswith(ANSWER) and len(stem) > len(ANSWER)
        name = str(path.with_name(stem.removesuffix(stem[-len(ANSWER) :]) if is_answer else stem))
        files = groups.setdefault(name, _Files())
        if not is_text:
            (files.answers if is_answer else files.questions).append(path)
        elif (files.answer_text if is_answer else files.question_text) is not None:
            rejects.append(BadPair("unused_file", "another transcript of the same name is read", place))
        elif is_answer:
            files.answer_text = path
        else:
            files.question_text = path
    return groups, rejects


def _group_pairs(source: Recordings, folder: Folder, name: str, files: _Files) -> Iterator[Pair | BadPair]:
    """Rows and rejects of the files of one name: a row for each question."""
    if not files.questions and not files.answers:
        for path in (files.question_text, files.answer_text):
            if path is not None:
                yield BadPair("missing_audio", "a transcript without a recording of its name", folder.place(path))
        return
    for extra in files.answers[1:]:
        detail = f"{files.answers[0].name} is the answer already; two cannot be"
        yield BadPair("unused_file", detail, folder.place(extra))
    answer = files.answers[0] if files.answers else None
    questions: list[PurePath | None] = [*files.questions] or [None]
    for question in questions:
        # Recordings of one name in several formats are rows of their own.
        own = name if len(files.questions) < 2 or question is None else f"{name}{question.suffix}"
        place = folder.place(question or files.answers[0])
        try:
            yield _pair(source, folder, own, place, (question, answer), (files.question_text, files.answer_text), name)
        except _Refused as error:
            yield BadPair(error.reason, error.detail, place)


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def _pair(
    source: Recordings,
    folder: Folder,
    conversation: str,
    place: str,
    recordings: tuple[PurePath | None, PurePath | None],
    transcripts: tuple[PurePath | None, PurePath | None],
    name: str,
) -> Pair:
    for path in recordings:
        if path is not None and (what := folder.missing(path)):
            raise _Refused("missing_audio", f"{path.name} is {what}")
    question, answer = (_transcript(folder, path) for path in transcripts)
    question_path, answer_path = recordings
    if question is None and not (source.transcribe and question_path):
        raise _Refused("missing_transcript", f"{name}.txt does not exist")
    if answer is None and (answer_path or not question_path) and not (source.transcribe and answer_path):
        raise _Refused("missing_transcript", f"{name}.answer.txt does not exist")
    try:
        return Pair(
            split_name=source.split_name or folder.name,
            conversation=conversation,
            turn=0,
            question=question,
            answer=answer,
            language=source.language,
            question_recording=folder.recording(question_path) if question_path else None,
            answer_recording=folder.recording(answer_path) if answer_path else None,
            source=place,
        )
    except OSError as error:
        raise _Refused("missing_audio", f"{place} cannot be read: {error.strerror}") from error


def _transcript(folder: Folder, path: PurePath | None) -> str | None:
    if path is None or folder.missing(path):
        return None
    try:
        return text_in({"transcript": folder.text(path)}, "transcript")
    except (SetupError, ValueError) as error:
        said = str(error).removeprefix("source.path: ")
        raise _Refused("malformed_transcript", said) from error
