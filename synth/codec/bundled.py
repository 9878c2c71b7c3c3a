"""Run a codec that `anytalk codec train` wrote, such as the one in this package."""

import dataclasses
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from anytalk.synth.audio import Waveform
from anytalk.synth.device import gpu_fingerprint, torch_device
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.fingerprint import Fingerprint, file_sha256
from anytalk.synth.threads import torch_threads

from .contract import CodecEngine, CodecSettings
from .excitation import GRID_FRAMES
from .framing import decode_framed, decode_good, encode_framed, encode_good
from .network import CodecConfig, CodecNetwork
from .order import to_frames, to_levels
from .window import ON_CPU, ON_GPU

FORMAT = "anytalk-codec-1"


class BundledCodec:
    """A small codec with SNAC's token geometry; see `Codec` for the interface.

    Decoding takes no noise, so that it repeats bit for bit.

    Args:
        weights: file that `weights_bytes` made.
        name: what to call it.
        threads: of one call on a CPU.
        device: see `synth.device.resolve`.

    Raises:
        SetupError: the file is damaged or no codec of ours, or it cannot run on the device.
    """

    def __init__(self, weights: Path, name: str, threads: int = 1, device: str = "cpu") -> None:
        self.device = torch_device(device)
        self.cutting = ON_CPU if self.device.type == "cpu" else ON_GPU
        self.name, self.threads = name, threads
        self.weights_bytes = weights.stat().st_size if weights.is_file() else 0
        try:
            with safe_open(weights, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError) as error:
            raise SetupError(f"codec {weights} cannot be read: {error}") from error
        if header.get("format") != FORMAT:
            raise SetupError(f"codec {weights} is no anytalk codec: its format is {header.get('format')!r}")
        self.config = CodecConfig(**json.loads(header["config"]))
        self.fingerprint: Fingerprint = {
            "name": header["name"],
            "revision": header["revision"],
            "sha256": file_sha256(weights),
            **gpu_fingerprint(str(self.device)),
        }
        self.network = CodecNetwork(self.config).eval()
        try:
            self.network.load_state_dict(tensors)
        except RuntimeError as error:
            raise SetupError(f"codec {weights} does not fit its own sizes: {error}") from error
        self.network.to(self.device)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the audio on both sides."""
        return self.config.sample_rate_hz

    @property
    def frame_samples(self) -> int:
        """Samples that seven codes stand for."""
        return self.config.frame_samples

    @property
    def codebook_size(self) -> int:
        """Codes are below this."""
        return self.config.codebook_size

    @property
    def codebooks(self) -> Sequence[np.ndarray]:
        """Unit vectors of each level's codes."""
        return [quantiser.codebook.cpu().numpy() for quantiser in self.network.levels()]

    @property
    def decode_left_frames(self) -> int:
        """Frames of left context after which decoded samples no longer change."""
        return self.config.decoder_left_frames

    @property
    def decode_lookahead_samples(self) -> int:
        """Trailing samples of a decode that later frames still change."""
        return self.config.lookahead_samples

    @property
    def decode_grid_frames(self) -> int:
        """Frames of a multiple of which a partial decode begins."""
        return GRID_FRAMES

    def encode(
        self, waveforms: Sequence[Waveform], sample_rate_hz: int | None = None
    ) -> list[np.ndarray | SampleError]:
        """Encode utterances; see `Codec.encode`."""
        return encode_good(waveforms, sample_rate_hz, self.sample_rate_hz, self._encode_all)

    def decode(self, codes: Sequence[np.ndarray]) -> list[Waveform | SampleError]:
        """Decode utterances; see `Codec.decode`."""
        return decode_good(codes, self.codebook_size, self._decode_all)

    def _encode_all(self, waveforms: list[Waveform]) -> list[np.ndarray]:
        return encode_framed(
            waveforms, self.frame_samples, self.config.encoder_context_frames, self._encode, self.cutting
        )

    def _decode_all(self, codes: list[np.ndarray]) -> list[Waveform]:
        return decode_framed(
            codes,
            self.frame_samples,
            self.decode_left_frames,
            1,
            self._decode,
            self.cutting,
            self.decode_grid_frames,
        )

    @torch.inference_mode()
    def _encode(self, audio_BS: np.ndarray) -> np.ndarray:
        with torch_threads(self.threads):
            audio = torch.from_numpy(audio_BS).to(self.device)
            levels = [level.cpu().numpy() for level in self.network.encode(audio)]
        return np.stack([to_frames([level[row] for level in levels]) for row in range(len(audio_BS))])

    @torch.inference_mode()
    def _decode(self, codes_BFL: np.ndarray) -> np.ndarray:
        rows = [to_levels(frames) for frames in codes_BFL]
        levels = [torch.from_numpy(np.stack(level)).to(self.device) for level in zip(*rows, strict=True)]
        with torch_threads(self.threads):
            audio: np.ndarray = self.network.decode(levels).clamp(-1.0, 1.0).cpu().numpy()
        return audio


def weights_bytes(network: CodecNetwork, name: str, revision: str) -> bytes:
    """Write a network as half-precision safetensors with its sizes in the header.

    Args:
        network: what was trained.
        name: what to call it in fingerprints.
        revision: which training of it this is.
    """
    tensors = {key: value.half().cpu().contiguous() for key, value in network.state_dict().items()}
    config = json.dumps(dataclasses.asdict(network.config), sort_keys=True)
    return _with_sorted_header(save(tensors, {"format": FORMAT, "name": name, "revision": revision, "config": config}))


def _with_sorted_header(file: bytes) -> bytes:
    """The same safetensors file with the keys of its header in order; the library writes them in a random one.

    The file begins with the length of its header in eight bytes; the header is padded with spaces so that the tensors
    begin at a multiple of eight (https://github.com/huggingface/safetensors, "Format").
    """
    tensors_at = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:tensors_at])
    ordered = {key: dict(sorted(value.items())) for key, value in sorted(header.items())}
    text = json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[tensors_at:]


def _load(spec: str, settings: CodecSettings) -> BundledCodec:
    """Load the codec of the package, or that of a file or folder that the codec recipe wrote."""
    if settings.dtype != "float32":
        raise SetupError(f"codec {settings.name} computes in float32 only; {settings.dtype} is for SNAC on a GPU")
    if not spec:
        with resources.as_file(resources.files("anytalk.synth.codec") / "weights" / "bundled.safetensors") as weights:
            return BundledCodec(weights, settings.name, settings.threads, settings.device)
    weights = Path(spec) if spec.endswith(".safetensors") else Path(spec) / "codec.safetensors"
    if not weights.is_file():
        raise SetupError(f"codec {weights} does not exist")
    return BundledCodec(weights, settings.name, settings.threads, settings.device)


def _known() -> list[EngineInfo]:
    return [EngineInfo("bundled", "bundled", "Apache-2.0", "comes with the package")]


ENGINE = CodecEngine(load=_load, known=_known)
