"""`moshi`: stereo recordings of whole conversations with word times, for moshi-finetune.

Source: https://github.com/kyutai-labs/moshi-finetune, README and `annotate.py`: a line of `path` and `duration` a file,
the model in the left channel, the user in the right one, and beside each wav a json whose `alignments` give the words
of the left channel as `[word, [start, end], "SPEAKER_MAIN"]`, in seconds.
"""

import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import soundfile

from anytalk.pipelines.dataset import ANSWER_RATE_HZ, QUESTION_RATE_HZ, SIDES, Store
from anytalk.synth.audio import Waveform, resample

from .format import File, Format, LeaveOut, Part, Row, Source, measure_columns, measures_of
from .words import require_languages, words_of

MAIN = "SPEAKER_MAIN"


@dataclasses.dataclass(frozen=True)
class Moshi(Format):
    """See the top of this file.

    Args:
        words: the recogniser that gives word times; see `words_of`.
        device: where it runs.
        gap_s: silence between a question and its answer, and before the next question.
    """

    words: str = "tiny.en"
    device: str = "cpu"
    gap_s: float = 0.5

    name = "moshi"
    task_categories = ("audio-to-audio",)

    def prepare(self, source: Source) -> None:
        """See `Format.prepare`; loads the recogniser."""
        require_languages(self.words, self.device, source.manifest["rows_by_language"])

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """A wav and a json a conversation, then the lines that name them."""
        lines = []
        columns = ["language", "question_audio", "answer_audio", "question", "answer", *measure_columns()]
        for turns in source.conversations(part, columns, leave_out):
            whole = self._whole(turns, leave_out)
            if not whole:
                continue
            name = f"data_stereo/{part.split}/{whole[0][0]['id']}"
            stereo, alignments = self._joined(whole)
            yield f"{name}.wav", _wav_bytes(stereo)
            described = [{"id": row["id"], "measures": measures_of(row)} for row, _ in whole]
            yield f"{name}.json", json.dumps({"alignments": alignments, "rows": described}).encode()
            lines.append({"path": f"{name}.wav", "duration": stereo.shape[0] / ANSWER_RATE_HZ})
        if lines:
            yield f"export/lines/{part.name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode()

    def closing(self, parts: Sequence[Part], written: Store) -> Iterator[File]:
        """The lines of each split in one file, as moshi-finetune's `data.train_data` names it."""
        for split in dict.fromkeys(part.split for part in parts):
            paths = [f"export/lines/{part.name}.jsonl" for part in parts if part.split == split]
            yield f"{split}.jsonl", b"".join(written.read(path) for path in paths if written.exists(path))

    def notes(self) -> str:
        """See `Format.notes`."""
        return (
            "`train.jsonl` is `data.train_data` of moshi-finetune: the answers are in the left channel, the questions "
            f"in the right one, at {ANSWER_RATE_HZ // 1000} kHz. Word times of the answers are those of `{self.words}`."
        )

    def _whole(self, turns: Sequence[Row], leave_out: LeaveOut) -> list[tuple[Row, list[Any]]]:
        """Turns that have both sounds, with the words of their answers; up to the first that has not."""
        whole: list[tuple[Row, list[Any]]] = []
        for place, row in enumerate(turns):
            if len(whole) < place:
                leave_out(row, "missing_turn", "a turn before it was left out")
            elif missing := next((side for side in SIDES if row[f"{side}_audio"] is None), None):
                leave_out(row, "no_audio", f"the row has no {missing}_audio")
            elif words := self._words(row):
                whole.append((row, words))
            else:
                leave_out(row, "no_words", f"{self.words} hears no word in the answer")
        return whole

    def _words(self, row: Row) -> list[Any]:
        heard = resample(_samples(row["answer_audio"]), ANSWER_RATE_HZ, QUESTION_RATE_HZ)
        return words_of(heard, row["language"], self.words, self.device)

    def _joined(self, turns: Sequence[tuple[Row, list[Any]]]) -> tuple[np.ndarray, list[Any]]:
        """All turns one after the other: float32 of shape (samples, 2), and the words' places in it."""
        gap = np.zeros((round(self.gap_s * ANSWER_RATE_HZ), 2), np.float32)
        pieces: list[np.ndarray] = []
        alignments: list[Any] = []
        for row, words in turns:
            question = resample(_samples(row["question_audio"]), QUESTION_RATE_HZ, ANSWER_RATE_HZ)
            pieces += [gap] * bool(pieces) + [_channel(question, 1), gap]
            start_s = sum(len(piece) for piece in pieces) / ANSWER_RATE_HZ
            alignments += [
                [word.text, [round(start_s + word.start_s, 3), round(start_s + word.end_s, 3)], MAIN] for word in words
            ]
            pieces.append(_channel(_samples(row["answer_audio"]), 0))
        return np.concatenate(pieces), alignments


def _samples(audio: Any) -> Waveform:
    """The stored FLAC as float32, at its own rate."""
    waveform: Waveform = soundfile.read(io.BytesIO(audio["bytes"]), dtype="float32")[0]
    return waveform


def _channel(waveform: Waveform, channel: int) -> np.ndarray:
    """One channel of two, the other one silent: shape (samples, 2)."""
    stereo = np.zeros((len(waveform), 2), np.float32)
    stereo[:, channel] = waveform
    return stereo


def _wav_bytes(stereo: np.ndarray) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, stereo, ANSWER_RATE_HZ, format="WAV", subtype="PCM_16")
    return sink.getvalue()
