"""`preferences`: the speech of a text that passed its checks beside an attempt at it that failed, as pairs.

For preference training (DPO and its like) of text to speech. Failed attempts are those that the dataset kept in
`attempts/`: their sound and measures are stored, their codes only where the source brought codes.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from anytalk.pipelines.dataset import CODE_LAYERS, MEASURES, SIDES
from anytalk.pipelines.dataset.schema import AUDIO
from anytalk.pipelines.plan import load_committed
from anytalk.pipelines.recipe import Side

from .format import File, LeaveOut, Part, Row, Source, TableFormat, measure_columns
from .parquet import parquet_bytes, typed

SCHEMA = typed(
    {name: pa.string() for name in ("id", "side", "text", "language", "rejected_reason", "rejected_detail")}
    | {f"{end}_{name}": pa.string() for end in ("chosen", "rejected") for name in ("voice", "transcript")}
    | {"chosen_audio": AUDIO, "rejected_audio": AUDIO}
    | {"chosen_codes": pa.list_(pa.list_(pa.uint16(), CODE_LAYERS))}
    | {f"{end}_{measure}": pa.float32() for end in ("chosen", "rejected") for measure in MEASURES}
)


@dataclasses.dataclass(frozen=True)
class Preferences(TableFormat):
    """See the top of this file.

    Args:
        side: `question` or `answer` alone; None for both.
    """

    side: Side | None = None

    name = "preferences"
    task_categories = ("text-to-speech", "reinforcement-learning")

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """One Parquet file with a row for each failed attempt."""
        content = parquet_bytes(self._pairs(part, source, leave_out), SCHEMA)
        if content is not None:
            yield f"data/{part.name}.parquet", content

    def notes(self) -> str:
        """See `Format.notes`."""
        return (
            "Each row is one text: `chosen_audio` passed the checks, `rejected_audio` failed them for "
            "`rejected_reason`. Failed attempts have no codes of their own: encode `rejected_audio` with the codec of "
            "`chosen_codes` where a model is trained on codes. Rows of the dataset that passed at the first attempt "
            "are those left out as `no_failed_attempt`."
        )

    def _pairs(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[Row]:
        units = load_committed(source.store).units
        planned = {row.id: row.pair for sidecar in part.sidecars for row in units[sidecar["unit"]]}
        attempts = {row["id"]: row["attempts"] for row in source.kept(part, "attempts")}
        ends = ("", "_audio", "_voice", "_transcript")
        columns = [*(f"{side}{end}" for side in SIDES for end in ends), "answer_codes", *measure_columns()]
        for row in source.rows(part, ["id", "language", *columns]):
            pairs = [
                _pair(row, side, attempt)
                for attempt in attempts.get(row["id"], ())
                if (side := attempt["side"]) == (self.side or side) and row[f"{side}_audio"] is not None
                # A rephrased text is another text, and what has no reason was the sound before augmentation.
                if attempt["reason"] and attempt["audio"] is not None
                if (attempt["text"] or getattr(planned[row["id"]], side)) == row[side]
            ]
            if not pairs:
                leave_out(row, "no_failed_attempt", "no failed attempt at the same text with its sound is kept")
            yield from pairs


def _pair(row: Row, side: Side, attempt: dict[str, Any]) -> Row:
    codes = row["answer_codes"] if side == "answer" else None
    return {
        "id": row["id"],
        "side": side,
        "text": row[side],
        "language": row["language"],
        "rejected_reason": attempt["reason"],
        "rejected_detail": attempt["detail"],
        "chosen_voice": row[f"{side}_voice"],
        "rejected_voice": attempt["voice"],
        "chosen_transcript": row[f"{side}_transcript"],
        "rejected_transcript": attempt["transcript"],
        "chosen_audio": row[f"{side}_audio"] | {"path": f"{row['id']}-{side}.flac"},
        "rejected_audio": attempt["audio"] | {"path": f"{row['id']}-{side}-{attempt['attempt']}.flac"},
        "chosen_codes": codes,
        **{f"chosen_{measure}": row[f"{side}_{measure}"] for measure in MEASURES},
        **{f"rejected_{measure}": attempt[measure] for measure in MEASURES},
    }
