"""Sound on the wire: 16-bit samples at 24 kHz in a stream, files in the formats that libsndfile writes."""

import base64
import binascii
import io

import numpy as np
import soundfile
import soxr

from anytalk.recipes.talk import pcm16
from anytalk.synth.audio import PCM16_SCALE, Waveform
from anytalk.synth.errors import SampleError

RATE_HZ = 24_000
"""Of `audio/pcm` in OpenAI's APIs, in and out; also the codecs'."""

HEARING_RATE_HZ = 16_000

FORMATS = {"wav": "audio/wav", "pcm": "audio/pcm", "mp3": "audio/mpeg", "opus": "audio/ogg", "flac": "audio/flac"}
"""Formats of whole answers and their media types; `pcm` is 16-bit, little-endian, 24 kHz, mono."""

_CONTAINERS = {
    "wav": ("WAV", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
}


class Incoming:
    """A client's stream of samples, as 16 kHz without seams: the filter's state outlives each piece.

    Args:
        rate_hz: of what comes.
    """

    def __init__(self, rate_hz: int = RATE_HZ) -> None:
        self._resampler = soxr.ResampleStream(rate_hz, HEARING_RATE_HZ, 1, dtype="float32", quality="HQ")

    def push(self, samples: Waveform, *, last: bool = False) -> Waveform:
        """Take a piece; give what of it is final, about 20 ms later than what came.

        Args:
            samples: float32.
            last: nothing follows: give all.
        """
        resampled: Waveform = self._resampler.resample_chunk(samples, last=last)
        return resampled


def decoded(encoded: str) -> bytes:
    """Read base64.

    Raises:
        SampleError: `not_base64`.
    """
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SampleError("not_base64", "audio must be base64") from error


def samples_of(content: bytes) -> Waveform:
    """Read 16-bit samples, little-endian.

    Raises:
        SampleError: `odd_bytes`.
    """
    if len(content) % 2:
        raise SampleError("odd_bytes", f"16-bit samples take an even number of bytes, not {len(content)}")
    return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(PCM16_SCALE)


def pcm_bytes(waveform: Waveform) -> bytes:
    """Give samples as 16-bit, little-endian."""
    return pcm16(waveform).astype("<i2").tobytes()


def pcm_text(waveform: Waveform) -> str:
    """Give samples as base64 of `pcm_bytes`."""
    return base64.b64encode(pcm_bytes(waveform)).decode("ascii")


def file_bytes(waveform: Waveform, kind: str, rate_hz: int = RATE_HZ) -> bytes:
    """Encode a whole answer.

    Args:
        waveform: float32.
        kind: one of `FORMATS`.
        rate_hz: of the samples.
    """
    if kind == "pcm":
        return pcm_bytes(waveform)
    container, subtype = _CONTAINERS[kind]
    file = io.BytesIO()
    soundfile.write(file, pcm16(waveform), rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def wav_header(rate_hz: int = RATE_HZ) -> bytes:
    """Give the header of a wav file whose length is not known yet, as `file_bytes` would write it."""
    header = bytearray(file_bytes(np.zeros(0, np.float32), "wav", rate_hz))
    header[4:8] = header[-4:] = b"\xff\xff\xff\xff"
    return bytes(header)
