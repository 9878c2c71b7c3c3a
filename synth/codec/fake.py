"""A codec that hears only loudness: for tests of what surrounds a codec."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint

from .contract import CodecEngine
from .framing import decode_good, encode_good
from .order import LAYERS, LEVEL_STRIDES


class FakeCodec:
    """Codes are the mean level of each seventh of a frame; decoding hums at that level. See `Codec`."""

    name = "fake"
    sample_rate_hz = 24_000
    frame_samples = 2048
    codebook_size = 4096
    decode_left_frames = 0
    decode_lookahead_samples = 0
    decode_grid_frames = 1
    weights_bytes = 0
    fingerprint: ClassVar[Fingerprint] = {"name": "fake", "revision": "1", "sha256": "0" * 64}

    @property
    def codebooks(self) -> Sequence[np.ndarray]:
        """Levels, one number each."""
        return [np.linspace(0.0, 1.0, self.codebook_size, dtype=np.float32)[:, None]] * len(LEVEL_STRIDES)

    def encode(
        self, waveforms: Sequence[Waveform], sample_rate_hz: int | None = None
    ) -> list[np.ndarray | SampleError]:
        """Measure levels; see `Codec.encode`."""
        return encode_good(
            waveforms, sample_rate_hz, self.sample_rate_hz, lambda good: [self._levels(np.abs(w)) for w in good]
        )

    def _levels(self, loudness: Waveform) -> NDArray[np.uint16]:
        frames = np.pad(loudness, (0, -len(loudness) % self.frame_samples)).reshape(-1, self.frame_samples)
        levels = [part.mean(axis=1) for part in np.array_split(frames, LAYERS, axis=1)]
        codes = np.stack(levels, axis=1) * self.codebook_size
        return np.minimum(codes, self.codebook_size - 1).astype(np.uint16)

    def decode(self, codes: Sequence[np.ndarray]) -> list[Waveform | SampleError]:
        """Hum; see `Codec.decode`."""
        return decode_good(codes, self.codebook_size, lambda good: [self._hum(frames) for frames in good])

    def _hum(self, frames: np.ndarray) -> Waveform:
        hum = np.sin(2 * np.pi * 8 * np.arange(self.frame_samples) / self.frame_samples).astype(np.float32)
        loud: Waveform = (frames.mean(axis=1)[:, None] / self.codebook_size * hum).astype(np.float32)
        return loud.reshape(-1)


ENGINE = CodecEngine(load=lambda spec, settings: FakeCodec())
