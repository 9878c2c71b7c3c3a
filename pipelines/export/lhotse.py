"""`lhotse`: a CutSet of Lhotse, as Shar or with its recordings as files.

Source: https://github.com/lhotse-speech/lhotse at 1.33.0, `shar/writers` and the manifests that it writes. The stored
FLAC goes in as it is; Lhotse's own writer would decode it and encode it anew. A cut of both sides has the question as
its recording and the answer as `target_audio`, as NeMo's speech-to-speech recipes name it.
"""

import dataclasses
import gzip
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from anytalk.pipelines.dataset import RATES_HZ, SIDES, Store
from anytalk.pipelines.recipe import Side

from .format import (
    File,
    Format,
    LeaveOut,
    Part,
    Row,
    Source,
    TextForm,
    measure_columns,
    measures_of,
    speaker_of,
    text_of,
)
from .webdataset import npy_bytes, tar_bytes

Layout = Literal["shar", "files"]


@dataclasses.dataclass(frozen=True)
class Lhotse(Format):
    """See the top of this file.

    Args:
        layout: `shar`, tar files beside manifests; or `files`, a FLAC file a recording and one manifest a split.
        side: `question` (recognition) or `answer` (synthesis) alone; None for both.
        text: which text the supervisions have.
    """

    layout: Layout = "shar"
    side: Side | None = None
    text: TextForm = "spoken"

    name = "lhotse"
    task_categories = ("automatic-speech-recognition", "text-to-speech", "audio-to-audio")

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """A shard: cuts, recordings, and with both sides target recordings and codes."""
        main: Side = self.side or "question"
        cuts: list[dict[str, Any]] = []
        sounds: dict[str, list[File]] = {"recording": [], "target_audio": [], "target_codes": []}
        for row in source.rows(part, _columns(source)):
            if row[f"{main}_audio"] is None or not text_of(row, main, self.text):
                leave_out(row, "no_audio", f"the row has no {main}_audio, or no {main}")
                continue
            cuts.append(self._cut(row, main))
            self._add(sounds, row, main)
        if not cuts:
            return
        where = f"{part.split}/cuts.{part.number:06d}.jsonl.gz"
        yield where, _lines(cuts)
        if self.layout == "files":
            for name in ("recording", "target_audio"):
                yield from ((_file(name, key), content) for key, content in sounds[name] if key.endswith(".flac"))
            return
        for name, files in sounds.items():
            if files:
                yield f"{part.split}/{name}.{part.number:06d}.tar", tar_bytes(files)

    def closing(self, parts: Sequence[Part], written: Store) -> Iterator[File]:
        """With recordings as files, the manifest of each split, from those of its parts."""
        if self.layout == "shar":
            return
        for split in dict.fromkeys(part.split for part in parts):
            # Members of a gzip file may follow each other.
            content = [written.read(path) for path in written.files(split) if path.endswith(".jsonl.gz")]
            yield f"{split}.jsonl.gz", b"".join(content)

    def notes(self) -> str:
        """See `Format.notes`."""
        if self.layout == "files":
            return (
                "`lhotse.CutSet.from_file('train.jsonl.gz')` reads a split, in this folder: paths are relative to it."
            )
        return "`lhotse.CutSet.from_shar(in_dir='train')` reads a split."

    def _cut(self, row: Row, main: Side) -> dict[str, Any]:
        """A MonoCut as Lhotse writes it."""
        recording = self._recording(row, main, "recording")
        custom: dict[str, Any] = {name: row[name] for name in ("split_name", "conversation", "turn", "variant")}
        custom |= {name: row[name] for name in ("question_voice", "answer_voice") if row[name]}
        custom |= measures_of(row)
        if self.side is None:
            custom |= {"question": text_of(row, "question", self.text), "answer": text_of(row, "answer", self.text)}
            if row["answer_audio"] is not None:
                custom |= {
                    "target_audio": self._recording(row, "answer", "target_audio"),
                    "target_audio_unaligned": True,
                }
            if row["answer_codes"] is not None and self.layout == "shar":
                custom["target_codes"] = _array(row["answer_codes"])
        supervision = {
            "id": row["id"],
            "recording_id": row["id"],
            "start": 0,
            "duration": recording["duration"],
            "channel": 0,
            "text": text_of(row, main, self.text),
            "language": row["language"],
        }
        if speaker := speaker_of(row, main):
            supervision["speaker"] = speaker
        return {
            "id": row["id"],
            "start": 0,
            "duration": recording["duration"],
            "channel": 0,
            "supervisions": [supervision],
            "recording": recording,
            "custom": custom,
            "type": "MonoCut",
        }

    def _recording(self, row: Row, side: Side, name: str) -> dict[str, Any]:
        samples, rate_hz = row[f"{side}_samples"], RATES_HZ[side]
        file = ("file", _file(name, f"{row['id']}.flac")) if self.layout == "files" else ("shar", "")
        return {
            "id": row["id"],
            "sources": [{"type": file[0], "channels": [0], "source": file[1]}],
            "sampling_rate": rate_hz,
            "num_samples": samples,
            "duration": samples / rate_hz,
            "channel_ids": [0],
        }

    def _add(self, sounds: dict[str, list[File]], row: Row, main: Side) -> None:
        """What a cut's fields hold; every cut has an entry in the tar of every field, be it an empty one."""
        held: dict[str, Side] = {"recording": main} | ({"target_audio": "answer"} if self.side is None else {})
        for name, side in held.items():
            audio = row[f"{side}_audio"]
            content = None if audio is None else audio["bytes"]
            sounds[name] += _entry(row["id"], "flac", content, self._recording(row, side, name) if audio else {})
        if self.side is None:
            codes = row["answer_codes"]
            content = None if codes is None else npy_bytes(codes)
            sounds["target_codes"] += _entry(row["id"], "npy", content, {} if codes is None else _array(codes))


def _columns(source: Source) -> list[str]:
    named = ["id", "split_name", "conversation", "turn", "variant", "language", "answer_codes", *measure_columns()]
    ends = ("", "_written", "_audio", "_samples", "_voice", "_speaker")
    return [*named, *(f"{side}{end}" for side in SIDES for end in ends)]


def _file(name: str, key: str) -> str:
    """Where a recording is among files: few thousand in a folder."""
    return f"{name}/{key[:2]}/{key}"


def _array(codes: np.ndarray) -> dict[str, Any]:
    return {"storage_type": "shar", "storage_path": "", "storage_key": "", "shape": list(codes.shape)}


def _entry(key: str, ending: str, content: bytes | None, manifest: dict[str, Any]) -> list[File]:
    if content is None:
        return [(f"{key}.nodata", b""), (f"{key}.nometa", b"")]
    return [(f"{key}.{ending}", content), (f"{key}.json", json.dumps(manifest).encode() + b"\n")]


def _lines(values: Sequence[dict[str, Any]]) -> bytes:
    """JSON lines, compressed; without the time, so that the same lines give the same bytes."""
    lines = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    return gzip.compress(lines.encode(), mtime=0)
