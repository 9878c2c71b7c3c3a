"""Speech as codes and back: one interface, SNAC behind it, and a small codec that ships with the package.

codec = load_codec("bundled")
codes = codec.encode([waveform_T, ...])   # float32 at codec.sample_rate_hz -> list of (frames, 7) uint16
audio = codec.decode(codes)               # list of float32 waveforms, frames * codec.frame_samples long

Both give a `SampleError` in the place of an utterance that they cannot take.
"""

from .catalogue import known_codecs, load_codec
from .contract import Codec

__all__ = ["Codec", "known_codecs", "load_codec"]
