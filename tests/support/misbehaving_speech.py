"""Speech over HTTP: the responses of a good server, and every way in which a bad one may respond instead."""

import io
import struct

import numpy as np
import soundfile

from anytalk.synth.audio import flac_bytes
from anytalk.synth.voice import SpeakRequest
from anytalk.synth.voice.fake import FakeVoice

from .misbehaving import Body, Fault

PATH = "/v1/audio/speech"


def tone(text: str, speed: float = 1.0, rate_hz: int = 24_000) -> np.ndarray:
    """What a good server says."""
    voice = FakeVoice("server", sample_rate_hz=rate_hz)
    [waveform] = voice.speak([SpeakRequest(text, 1, speed)])
    assert isinstance(waveform, np.ndarray)
    return waveform


def wav(waveform: np.ndarray, rate_hz: int = 24_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


def pcm(waveform: np.ndarray) -> bytes:
    """Samples without a header, which name no rate."""
    return (waveform * 32767).astype("<i2").tobytes()


def audio(content: bytes, content_type: str = "audio/wav", stall_s: float = 0.0, cut: bool = False) -> Fault:
    return Fault(audio=content, content_type=content_type, stall_s=stall_s, cut=cut)


def encoded(waveform: np.ndarray, kind: str, subtype: str, rate_hz: int = 24_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def sized(content: bytes, riff: int, data: int) -> bytes:
    """A WAV with other lengths in its header."""
    return content[:4] + struct.pack("<I", riff) + content[8:40] + struct.pack("<I", data) + content[44:]


def good(body: Body) -> Fault:
    return audio(wav(tone(body["input"], body.get("speed", 1.0))))


def at_16k(body: Body) -> Fault:
    return audio(wav(tone(body["input"], rate_hz=16_000), 16_000))


TONE = wav(tone("A word or two."))

PASSING = {
    "busy": Fault(429, '{"error": "slow down"}', (("Retry-After", "0.02"),)),
    "broken": Fault(500, "Internal Server Error"),
    "away": Fault(503, "<html>upstream</html>"),
    "stalled": audio(TONE, stall_s=2.0),
    "dropped": Fault(None),
    "cut stream": audio(TONE[:2000], cut=True),
    "cut file": audio(TONE[:2000]),
    "cut flac": audio(flac_bytes(tone("A word or two."), 24_000)[:3000], "audio/flac"),
    "half a page": Fault(200, '{"error": "no capacity"}'),
    "noise of bytes": audio(bytes(range(256)) * 20),
}
"""Ways to misbehave that another try cures."""

_ONE, _TWO = tone("A word or two."), tone("And three.")
_FLAC = encoded(_ONE, "FLAC", "PCM_16")
_BIG = 2_000_000_000
STREAMED = {
    "lengths of 0": (sized(TONE, 0, 0), "audio/wav"),
    "the largest lengths": (sized(TONE, 0xFFFFFFFF, 0xFFFFFFFF), "audio/wav"),
    "the largest signed lengths": (sized(TONE, 0x7FFFFFFF, 0x7FFFFFFF - 36), "audio/x-wav"),
    "two billion": (sized(TONE, _BIG + 36, _BIG), "audio/wav"),
    "half an hour": (sized(TONE, 1800 * 48_000 + 36, 1800 * 48_000), "audio/wav"),
    "no type": (TONE, ""),
    "another type": (TONE, "audio/mpeg"),
    "flac": (_FLAC, "audio/flac"),
    "flac of unknown length": (_FLAC[:21] + bytes([_FLAC[21] & 0xF0, 0, 0, 0, 0]) + _FLAC[26:], "audio/flac"),
    "mp3": (encoded(_ONE, "MP3", "MPEG_LAYER_III"), "audio/mpeg"),
    "opus": (encoded(_ONE, "OGG", "OPUS"), "audio/ogg"),
    "vorbis": (encoded(_ONE, "OGG", "VORBIS"), "application/octet-stream"),
    "pcm": (pcm(_ONE), "audio/pcm; rate=24000"),
    "opus called pcm": (encoded(_ONE, "OGG", "OPUS"), "audio/pcm"),
}
"""Bodies that say one sentence, with their types."""

JOINED = {
    "wav after wav": TONE + wav(_TWO),
    "wav after wav without lengths": sized(TONE, 0xFFFFFFFF, 0xFFFFFFFF) + sized(wav(_TWO), 0, 0),
    "wav after wav of two billion": sized(TONE, _BIG + 36, _BIG) + sized(wav(_TWO), _BIG + 36, _BIG),
    "flac after flac": _FLAC + encoded(_TWO, "FLAC", "PCM_16"),
    "mp3 after mp3": encoded(_ONE, "MP3", "MPEG_LAYER_III") + encoded(_TWO, "MP3", "MPEG_LAYER_III"),
    "opus after opus": encoded(_ONE, "OGG", "OPUS") + encoded(_TWO, "OGG", "OPUS"),
}
"""Bodies of two files, a sentence each."""

EMPTY = {"empty body": audio(b""), "empty file": audio(wav(np.zeros(0, np.float32)))}

STAYING = {
    **EMPTY,
    "will not": Fault(422, "this I will not say"),
    "no rate": audio(pcm(tone("A word or two.")), "audio/pcm"),
    "silence": audio(wav(np.zeros(24_000, np.float32))),
}
"""Ways that are the text's, if they stay."""
