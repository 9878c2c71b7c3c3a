"""Decode the body of a speech response to a waveform.

Formats are detected from the body, not taken from the request: some servers send WAV whatever is requested. Raw PCM is
16-bit little-endian mono, as OpenAI's; its sample rate must be in the Content-Type or in the settings.
"""

import re
import struct

import numpy as np

from anytalk.synth.audio import PCM16_SCALE, Waveform, read_audio, resample
from anytalk.synth.errors import SampleError
from anytalk.synth.recording.riff import OPEN_SIZE, WAV_HEAD

LONGEST_S = 600.0
"""Longest speech that is decoded."""

PCM_TYPES = ("audio/pcm", "audio/l16", "audio/x-pcm", "audio/raw")
UNTYPED = ("", "application/octet-stream")

CONTAINERS = (b"OggS", b"fLaC", b"ID3")
"""How files begin that are no raw PCM, whatever the Content-Type says; WAV is looked for apart."""

OPEN = 0xFFFFFFFF
MIN_BYTES_PER_S = 8_000


class BrokenResponseError(ValueError):
    """A body is no complete audio file: cut off, empty, or of another type.

    Args:
        what: what came instead.
        empty: whether it was well-formed, but held no samples.
    """

    def __init__(self, what: str, empty: bool = False) -> None:
        super().__init__(what)
        self.empty = empty


def read_response(content: bytes, content_type: str, rate_hz: int, pcm_rate_hz: int | None = None) -> Waveform:
    """Decode the body of a speech response.

    Args:
        content: the body.
        content_type: its Content-Type; `audio/pcm; rate=16000` and `audio/L16;rate=16000` name the rate of raw PCM.
        rate_hz: rate of the result.
        pcm_rate_hz: rate of raw PCM whose Content-Type does not name it.

    Returns:
        The waveform at `rate_hz`.

    Raises:
        BrokenResponseError: the body is incomplete or no audio; a retry may succeed.
        SampleError: `unknown_rate` for raw PCM of unknown rate; `too_long` or `nan_audio`.
    """
    if not content:
        raise BrokenResponseError("an empty body", empty=True)
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return _decoded(_with_open_lengths(content), rate_hz)
    kind = content_type.partition(";")[0].strip().lower()
    is_raw = kind in PCM_TYPES or (pcm_rate_hz is not None and kind in UNTYPED)
    if is_raw and not content.startswith(CONTAINERS):
        return _pcm(content, content_type, rate_hz, pcm_rate_hz)
    return _decoded(content, rate_hz)


def _decoded(content: bytes, rate_hz: int) -> Waveform:
    try:
        return read_audio(content, rate_hz, max_s=LONGEST_S)
    except SampleError as error:
        if error.reason == "empty_audio":
            raise BrokenResponseError("a file of no samples", empty=True) from error
        if error.reason in ("undecodable_audio", "not_audio"):
            raise BrokenResponseError(f"no audio: {len(content)} bytes that begin {content[:40]!r}") from error
        if error.reason in ("truncated_audio", "damaged_audio", "trailing_data"):
            raise BrokenResponseError(f"a broken recording: {error.detail}") from error
        raise


def _pcm(content: bytes, content_type: str, rate_hz: int, pcm_rate_hz: int | None) -> Waveform:
    named = re.search(r"rate=(\d+)", content_type)
    source_hz = int(named[1]) if named else pcm_rate_hz
    if source_hz is None or source_hz <= 0:
        raise SampleError("unknown_rate", f"headerless audio ({content_type or 'no type'}) of unknown rate")
    if len(content) % 2:
        raise BrokenResponseError(f"{len(content)} bytes of 16-bit audio: half a sample is missing")
    samples = np.frombuffer(content, "<i2").astype(np.float32) / np.float32(PCM16_SCALE)
    return resample(samples, source_hz, rate_hz)


def _with_open_lengths(content: bytes) -> bytes:
    """Open each length in WAV headers that promises more than anybody says: a streaming server's placeholder."""
    changed = bytearray(content)
    for head in WAV_HEAD.finditer(content):
        start, bytes_per_s = head.start(), 0
        place = start + 12
        while place + 8 <= len(content):
            name, size = struct.unpack_from("<4sI", content, place)
            if name == b"fmt " and place + 20 <= len(content):
                bytes_per_s = struct.unpack_from("<I", content, place + 16)[0]
            if name == b"data":
                if OPEN_SIZE > size > max(bytes_per_s, MIN_BYTES_PER_S) * LONGEST_S:
                    struct.pack_into("<I", changed, start + 4, OPEN)
                    struct.pack_into("<I", changed, place + 4, OPEN)
                break
            place += 8 + size + size % 2
    return bytes(changed)
