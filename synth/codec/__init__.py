"""Speech as codes and back: one interface, SNAC behind it, and a small codec that ships with the package.

codec = load_codec("bundled")
codes = codec.encode([waveform_T, ...])   # float32 at codec.sample_rate_hz -> list of (frames, 7) uint16
audio = codec.decode(codes)               # list of float32 waveforms, frames * codec.frame_samples long

Both give a `SampleError` in the place of an utterance that they cannot take.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SampleError, SetupError
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


def load_codec(name: str = "bundled", threads: int = 1, *, compiled: bool = False) -> Codec:
    """Load a codec.

    Args:
        name: `bundled`; `fake` for tests; a `.safetensors` file that the codec recipe wrote, or its folder; a folder
            that holds SNAC (config.json with model.safetensors or pytorch_model.bin); or a hub id such as
            `hubertsiuzdak/snac_24khz`.
        threads: of one engine. The lowest bits of the codec's floats depend on it, so it is not left to the machine.
        compiled: compile a SNAC where it runs, which takes a C++ compiler; others are not compiled.

    Raises:
        SetupError: there is no such codec, its files are not in order, or it cannot be compiled.
    """
    path = Path(name)
    if name == "fake":
        from .fake import FakeCodec

        return FakeCodec()
    if name == "bundled":
        from .bundled import BundledCodec

        with resources.as_file(resources.files("anytalk.synth.codec") / "weights" / "bundled.safetensors") as weights:
            return BundledCodec(weights, name, threads)
    if path.suffix == ".safetensors" or (path / "codec.safetensors").is_file():
        from .bundled import BundledCodec

        weights = path if path.suffix == ".safetensors" else path / "codec.safetensors"
        if not weights.is_file():
            raise SetupError(f"codec {weights} does not exist")
        return BundledCodec(weights, name, threads)
    from .snac import load_snac

    return load_snac(name, threads, compiled=compiled)
