"""What every codec takes and gives, and what a codec engine declares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from anytalk.synth.audio import Waveform
from anytalk.synth.device import Dtype
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SampleError
from anytalk.synth.fingerprint import Fingerprint


class Codec(Protocol):
    """A codec with SNAC's token geometry: 1 + 2 + 4 codes a frame, in the layer order of `order.py`."""

    @property
    def name(self) -> str:
        """What `load_codec` was asked for."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the audio on both sides."""

    @property
    def frame_samples(self) -> int:
        """Samples that seven codes stand for."""

    @property
    def codebook_size(self) -> int:
        """Codes are below this."""

    @property
    def codebooks(self) -> Sequence[np.ndarray]:
        """Vectors of the codes of each of the three levels, (`codebook_size`, V) float32; near ones sound alike."""

    @property
    def decode_left_frames(self) -> int:
        """Frames of left context after which decoded samples no longer change, but for noise that SNAC adds."""

    @property
    def decode_lookahead_samples(self) -> int:
        """Trailing samples of a decode that later frames still change."""

    @property
    def decode_grid_frames(self) -> int:
        """A decode that stands for a part of an utterance must begin at a multiple of this many frames."""

    @property
    def weights_bytes(self) -> int:
        """Size of the weights on disk."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Name, revision and SHA-256 of the weights."""

    def encode(
        self, waveforms: Sequence[Waveform], sample_rate_hz: int | None = None
    ) -> list[np.ndarray | SampleError]:
        """Encode utterances of any lengths.

        Args:
            waveforms: float32 mono, each at least one sample long.
            sample_rate_hz: their rate, if it is to be checked.

        Returns:
            For each utterance, in order, codes of shape (ceil(samples / frame_samples), 7), uint16, which depend on it
            alone. One that cannot be encoded gives its SampleError: `empty_audio`, `not_mono`, `not_float`, `nan_audio`
            for a sample that is not finite, or `wrong_rate`.
        """

    def decode(self, codes: Sequence[np.ndarray]) -> list[Waveform | SampleError]:
        """Decode utterances; the same codes give the same samples.

        Args:
            codes: integers of shape (frames, 7), below `codebook_size`.

        Returns:
            For each utterance, in order, float32 audio of frames * frame_samples samples. Codes that cannot be decoded
            give their SampleError: `wrong_shape` or `code_out_of_range`.
        """


@dataclass(frozen=True)
class CodecSettings:
    """How a codec is loaded.

    Attributes:
        name: what `load_codec` was asked for; the codec's own name.
        threads: of one call on a CPU.
        compiled: compile it where it runs, if it can be.
        device: where it computes, as it was asked for; see `synth.device.resolve`.
        dtype: precision of the encoder.
    """

    name: str
    threads: int = 1
    compiled: bool = False
    device: str = "cpu"
    dtype: Dtype = "float32"


@dataclass(frozen=True)
class CodecEngine:
    """One engine. Its file holds one of these as `ENGINE`.

    Attributes:
        load: loads a codec by its SPEC, which is what follows `ENGINE:` in its name. Raises `SetupError` where there is
            no such codec, or its files are not in order.
        known: lists codecs for `anytalk doctor`, without loading one.
    """

    load: Callable[[str, CodecSettings], Codec]
    known: Callable[[], Sequence[EngineInfo]] = tuple
