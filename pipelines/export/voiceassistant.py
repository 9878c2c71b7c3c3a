"""`voiceassistant-400k`: the seven columns of VoiceAssistant-400K as it is published, answers as SNAC codes in words.

Source: https://huggingface.co/datasets/gpt-omni/VoiceAssistant-400K. Mini-Omni, SLAM-LLM's s2s example (columns
`question`, `question_audio`, `answer`, `answer_snac`) and the source of kind `voiceassistant` read it.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from anytalk.pipelines.dataset.schema import AUDIO

from .format import File, LeaveOut, Part, Row, Source, TableFormat, TextForm, require_snac, text_of
from .parquet import parquet_bytes, typed

SCHEMA = typed(
    {name: pa.string() for name in ("split_name", "index", "round", "question")}
    | {"question_audio": AUDIO, "answer": pa.string(), "answer_snac": pa.string()}
)
COLUMNS = ("id", "split_name", "conversation", "turn", "variant", "question", "answer", "question_written")


def codes_text(codes: np.ndarray) -> str:
    """Codes of shape (frames, 7) as the dataset writes them.

    >>> codes_text(np.array([[1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14]]))
    '# 1 2 3 4 5 6 7 # 8 9 10 11 12 13 14'
    """
    return " ".join(f"# {' '.join(map(str, frame))}" for frame in codes.tolist())


@dataclasses.dataclass(frozen=True)
class VoiceAssistant400k(TableFormat):
    """See the top of this file.

    Args:
        text: which text of both sides.
        any_codec: export codes of another codec than SNAC.
    """

    text: TextForm = "spoken"
    any_codec: bool = False

    name = "voiceassistant-400k"
    task_categories = ("audio-to-audio", "automatic-speech-recognition")

    def prepare(self, source: Source) -> None:
        """See `Format.prepare`."""
        require_snac(source, "VoiceAssistant-400K", any_codec=self.any_codec)

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """One Parquet file."""
        rows = source.rows(part, [*COLUMNS, "answer_written", "question_audio", "answer_codes"])
        content = parquet_bytes(self._rows(rows, leave_out), SCHEMA)
        if content is not None:
            yield f"data/{part.name}.parquet", content

    def notes(self) -> str:
        """See `Format.notes`."""
        return (
            "The columns are those of "
            "[VoiceAssistant-400K](https://huggingface.co/datasets/gpt-omni/VoiceAssistant-400K): `answer_snac` holds "
            "a `#` and seven codes for each frame of 85.3 ms. `index` is the conversation, with `-v1`, `-v2`, where "
            "it was spoken again in other voices; `round` counts turns from 0. Measures have no column there and are "
            "left out: `anytalk export hf` keeps them."
        )

    def _rows(self, rows: Iterator[Row], leave_out: LeaveOut) -> Iterator[Row]:
        for row in rows:
            codes = row["answer_codes"]
            if row["question_audio"] is None:
                leave_out(row, "no_audio", "the row has no question_audio")
            elif not row["answer"]:
                leave_out(row, "no_text", "the row has no answer")
            elif codes is None or not len(codes):
                leave_out(row, "no_codes", "the row has no answer_codes")
            else:
                again = f"-v{row['variant']}" if row["variant"] else ""
                yield {
                    "split_name": row["split_name"],
                    "index": f"{row['conversation']}{again}",
                    "round": str(row["turn"]),
                    "question": text_of(row, "question", self.text),
                    "question_audio": row["question_audio"] | {"path": f"{row['id']}.flac"},
                    "answer": text_of(row, "answer", self.text),
                    "answer_snac": codes_text(codes),
                }
