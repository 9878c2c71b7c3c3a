"""A folder of recordings to mix in or to hear a room by: found once, in the order of their names."""

from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from anytalk.synth.audio import Waveform, resample
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.fingerprint import Fingerprint, file_sha256
from anytalk.synth.seed import digest

SUFFIXES = frozenset({".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"})
"""What libsndfile reads, and reads from any place: of a long recording only the stretch that is used is decoded."""

NAMED_PROBLEMS = 5
UNKNOWN_FRAMES = 2**40
"""libsndfile's way to say that a header tells no length is a length that nothing has."""


class Sound(NamedTuple):
    """A recording of the folder."""

    name: str
    """Path below the folder, with slashes."""
    path: Path
    frames: int
    rate_hz: int


class SoundFolder:
    """Recordings of a folder and of all folders below it.

    Several channels are not averaged, which would comb a room: the first one counts.

    Args:
        folder: where they lie.
        longest_s: a longer one is refused; None for any length.

    Raises:
        SetupError: there is no such folder, nothing in it is a recording, or one is damaged, empty or too long; each
            by name.
    """

    def __init__(self, folder: str | Path, longest_s: float | None = None) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise SetupError(f"augment: there is no folder {folder}")
        paths = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not paths:
            raise SetupError(f"augment: no recordings in {folder}; known: {', '.join(sorted(SUFFIXES))}")
        self.sounds: list[Sound] = []
        problems = []
        for path in paths:
            try:
                info = soundfile.info(path)
            except soundfile.LibsndfileError as error:
                problems.append(f"augment: {path} cannot be read: {error.error_string}")
                continue
            if info.frames >= UNKNOWN_FRAMES:
                problems.append(f"augment: {path} was streamed and does not say how long it is; convert it with ffmpeg")
            elif not info.frames:
                problems.append(f"augment: {path} holds no samples")
            elif longest_s is not None and info.frames > longest_s * info.samplerate:
                problems.append(f"augment: {path} lasts {info.duration:.1f} s; at most {longest_s:g} s are allowed")
            self.sounds.append(Sound(path.relative_to(folder).as_posix(), path, info.frames, info.samplerate))
        if problems:
            more = len(problems) - NAMED_PROBLEMS
            rest = [f"augment: {more} more files of {folder} are no better"] if more > 0 else []
            raise SetupError("\n".join([*problems[:NAMED_PROBLEMS], *rest]))

    @property
    def fingerprint(self) -> Fingerprint:
        """SHA-256 over every recording's name and content, which reads them all, under the folder's name."""
        parts = [part for sound in self.sounds for part in (sound.name, file_sha256(sound.path))]
        return {str(self.folder): digest(*parts)}

    def whole(self, rng: np.random.Generator, rate_hz: int) -> tuple[Waveform, str]:
        """Draw a recording: all of it at `rate_hz`, and its name."""
        sound = self._drawn(rng)
        return resample(_read(sound, 0, sound.frames), sound.rate_hz, rate_hz), sound.name

    def excerpt(self, rng: np.random.Generator, samples: int, rate_hz: int) -> tuple[Waveform, str, float]:
        """Draw a stretch of a recording.

        Args:
            rng: decides the recording and where in it the stretch begins.
            samples: how many, at `rate_hz`. A recording that is shorter goes round.
            rate_hz: rate of the result.

        Returns:
            The stretch, the recording's name, and where it begins, in seconds.
        """
        sound = self._drawn(rng)
        # One more for rounding; the resampler may come out a sample short.
        wanted = ceil(samples * sound.rate_hz / rate_hz) + 1
        is_long = sound.frames >= wanted
        latest = sound.frames - wanted if is_long else sound.frames
        # In whole milliseconds, so that the place which is written down is the one that was used.
        start_s = int(rng.integers(1000 * latest // sound.rate_hz + 1)) / 1000
        start = int(start_s * sound.rate_hz)
        read = _read(sound, start, wanted) if is_long else np.roll(_read(sound, 0, sound.frames), -start)
        stretch = resample(np.resize(read, wanted), sound.rate_hz, rate_hz)
        return np.resize(stretch[:samples], samples), sound.name, start_s

    def _drawn(self, rng: np.random.Generator) -> Sound:
        return self.sounds[int(rng.integers(len(self.sounds)))]


def _read(sound: Sound, start: int, frames: int) -> Waveform:
    try:
        samples_TC, _ = soundfile.read(sound.path, frames, start, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise EngineError(f"augment: {sound.path} cannot be read now: {error}") from error
    if not len(samples_TC):
        raise EngineError(f"augment: {sound.path} has nothing at sample {start}; its header promises more")
    # A file cut short goes round as well.
    return np.resize(samples_TC[:, 0], frames)
