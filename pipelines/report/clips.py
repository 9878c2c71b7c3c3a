"""Sounds of the rows that a page shows, as MP3: small, and played by every browser.

libsndfile writes MP3 with the same bytes each time; its Ogg files (Opus) hold a random number.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

from anytalk.pipelines.dataset import ANSWER_RATE_HZ, SIDES, Store, matrix
from anytalk.synth.audio import Waveform
from anytalk.synth.codec import Codec
from anytalk.synth.errors import SampleError

from .rows import ACCEPTED, nearest, read_batches

QUALITY = 0.7
"""Of variable bitrate, 0 best to 1 smallest: about 30 kbit/s for speech at 16 kHz and 45 kbit/s at 24 kHz."""
LONGEST_S = 60.0
"""Of a clip; what is longer is played from its beginning."""
ENCODERS = 4


@dataclass(frozen=True)
class Clip:
    """One sound of a row: what it is, MP3 bytes, and whether it is only the beginning."""

    name: str
    mp3: bytes
    is_cut: bool


def clips_of(store: Store, rows: Sequence[Mapping[str, Any]], codec: Codec | None) -> Iterator[tuple[str, list[Clip]]]:
    """Read and compress the sounds of some rows.

    Args:
        store: the dataset.
        rows: of `rows.FLAT`.
        codec: decodes the codes of answers; None for none.

    Yields:
        Id of a row and its clips, file by file: question, answer, and the answer through the codec; of a rejected row
        those of its best attempts.
    """
    by_file: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_file.setdefault(row["shard"], []).append(row)
    with ThreadPoolExecutor(ENCODERS) as pool:
        for path, own in by_file.items():
            read = _accepted if own[0]["outcome"] == ACCEPTED else _rejected
            for name, sounds in read(store, path, {row["id"] for row in own}, codec):
                yield name, list(pool.map(_clip, sounds))


Sound = tuple[str, Waveform, int]
"""What it is, samples, and their rate in Hz."""


def _accepted(store: Store, path: str, ids: set[str], codec: Codec | None) -> Iterator[tuple[str, list[Sound]]]:
    columns = ["id", "question_audio", "answer_audio", "answer_codes"]
    for table in read_batches(store, path, columns):
        for place, name in enumerate(table["id"].to_pylist()):
            if name not in ids:
                continue
            sounds = [(side, *_decoded(table[f"{side}_audio"][place].as_py())) for side in SIDES]
            codes = None if codec is None else matrix(table["answer_codes"], place)
            yield name, [*_there(sounds), *_through(codec, codes, "answer through the codec")]


def _rejected(store: Store, path: str, ids: set[str], codec: Codec | None) -> Iterator[tuple[str, list[Sound]]]:
    for table in read_batches(store, path, ["id", "attempts"]):
        for place, name in enumerate(table["id"].to_pylist()):
            if name not in ids:
                continue
            attempts = table["attempts"][place].as_py() or []
            best = [(side, nearest([one for one in attempts if one["side"] == side])) for side in SIDES]
            sounds = [
                (f"{side}, attempt {one['attempt']}", *_decoded(one["audio"])) for side, one in best if one is not None
            ]
            answer = next((one for side, one in best if side == "answer"), None)
            yield name, [*_there(sounds), *_through(codec, _codes(codec, answer), "answer through the codec")]


def _codes(codec: Codec | None, answer: Mapping[str, Any] | None) -> np.ndarray | None:
    """Codes of a rejected answer: those that it came as, or the codec's, as no answer is encoded before it passes."""
    if codec is None or answer is None:
        return None
    if answer["codes"] is not None:
        return np.asarray(answer["codes"], np.uint16)
    samples, rate_hz = _decoded(answer["audio"])
    if samples is None:
        return None
    [codes] = codec.encode([samples], rate_hz)
    return None if isinstance(codes, SampleError) else codes


def _decoded(audio: Mapping[str, Any] | None) -> tuple[Waveform | None, int]:
    if audio is None or audio["bytes"] is None:
        return None, 0
    samples, rate_hz = soundfile.read(io.BytesIO(audio["bytes"]), dtype="float32")
    return samples, rate_hz


def _there(sounds: Iterable[tuple[str, Waveform | None, int]]) -> Iterator[Sound]:
    return ((name, samples, rate_hz) for name, samples, rate_hz in sounds if samples is not None and len(samples))


def _through(codec: Codec | None, codes: np.ndarray | None, name: str) -> Iterator[Sound]:
    if codec is None or codes is None or not len(codes):
        return
    [decoded] = codec.decode([codes])
    if not isinstance(decoded, SampleError):
        yield name, decoded, ANSWER_RATE_HZ


def _clip(sound: Sound) -> Clip:
    name, samples, rate_hz = sound
    longest = int(LONGEST_S * rate_hz)
    file = io.BytesIO()
    soundfile.write(
        file,
        np.clip(samples[:longest], -1.0, 1.0),
        rate_hz,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=QUALITY,
    )
    return Clip(name, file.getvalue(), len(samples) > longest)
