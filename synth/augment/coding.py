"""Codecs of telephones, calls and files, as they really are: through ffmpeg's encoder and back.

Each runs at the rate that it is used at. What comes back stays where it was: ffmpeg takes the delay of MP3 and Opus off
itself, since their files name it, and that of AMR is taken off here.
"""

import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from anytalk.synth.audio import Waveform, resample
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.recording import ffmpeg_binary

from .contract import Done, Range
from .telephone import to_length

CodingName = Literal["mp3", "opus", "amr-nb", "g711"]


class Format(NamedTuple):
    """How ffmpeg is asked for a codec."""

    encoder: str
    suffix: str
    rate_hz: int
    kbit_s: tuple[float, ...]
    """Bit rates that it has, in kbit/s."""
    usual: Range
    """Those that it is used at for speech, in kbit/s."""
    delay_samples: int = 0
    """By how much ffmpeg gives it back late."""
    options: tuple[str, ...] = ()


CODINGS: dict[CodingName, Format] = {
    # MPEG-2 layer III, which is what 16 kHz makes it.
    "mp3": Format("libmp3lame", "mp3", 16_000, (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160), (16, 64)),
    # Any rate would do; these are steps that one hears.
    "opus": Format(
        "libopus", "ogg", 16_000, (6, 8, 10, 12, 16, 20, 24, 32, 48, 64), (8, 24), options=("-application", "voip")
    ),
    # Its encoder looks 5 ms ahead (3GPP TS 26.090, section 4.1), and nothing in the file says so.
    "amr-nb": Format(
        "libopencore_amrnb", "amr", 8_000, (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2), (4.75, 12.2), delay_samples=40
    ),
    "g711": Format("pcm_mulaw", "wav", 8_000, (64,), (64, 64)),
}
"""Every codec by its name in recipes; `g711` is its µ-law."""


def rates(name: CodingName, kbit_s: Range | None) -> list[float]:
    """Bit rates of a codec within a range, in kbit/s; those of everyday use if there is no range.

    >>> rates("mp3", (20, 40)), rates("g711", None), rates("opus", (1, 2))
    ([24, 32, 40], [64], [])
    """
    low, high = kbit_s or CODINGS[name].usual
    return [rate for rate in CODINGS[name].kbit_s if low <= rate <= high]


@dataclass(frozen=True)
class Coding:
    """Encode and decode with one of some codecs, each as likely as the others.

    Args:
        codecs: names of `CODINGS`.
        kbit_s: range of bit rates, in kbit/s; those of everyday use when None.

    Raises:
        SetupError: this machine's ffmpeg has no encoder for one of them.
        ValueError: a codec has no bit rate in the range.
    """

    codecs: tuple[CodingName, ...]
    kbit_s: Range | None = None

    def __post_init__(self) -> None:
        for name in self.codecs:
            if not rates(name, self.kbit_s):
                known = ", ".join(f"{rate:g}" for rate in CODINGS[name].kbit_s)
                raise ValueError(f"{name} has no bit rate in {self.kbit_s}; it has {known} kbit/s")
        missing = [name for name in self.codecs if CODINGS[name].encoder not in _encoders()]
        if missing:
            raise SetupError(f"augment: the ffmpeg of imageio-ffmpeg cannot encode {', '.join(missing)} here")

    def apply(self, waveform: Waveform, rate_hz: int, rng: np.random.Generator) -> tuple[Waveform, Done]:
        """See `Step.apply`.

        Raises:
            EngineError: ffmpeg failed.
        """
        name = self.codecs[int(rng.integers(len(self.codecs)))]
        known = rates(name, self.kbit_s)
        kbit_s = known[int(rng.integers(len(known)))]
        there = resample(waveform, rate_hz, CODINGS[name].rate_hz)
        back = resample(through(there, name, kbit_s), CODINGS[name].rate_hz, rate_hz)
        return to_length(back, len(waveform)), {"step": "codec", "codec": name, "kbit_s": kbit_s}

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the program, whose file's name holds its version."""
        return {"ffmpeg": ffmpeg_binary().name}


def through(waveform: Waveform, name: CodingName, kbit_s: float) -> Waveform:
    """Encode a waveform at the codec's own rate, and decode it.

    Args:
        waveform: float32 at `CODINGS[name].rate_hz`.
        name: the codec.
        kbit_s: one of its bit rates, in kbit/s.

    Returns:
        As many samples, in the same place.

    Raises:
        EngineError: ffmpeg failed.
    """
    form = CODINGS[name]
    raw = ("-f", "f32le", "-ar", str(form.rate_hz), "-ac", "1")
    # Room for the delay, which is cut off at the front.
    samples = np.pad(waveform, (0, form.delay_samples)).astype("<f4").tobytes()
    with tempfile.TemporaryDirectory() as folder:
        # A file, not a pipe: MP3 names its delay in a header that is written last.
        path = str(Path(folder, f"coded.{form.suffix}"))
        # One thread and no version in the file, so that the same samples are the same bytes.
        coding = ("-threads", "1", "-c:a", form.encoder, "-b:a", f"{kbit_s:g}k", *form.options, "-bitexact")
        _ffmpeg([*raw, "-i", "pipe:0", *coding, path], samples)
        decoded = _ffmpeg(["-threads", "1", "-i", path, *raw, "pipe:1"], b"")
    back = np.frombuffer(decoded, "<f4").astype(np.float32)[form.delay_samples :]
    return to_length(back, len(waveform))


def _ffmpeg(arguments: list[str], content: bytes) -> bytes:
    command = [str(ffmpeg_binary()), "-hide_banner", "-loglevel", "error", *arguments]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    if done.returncode:
        raise EngineError(f"ffmpeg failed ({done.returncode}): {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


@cache
def _encoders() -> frozenset[str]:
    listed = _ffmpeg(["-encoders"], b"").decode(errors="replace")
    return frozenset(line.split()[1] for line in listed.splitlines() if len(line.split()) > 1)
