"""Decode all that is in a file, block by block, and compare what came out with what the file promises."""

import contextlib
import io
import mmap
import os
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from anytalk.synth.errors import SampleError, SetupError

from .boxes import ASF_HEAD, MATROSKA_HEAD, asf_parts, matroska_parts, mp4_parts
from .container import Content, Part, damaged, refuse_no_audio, truncated
from .flac import STREAM_HEAD, flac_parts
from .frames import adts_frame, first_frame, frame_parts, id3_end, mp3_frame
from .ogg import MAGIC as OGG_MAGIC
from .ogg import ogg_parts
from .riff import WAV_HEAD, aiff_parts, wav_parts

Block = NDArray[np.float32]
"""Samples of shape (samples, channels)."""

BLOCK_SAMPLES = 2**18
AS_FLOAT: dict[str, Any] = {"dtype": "float32", "always_2d": True}
LOWEST_HZ, HIGHEST_HZ = 1000, 768_000
MOST_CHANNELS = 64
FFMPEG_S = 600
"""CPU time that ffmpeg may take for a file."""
DURATION_SLACK_S = 0.25
"""How much shorter than its container says a recording may be: containers round, and count the encoder's delay."""
BROKEN_OFF = re.compile(r"partial file|ended prematurely|truncat|moov atom not found", re.IGNORECASE)
LOST_PACKET = re.compile(r"Error submitting packet to decoder")


@dataclass(frozen=True)
class Decoded:
    """One stream of a file.

    Attributes:
        rate_hz: its rate.
        channels: how many it has.
        blocks: its samples, each of shape (samples, channels); they can be had once. While it is read it raises
            SampleError `truncated_audio`, `damaged_audio` or `undecodable_audio`.
    """

    rate_hz: int
    channels: int
    blocks: Iterator[Block]


def decoded_parts(source: bytes | Path) -> Generator[Decoded, None, None]:
    """Decode the streams of a file: one, or several that were joined. The content decides the format, not the name.

    Args:
        source: the file's content, or its path.

    Returns:
        Each stream, to be read before the next one is asked for.

    Raises:
        SampleError: `not_audio`, `undecodable_audio` (a missing file too), `truncated_audio`, `trailing_data`, or
            `damaged_audio`.
    """
    with contextlib.ExitStack() as stack:
        content = source if isinstance(source, bytes) else _mapped(source, stack)
        refuse_no_audio(content)
        for part in _parts(content):
            with contextlib.closing(_stream(content, source, part)) as stream:
                yield next(stream)


def _mapped(path: Path, stack: contextlib.ExitStack) -> Content:
    try:
        file = stack.enter_context(path.open("rb"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise SampleError("undecodable_audio", f"no such file: {path!s}") from error
    if file.seek(0, io.SEEK_END) == 0:
        return b""
    return stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _parts(content: Content) -> Iterator[Part]:
    """Walk a file by what it begins with; what is not known here is left to the decoders."""
    head = content[:64]
    if WAV_HEAD.match(head) or (head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE"):
        return wav_parts(content)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return aiff_parts(content)
    if head[:4] == OGG_MAGIC:
        return ogg_parts(content)
    if head[4:8] == b"ftyp":
        return mp4_parts(content)
    if MATROSKA_HEAD.match(content):
        return matroska_parts(content)
    if head.startswith(ASF_HEAD):
        return asf_parts(content)
    start = id3_end(content, 0)
    if STREAM_HEAD.match(content[start : start + 8]):
        return flac_parts(content, start)
    for name, reader in (("MP3", mp3_frame), ("AAC", adts_frame)):
        if (first := first_frame(content, start, reader)) is not None:
            return frame_parts(content, first, name, reader)
    return iter([Part("file", 0, len(content))])


def _stream(content: Content, source: bytes | Path, part: Part) -> Generator[Decoded, None, None]:
    """Decode one stream. The generator keeps its decoder open until it is closed."""
    with contextlib.ExitStack() as stack:
        sound = None if part.decoder == "ffmpeg" else _opened(content, source, part, stack)
        if sound is not None:
            _check_format(part, sound.samplerate, sound.channels)
            blocks = _checked(part, sound.samplerate, _libsndfile_blocks(sound, part))
            yield Decoded(sound.samplerate, sound.channels, blocks)
            return
        if isinstance(source, Path) and part.is_all_of(content):
            file: Any = stack.enter_context(source.open("rb"))
        else:
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(part.content(content))
            file.seek(0)
        yield _with_ffmpeg(file, part, stack)


class _Unsized(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read until nothing comes, whatever length its header claims."""

    def seekable(self) -> bool:
        return False


def _opened(content: Content, source: bytes | Path, part: Part, stack: contextlib.ExitStack) -> Any | None:
    """Open a stream with libsndfile; None for what it does not know, or would read only in part."""
    whole = part.is_all_of(content)
    # By descriptor, so that libsndfile reads it itself and does not judge it by its name (".raw").
    file: Any = None
    if whole and isinstance(source, Path):
        file = stack.enter_context(source.open("rb")).fileno()
    elif whole and isinstance(content, bytes):
        file = io.BytesIO(content)
    else:
        file = io.BytesIO(part.content(content))
    try:
        sound = stack.enter_context(_Unsized(file, closefd=False))
    except (soundfile.LibsndfileError, OverflowError, ValueError, TypeError):
        return None
    if part.kind == "MP3" and part.samples is not None and abs(sound.frames - part.samples) > part.slack:
        return None  # It estimates the length, and stops there.
    return sound


def _libsndfile_blocks(sound: Any, part: Part) -> Iterator[Block]:
    # An error takes its whole block with it, so that FLAC is read by the frame, and up to its promise first.
    most, found = 4096 if part.kind == "FLAC" else max(1, BLOCK_SAMPLES // sound.channels), 0
    promised = part.samples or 0
    try:
        while len(block := sound.read(min(most, promised - found) if found < promised else most, **AS_FLOAT)):
            found += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        if part.samples is not None and found >= part.samples:
            raise SampleError("trailing_data", f"{part.kind}: something else follows the {found:,} samples") from error
        if part.samples is not None:
            raise truncated(part.kind, f"{part.samples:,} samples", f"{found:,}") from error
        if found:
            raise damaged(part.kind, f"{error} after {found:,} samples") from error
        raise SampleError("undecodable_audio", f"{part.kind}: {error}") from error


def _check_format(part: Part, rate_hz: int, channels: int) -> None:
    if not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise SampleError("undecodable_audio", f"{part.kind}: no recording has a rate of {rate_hz} Hz")
    if not 0 < channels <= MOST_CHANNELS:
        raise SampleError("undecodable_audio", f"{part.kind}: no recording has {channels} channels")


def _checked(part: Part, rate_hz: int, blocks: Iterator[Block], promised_s: float | None = None) -> Iterator[Block]:
    """Pass samples on, and raise at their end where fewer came than were promised."""
    found = 0
    for block in blocks:
        found += len(block)
        yield block
    if part.samples is not None and found < part.samples - part.slack:
        raise truncated(part.kind, f"{part.samples:,} samples", f"{found:,}")
    if part.samples is None and promised_s is not None and found / rate_hz < promised_s - DURATION_SLACK_S:
        raise truncated(part.kind, f"{promised_s:.2f} s", f"{found / rate_hz:.2f} s")


def _with_ffmpeg(file: Any, part: Part, stack: contextlib.ExitStack) -> Decoded:
    """Decode with the wheel's ffmpeg, as its samples come out of a pipe."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the stack
    stack.enter_context(log)
    # By descriptor, so that it does not judge by the name. Nothing but this file may be read, whatever a playlist in it
    # names; one thread, so that bytes do not vary.
    command = [str(ffmpeg_binary()), "-nostdin", "-hide_banner", "-threads", "1", "-timelimit", str(FFMPEG_S)]
    command += [
        "-protocol_whitelist",
        "fd,pipe",
        "-fd",
        str(file.fileno()),
        "-i",
        "fd:",
        "-map",
        "0:a:0",
        "-vn",
        "-c:a",
        "pcm_f32le",
        "-f",
        "wav",
    ]
    process = stack.enter_context(
        subprocess.Popen([*command, "pipe:1"], stdout=subprocess.PIPE, stderr=log, pass_fds=[file.fileno()])
    )
    stack.callback(process.kill)
    assert process.stdout is not None
    head = _wav_head(process.stdout)
    if head is None:
        process.wait()
        raise _failure(part, _read_log(log))
    rate_hz, channels = head
    _check_format(part, rate_hz, channels)

    def blocks() -> Iterator[Block]:
        assert process.stdout is not None
        size = 4 * channels * max(1, BLOCK_SAMPLES // channels)
        while content := process.stdout.read(size):
            whole = len(content) - len(content) % (4 * channels)
            yield np.frombuffer(content[:whole], "<f4").astype(np.float32).reshape(-1, channels)
        process.wait()
        said = _read_log(log)
        if process.returncode:
            raise _failure(part, said)
        if BROKEN_OFF.search(said):
            raise SampleError("truncated_audio", f"{part.kind}: {_fitting(said, BROKEN_OFF)}")
        # An MP3 that was cut out of a longer one begins with frames that lean on what is gone.
        if part.kind != "MP3" and (lost := len(LOST_PACKET.findall(said))):
            raise damaged(part.kind, f"{lost} packets cannot be decoded: {_fitting(said, LOST_PACKET)}")

    promised_s = None
    if found := re.search(r"Duration: (\d+):(\d\d):(\d\d\.\d+)", _read_log(log)):
        promised_s = 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
    if "Estimating duration" in _read_log(log):
        promised_s = None
    return Decoded(rate_hz, channels, _checked(part, rate_hz, blocks(), promised_s))


def _wav_head(pipe: Any) -> tuple[int, int] | None:
    """Rate and channels of the WAV that ffmpeg writes; what follows are samples."""
    head = pipe.read(12)
    rate_hz = channels = 0
    while len(chunk := pipe.read(8)) == 8:
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"data":
            return rate_hz, channels
        body = pipe.read(size + size % 2)
        if name == b"fmt ":
            channels, rate_hz = int.from_bytes(body[2:4], "little"), int.from_bytes(body[4:8], "little")
    del head
    return None


def _read_log(log: Any) -> str:
    # By place: the position is shared with ffmpeg, which goes on writing.
    return os.pread(log.fileno(), 2**20, 0).decode(errors="replace")


def _fitting(said: str, pattern: re.Pattern[str]) -> str:
    line = next(line for line in said.splitlines() if pattern.search(line))
    return re.sub(r"\[[^]]*\] *", "", line).strip()


def _failure(part: Part, said: str) -> SampleError:
    """The line in which ffmpeg says what is wrong, after its banner."""
    if BROKEN_OFF.search(said):
        return SampleError("truncated_audio", f"{part.kind}: {_fitting(said, BROKEN_OFF)}")
    if re.search(r"matches no streams", said):
        return SampleError("not_audio", f"{part.kind}: no sound is in it")
    lines = said.strip().splitlines()
    return SampleError("undecodable_audio", re.sub(r"^.*fd:: ", "", lines[-1].strip()) if lines else "no decoder")


def ffmpeg_binary() -> Path:
    """Find the ffmpeg of the `imageio-ffmpeg` wheel.

    Raises:
        SetupError: the wheel that is installed brings none.
    """
    import imageio_ffmpeg

    # Not imageio_ffmpeg.get_ffmpeg_exe(): it falls back to conda's and the system's.
    folder = Path(imageio_ffmpeg.__file__).parent / "binaries"
    binaries = sorted(folder.glob("ffmpeg-*"))
    if not binaries:
        raise SetupError(f"no ffmpeg in {folder}; install imageio-ffmpeg from a wheel that holds one for this machine")
    return binaries[0]
