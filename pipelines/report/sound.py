"""Sounds of a row: as they are stored, and the answer as its codes give it back."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from anytalk.pipelines.dataset import ANSWER_RATE_HZ, RATES_HZ, SIDES
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.recipe.dataset import KEPT_CODES
from anytalk.synth.audio import Waveform, resample
from anytalk.synth.codec import Codec, load_codec
from anytalk.synth.errors import AnyTalkError, SampleError, SetupError

from .whole import WholeRow

PAUSE_S = 0.5


def codec_of(recipe: Recipe) -> Codec | str:
    """The codec that decodes the answers of a dataset, or why there is none here."""
    if recipe.codec.model == KEPT_CODES:
        return "the recipe names no codec that decodes answers"
    try:
        return load_codec(recipe.codec.model)
    except AnyTalkError as error:
        return f"the codec cannot be loaded here: {str(error).splitlines()[0]}"


def sounds_of(row: WholeRow) -> Iterator[tuple[str, Waveform, int]]:
    """Every sound that is stored of a row, and the answer through the codec.

    Yields:
        What it is (`question`, `answer`, `answer-codec`, or `answer-attempt-1` of one that does not count), float32
        samples, and their rate in Hz.
    """
    if row.attempted is None:
        return
    for side in SIDES:
        chosen = row.attempted.chosen(side)
        for attempt in row.attempted.attempts[side]:
            name = side if attempt is chosen else f"{side}-attempt-{attempt.number}"
            if (sound := attempt.sound()) is not None:
                yield name, sound, RATES_HZ[side]
            if attempt.change is not None and attempt.change.flac is not None:
                changed = soundfile.read(io.BytesIO(attempt.change.flac), dtype="float32")[0]
                yield f"{name}-augmented", changed, RATES_HZ[side]
            if attempt.codes is not None:
                codec = codec_of(row.judgement.recipe)
                if not isinstance(codec, str):
                    [decoded] = codec.decode([attempt.codes])
                    if not isinstance(decoded, SampleError):
                        yield f"{name}-codec", decoded, ANSWER_RATE_HZ


def save_sounds(row: WholeRow, folder: Path) -> list[Path]:
    """Write every sound of a row as a 16-bit wav file, and give their paths.

    Raises:
        SetupError: there is no sound of it, or the folder cannot be written.
    """
    written = []
    try:
        for name, sound, rate_hz in sounds_of(row):
            folder.mkdir(parents=True, exist_ok=True)
            written.append(folder / f"{row.id}-{name}.wav")
            soundfile.write(written[-1], sound, rate_hz, subtype="PCM_16")
    except OSError as error:
        raise SetupError(f"{folder} cannot be written: {error}") from None
    _require(row, bool(written))
    return written


def write_played(row: WholeRow, file: BinaryIO) -> None:
    """Write what a person listens to as one wav file at 24 kHz: question, answer, and the answer through the codec.

    Of a rejected row all attempts follow each other.

    Raises:
        SetupError: there is no sound of it.
    """
    parts = [resample(sound, rate_hz, ANSWER_RATE_HZ) for _, sound, rate_hz in sounds_of(row)]
    _require(row, bool(parts))
    pause = np.zeros(int(PAUSE_S * ANSWER_RATE_HZ), np.float32)
    joined = np.concatenate([one for part in parts for one in (part, pause)][:-1])
    content = io.BytesIO()
    soundfile.write(content, np.clip(joined, -1.0, 1.0), ANSWER_RATE_HZ, format="WAV", subtype="PCM_16")
    file.write(content.getvalue())


def _require(row: WholeRow, is_there: bool) -> None:
    if not is_there:
        raise SetupError(f"no sound is stored of row {row.id}: it is {row.outcome}, {row.detail or row.reason}")
