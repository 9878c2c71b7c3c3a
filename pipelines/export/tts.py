"""`tts-parquet`: `text`, `audio` and `source`, which notebooks for finetuning text to speech read."""

import dataclasses
from collections.abc import Iterator, Sequence

import pyarrow as pa

from anytalk.pipelines.dataset.schema import AUDIO
from anytalk.pipelines.recipe import Side

from .format import (
    File,
    LeaveOut,
    Part,
    Row,
    Source,
    TableFormat,
    TextForm,
    measure_columns,
    measures_of,
    speaker_of,
    text_of,
)
from .parquet import parquet_bytes, typed


@dataclasses.dataclass(frozen=True)
class TtsParquet(TableFormat):
    """See the top of this file.

    Args:
        side: whose speech: `answer` or `question`.
        source: name of the speaker of all rows; None for each row's own.
        text: which text.
    """

    side: Side = "answer"
    source: str | None = None
    text: TextForm = "spoken"

    name = "tts-parquet"
    task_categories = ("text-to-speech",)

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """One Parquet file."""
        measures = measure_columns((self.side,))
        schema = typed(
            {"text": pa.string(), "audio": AUDIO, "source": pa.string(), "id": pa.string(), "language": pa.string()}
            | {"voice": pa.string(), "transcript": pa.string()}
            | dict.fromkeys([name.removeprefix(f"{self.side}_") for name in measures], pa.float32())
        )
        own = [self.side, *(f"{self.side}_{name}" for name in ("written", "audio", "voice", "speaker", "transcript"))]
        content = parquet_bytes(
            self._rows(source.rows(part, ["id", "language", *own, *measures]), schema.names, leave_out), schema
        )
        if content is not None:
            yield f"data/{part.name}.parquet", content

    def notes(self) -> str:
        """See `Format.notes`."""
        return f"`text` and `audio` are each row's {self.side}, `source` its speaker; the other columns are measures."

    def _rows(self, rows: Iterator[Row], names: Sequence[str], leave_out: LeaveOut) -> Iterator[Row]:
        side = self.side
        for row in rows:
            text, audio = text_of(row, side, self.text), row[f"{side}_audio"]
            if not text:
                leave_out(row, "no_text", f"the row has no {side}")
            elif audio is None:
                leave_out(row, "no_audio", f"the row has no {side}_audio")
            else:
                measures = {name.removeprefix(f"{side}_"): value for name, value in measures_of(row, (side,)).items()}
                yield dict.fromkeys(names) | {
                    "text": text,
                    "audio": audio | {"path": f"{row['id']}.flac"},
                    "source": speaker_of(row, side) if self.source is None else self.source,
                    "id": row["id"],
                    "language": row["language"],
                    "voice": row[f"{side}_voice"],
                    "transcript": row[f"{side}_transcript"],
                    **measures,
                }
