"""`webdataset`: tar files in which the files of a row stand together, for WebDataset's sequential readers.

Source: https://github.com/webdataset/webdataset: files of one sample follow each other and share the name up to the
first dot; what comes after it is the key under which a reader finds the content.
"""

import dataclasses
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from anytalk.pipelines.dataset import SIDES

from .format import File, Format, LeaveOut, Part, Row, Source

MATRIX_FILES = {"answer_codes": "codes.npy", "question_features": "features.npy"}
SOUND_FILES = {f"{side}_audio": f"{side}.flac" for side in SIDES}


def tar_bytes(files: Iterable[File]) -> bytes:
    """Write files as a tar; the same files always give the same bytes."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    """Write an array in numpy's own format, which holds no pickle."""
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


@dataclasses.dataclass(frozen=True)
class WebDataset(Format):
    """See the top of this file.

    Args:
        features: keep the Whisper features.
    """

    features: bool = False

    name = "webdataset"
    task_categories = ("automatic-speech-recognition", "text-to-speech", "audio-to-audio")

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """One tar file."""
        names = [name for name in source.schema.names if self.features or name != "question_features"]
        entries = [entry for row in source.rows(part, names) for entry in _sample(row)]
        if entries:
            yield f"{part.name}.tar", tar_bytes(entries)

    def notes(self) -> str:
        """See `Format.notes`."""
        return (
            "Each sample has `json` (texts, voices, transcripts, measures), `question.flac`, `answer.flac` and "
            "`codes.npy` (uint16, frames x 7)" + (", and `features.npy`." if self.features else ".")
        )


def _sample(row: Row) -> Iterator[File]:
    described: dict[str, Any] = {
        name: value for name, value in row.items() if name not in SOUND_FILES and name not in MATRIX_FILES
    }
    yield f"{row['id']}.json", json.dumps(described, ensure_ascii=False).encode()
    for name, file in SOUND_FILES.items():
        if row[name] is not None:
            yield f"{row['id']}.{file}", row[name]["bytes"]
    for name, file in MATRIX_FILES.items():
        if row.get(name) is not None:
            yield f"{row['id']}.{file}", npy_bytes(row[name])
