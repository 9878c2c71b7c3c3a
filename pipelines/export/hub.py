"""`hf`: all columns as plain Parquet, which `datasets` loads and the Hugging Face hub shows with its players."""

import dataclasses
from collections.abc import Iterator, Sequence

import pyarrow as pa

from anytalk.pipelines.dataset import schema as dataset_schema
from anytalk.pipelines.dataset.schema import AUDIO

from .format import File, LeaveOut, Part, Row, Source, TableFormat
from .parquet import parquet_bytes

FEATURES = "question_features"


@dataclasses.dataclass(frozen=True)
class HubParquet(TableFormat):
    """See the top of this file.

    Args:
        features: keep the Whisper features, which are most of a dataset and of no use to a reader with another encoder.
    """

    features: bool = False

    name = "hf"
    task_categories = ("automatic-speech-recognition", "text-to-speech", "audio-to-audio")

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """One Parquet file with the dataset's own columns and types."""
        schema = source.schema if self.features else _without(source.schema, FEATURES)
        audio = [field.name for field in schema if field.type == AUDIO]
        content = parquet_bytes((_named(row, audio) for row in source.rows(part, schema.names)), schema)
        if content is not None:
            yield f"data/{part.name}.parquet", content

    def notes(self) -> str:
        """See `Format.notes`."""
        kept = "with" if self.features else "without"
        return f"The columns are those of an anytalk dataset, {kept} the Whisper features of the questions."


def _named(row: Row, audio: Sequence[str]) -> Row:
    """The viewer and players go by the end of a file's name."""
    return row | {name: row[name] | {"path": f"{row['id']}.flac"} for name in audio if row[name] is not None}


def _without(schema: pa.Schema, name: str) -> pa.Schema:
    own = {"anytalk": schema.metadata[b"anytalk"].decode()}
    return dataset_schema.with_features([field for field in schema if field.name != name], own)
