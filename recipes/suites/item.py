"""One thing to ask of a model in an evaluation suite, and what a row of a published set holds of it.

Columns are known by the names that these sets have, whatever their capitals:

- VoiceBench (https://huggingface.co/datasets/hlt-lab/voicebench): `prompt`, `audio`; `reference` in sd-qa, mmsu,
  openbookqa and bbh, where it may be the letter of an option; the other subsets are open questions.
- Llama Questions (https://huggingface.co/datasets/fixie-ai/llama-questions): `question`, `answer`, `audio`; as a CSV of
  OpenAudioBench `Questions`, `Answer`, `audio_filename`.
- VocalBench (https://huggingface.co/datasets/VocalNet/VocalBench, folders `json` and `audio`): `Qid`, `Audio`,
  `Question`, `Answer`; its sets of creativity, emotion and the like have no `Answer`.
- LibriSpeech (https://huggingface.co/datasets/openslr/librispeech_asr): `id`, `audio`, `text`; likewise most ASR sets.
- URO-Bench: `source_wav`, `source_text`, `target_text`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytalk.pipelines.source import column_names
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.text import without_tags

KNOWN = {
    "question": (
        "question",
        "questions",
        "prompt",
        "instruction",
        "query",
        "source_text",
        "text",
        "sentence",
        "transcription",
        "transcript",
    ),
    "answer": ("answers", "answer", "reference", "references", "target_text"),
    "audio": ("question_audio", "audio", "source_wav", "audio_filename", "audio_path", "wav", "path"),
    "id": ("id", "qid", "key"),
    "language": ("language",),
}
"""Names of columns by what they hold; of several, the first one that a row has."""

AUDIO_FOLDERS = (".", "audio", "../audio", "..")
"""Where a relative path of a recording may start, from the table's folder."""

ROW_ERRORS = (ValueError, TypeError, AttributeError, LookupError)


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to ask."""

    id: str
    question: str
    """In writing; of a recording, its transcript. Empty where there is none."""
    references: tuple[str, ...] = ()
    """Right answers; none for an open question."""
    audio: bytes | Path | None = None
    """The question as a recording: a file's content, or its path."""
    language: str = "en"
    codes: NDArray[np.uint16] | None = None
    """The first reference as spoken, (frames, layers)."""
    style_tags: tuple[str, ...] = ()
    """What texts may hold beside words, such as `<laugh>`; see `plain`."""

    def plain(self, text: str) -> str:
        """A text as it is compared: tags are no words."""
        return without_tags(text, self.style_tags)


@dataclass(frozen=True)
class BadItem:
    """A row that cannot be asked, and why."""

    id: str
    error: str


def item_of(row: Mapping[str, Any], place: str, folder: Path, columns: Mapping[str, str], language: str) -> Item:
    """Read a row.

    Args:
        row: its values by column.
        place: where it stands, which is its id if it has none.
        folder: where relative paths of recordings start; see `AUDIO_FOLDERS`.
        columns: names of columns instead of those in `KNOWN`, by the keys of `KNOWN`.
        language: of rows that name none.

    Raises:
        SetupError: the row has neither a text nor a recording of a question.
        SampleError: `malformed_row` or `missing_audio`.
    """
    found = {key: _value(row, key, columns) for key in KNOWN}
    if found["question"] is None and found["audio"] is None:
        names = ", ".join((*KNOWN["question"], *KNOWN["audio"]))
        raise SetupError(
            f"{place} has no question: none of its columns ({column_names(row)}) is one of {names}; "
            "name yours with --column question=NAME"
        )
    try:
        return Item(
            id=_text(found["id"]) or place,
            question=_text(found["question"]),
            references=_references(found["answer"]),
            audio=_recording(found["audio"], folder),
            language=_text(found["language"]) or language,
        )
    except ROW_ERRORS as error:
        raise SampleError("malformed_row", " ".join(str(error).split())[:300]) from error


def _value(row: Mapping[str, Any], key: str, columns: Mapping[str, str]) -> Any:
    """The value of the first known column that a row has and that holds something."""
    if key in columns:
        if columns[key] not in row:
            raise SetupError(f"there is no column {columns[key]!r}; there are: {column_names(row)}")
        return row[columns[key]]
    by_name = {str(name).lower(): value for name, value in row.items()}
    values = (by_name.get(name) for name in KNOWN[key])
    return next((value for value in values if value is not None and value != ""), None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError(f"a {type(value).__name__} where a text should be")
    return " ".join(str(value).split())


def _references(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple | np.ndarray) else [value]
    return tuple(dict.fromkeys(text for each in values if (text := _text(each))))


def _recording(value: Any, folder: Path) -> bytes | Path | None:
    """A recording of a column: the bytes of a file, a path, or both as `datasets` has them."""
    path, content = (value.get("path"), value.get("bytes")) if isinstance(value, Mapping) else (value, None)
    if isinstance(found := content or path, bytes):
        return found
    if path is None:
        return None
    if not isinstance(path, str):
        raise ValueError(f"a recording is a path or the bytes of a file, not {type(path).__name__}")
    for start in AUDIO_FOLDERS:
        if (folder / start / path).is_file():
            return folder / start / path
    raise SampleError("missing_audio", f"recording {folder / path} does not exist")
