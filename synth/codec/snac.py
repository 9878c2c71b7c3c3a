"""SNAC at 24 kHz through the `snac` package, faster on a CPU, repeatable, and for utterances of any lengths.

Source: SNAC (arXiv 2410.14411), https://github.com/hubertsiuzdak/snac, version 1.2.1. The network and its weights are
the package's own. What is faster here: weight norm is folded into the weights once; activations work in place; what
treats channels one by one does so within the processor's cache; and long audio runs in chunks whose intermediates stay
cheap to allocate. Latents differ from the package's in their last bits, codes hardly ever.

Shapes: B batch, S samples, F frames, L layers.
"""

import json
import math
import os
import pickle
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from anytalk.synth.audio import Waveform
from anytalk.synth.device import Dtype, gpu_fingerprint, torch_device, torch_dtype
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.fingerprint import Fingerprint, file_sha256
from anytalk.synth.remote import hub_folder
from anytalk.synth.threads import torch_threads

from .contract import CodecEngine, CodecSettings
from .framing import decode_good, encode_framed, encode_good
from .order import LEVEL_STRIDES, to_frames, to_levels
from .snac_layers import reach_frames, set_precision, speed_up
from .window import ON_GPU, Cutting, Window, in_batches

with warnings.catch_warnings():
    # snac 1.2.1 scripts its activation when it is imported, which recent torch calls deprecated.
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    from snac import SNAC
    from snac.layers import DecoderBlock, NoiseBlock

CONFIG: dict[str, Any] = {
    "sampling_rate": 24_000,
    "encoder_dim": 48,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 1024,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": 4096,
    "codebook_dim": 8,
    "vq_strides": list(LEVEL_STRIDES),
    "noise": True,
    "depthwise": True,
}
"""config.json of hubertsiuzdak/snac_24khz."""

STEP_SAMPLES = math.prod(CONFIG["encoder_rates"])
FRAME_SAMPLES = LEVEL_STRIDES[0] * STEP_SAMPLES

CHUNK_FRAMES = 48
"""Frames that run at once on a CPU (4.1 s): the largest intermediates then stay below 32 MiB, above which glibc maps
and clears fresh pages for each of them; 11 s at once took 1.4 times as long here as in pieces."""

_CPU = torch.device("cpu")

ONE_BY_ONE = Cutting(CHUNK_FRAMES, batch_frames=1, equal=False)

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def load_snac(
    name: str,
    threads: int = 1,
    *,
    noise_seed: int = 0,
    compiled: bool = False,
    device: str = "cpu",
    dtype: Dtype = "float32",
) -> "SnacCodec":
    """Load SNAC from the hub or from a folder.

    Args:
        name: folder of config.json with model.safetensors or pytorch_model.bin, or a hub id with or without @REVISION.
        threads: of one call on a CPU.
        noise_seed: seed of the noise that decoding adds.
        compiled: compile some layers with `torch.compile`, which needs a C++ compiler and, once a process, some
            seconds at the first call. Where the device is a GPU, nothing is compiled.
        device: where torch runs it; see `synth.device.resolve`.
        dtype: precision of the encoder's convolutions; half precision on a GPU only. Some codes differ.

    Raises:
        SetupError: the weights are not there, are damaged, or belong to another SNAC than the one at 24 kHz; there is
            no compiler; or it cannot run on the device, or in that precision there.
    """
    on = torch_device(device)
    if dtype != "float32" and on.type == "cpu":
        raise SetupError(f"SNAC in {dtype} is for a GPU, and the device is cpu; name float32, or a GPU")
    folder, revision = find_folder(name)
    network = read_network(folder)
    compiled = compiled and on.type == "cpu"
    if compiled and not any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "g++"), "clang++")):
        raise SetupError("a compiled SNAC needs a C++ compiler; install g++ or clang++, or leave it uncompiled")
    weights = weights_file(folder)
    fingerprint = {
        "name": name.partition("@")[0] if revision else folder.resolve().name,
        "revision": revision or "folder",
        "sha256": file_sha256(weights),
        **gpu_fingerprint(str(on)),
        **({} if dtype == "float32" else {"dtype": dtype}),
    }
    codec = SnacCodec(network, name, fingerprint, weights.stat().st_size, threads, noise_seed, on, compiled)
    set_precision(codec.network.encoder, torch_dtype(dtype))
    return codec


class SnacCodec:
    """SNAC; see `Codec` for the interface, and `load_snac`.

    On a CPU each utterance runs by itself, so that nothing else can change its codes or its samples, not even their
    last bits; batches are no faster there. On a GPU windows of equal length share a batch, whosever they are (see
    `window`). There a batch may change last bits, as its kernels depend on its size.

    Decoding adds noise in each block of the decoder. Each utterance draws it anew from `noise_seed`, in the order of
    the package: the samples are those of the package after `torch.manual_seed(noise_seed)`, and where long speech is
    cut does not matter. The noise depends on an utterance's frame count, however: if a part of the frames is
    decoded, as in streaming, its samples are those of the whole but for the noise.

    Args:
        network: the package's network; it is changed.
        name: what `load_codec` was asked for.
        fingerprint: name, revision and SHA-256 of the weights.
        weights_bytes: size of the weights on disk.
        threads: of one call on a CPU.
        noise_seed: seed of the noise that decoding adds.
        device: where torch runs it.
        compiled: see `load_snac`.
    """

    sample_rate_hz = 24_000
    frame_samples = FRAME_SAMPLES

    def __init__(
        self,
        network: Any,
        name: str,
        fingerprint: Fingerprint,
        weights_bytes: int,
        threads: int = 1,
        noise_seed: int = 0,
        device: torch.device = _CPU,
        compiled: bool = False,
    ) -> None:
        self.name, self.threads, self.weights_bytes = name, threads, weights_bytes
        self.fingerprint: Fingerprint = fingerprint
        self.codebook_size: int = network.codebook_size
        self.noise_seed, self.device = noise_seed, device
        on_cpu = self.device.type == "cpu"
        self.cutting = ONE_BY_ONE if on_cpu else ON_GPU
        self.decode_grid_frames = 1
        self.encoder_context_frames, self.decode_left_frames, self.decode_lookahead_samples = reach_frames(
            network, STEP_SAMPLES
        )
        speed_up(network, in_cache=on_cpu, compiled=compiled)
        self.network = network.eval().requires_grad_(False).to(self.device)
        self._decoder_layers = list(_layers(network.decoder))
        noisy = any(isinstance(layer, NoiseBlock) for layer in self._decoder_layers)
        steps = np.cumprod(network.decoder_rates) * LEVEL_STRIDES[0]
        self._noise_steps = [int(step) for step in steps] if noisy else []
        """For each block of the decoder, the noise samples of one frame."""

    @property
    def codebooks(self) -> Sequence[np.ndarray]:
        """Unit vectors of each level's codes, which are what the encoder compares."""
        tables = [quantiser.codebook.weight for quantiser in self.network.quantizer.quantizers]
        return [functional.normalize(table.float()).cpu().numpy() for table in tables]

    def encode(
        self, waveforms: Sequence[Waveform], sample_rate_hz: int | None = None
    ) -> list[np.ndarray | SampleError]:
        """Encode utterances; see `Codec.encode`."""
        return encode_good(waveforms, sample_rate_hz, self.sample_rate_hz, self._encode_all)

    def decode(self, codes: Sequence[np.ndarray]) -> list[Waveform | SampleError]:
        """Decode utterances; see `Codec.decode`."""
        return decode_good(codes, self.codebook_size, self._decode_all)

    def _encode_all(self, waveforms: list[Waveform]) -> list[np.ndarray]:
        context_frames = self.encoder_context_frames
        return encode_framed(waveforms, self.frame_samples, context_frames, self._encode, self.cutting)

    def _decode_all(self, codes: list[np.ndarray]) -> list[Waveform]:
        counts = [len(frames) for frames in codes]
        noise: dict[int, list[Tensor]] = {}

        def run(windows: list[Window]) -> np.ndarray:
            wanted = {counts[window.place] for window in windows}
            for count in noise.keys() - wanted:
                del noise[count]  # It is as large as its audio, and those of one count come near each other.
            for count in wanted - noise.keys():
                noise[count] = self._noise(count)
            parts = [
                torch.stack([noise[counts[w.place]][block][w.start * step : w.end * step] for w in windows])
                for block, step in enumerate(self._noise_steps)
            ]
            audio_BS = self._decode(np.stack([codes[w.place][w.start : w.end] for w in windows]), parts)
            return audio_BS.reshape(len(windows), -1, self.frame_samples)

        right = -(-self.decode_lookahead_samples // self.frame_samples)
        framed = in_batches(counts, self.decode_left_frames, right, self.cutting, run)
        return [audio.reshape(-1) for audio in framed]

    def _noise(self, frames: int) -> list[Tensor]:
        """Noise of each block of the decoder for one utterance, 1-D, in the order in which the package draws it."""
        generator = torch.Generator().manual_seed(self.noise_seed)
        return [torch.randn(frames * steps, generator=generator) for steps in self._noise_steps]

    @torch.inference_mode()
    def _encode(self, audio_BS: np.ndarray) -> np.ndarray:
        dtype = next(self.network.encoder.parameters()).dtype
        with torch_threads(self.threads):
            audio_B1S = torch.from_numpy(audio_BS)[:, None].to(self.device, dtype)
            _, codes = self.network.quantizer(self.network.encoder(audio_B1S).float())
            levels = [level.cpu().numpy() for level in codes]
        return np.stack([to_frames([level[row] for level in levels]) for row in range(len(audio_BS))])

    @torch.inference_mode()
    def _decode(self, codes_BFL: np.ndarray, noise: list[Tensor]) -> np.ndarray:
        rows = [to_levels(frames) for frames in codes_BFL]
        levels = [torch.from_numpy(np.stack(level)).to(self.device) for level in zip(*rows, strict=True)]
        parts = iter(noise)
        with torch_threads(self.threads):
            x = self.network.quantizer.from_codes(levels)
            for layer in self._decoder_layers:
                x = (
                    layer.linear(x).mul_(next(parts)[:, None].to(x)).add_(x)
                    if isinstance(layer, NoiseBlock)
                    else layer(x)
                )
            audio: np.ndarray = x[:, 0].cpu().numpy()
        return audio


def _layers(decoder: Any) -> Iterator[nn.Module]:
    """A decoder's layers in order, with the noise blocks laid open."""
    for part in decoder.model:
        yield from part.block if isinstance(part, DecoderBlock) else (part,)


def find_folder(name: str) -> tuple[Path, str | None]:
    """Find SNAC's files on disk, or bring them from the hub.

    Args:
        name: a folder or a hub id.

    Returns:
        The folder, and for a hub id the commit.

    Raises:
        SetupError: it is no folder, and the hub does not give it.
    """
    needed = f"config.json and {' or '.join(WEIGHT_FILES)}"
    folder = hub_folder("codec", name, ["config.json", *WEIGHT_FILES], needed)
    return folder, None if Path(name).is_dir() else folder.name


def weights_file(folder: Path) -> Path:
    """The file of a folder that holds SNAC's weights.

    Raises:
        SetupError: there is none.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise SetupError(f"codec {folder} holds no weights: neither {' nor '.join(WEIGHT_FILES)} is there")


def read_network(folder: Path) -> Any:
    """Build the package's own network from a folder, as it is.

    Args:
        folder: holds config.json, and model.safetensors or pytorch_model.bin. The latter may hold nothing but tensors.

    Returns:
        A `snac.SNAC` in eval mode.

    Raises:
        SetupError: a file is missing or damaged, the sizes are not those of SNAC at 24 kHz, or tensors do not fit.
    """
    config = _read_config(folder)
    weights = weights_file(folder)
    tensors = _read_tensors(weights)
    try:
        with torch.random.fork_rng(devices=[]):  # The package starts from random weights.
            network = SNAC(**config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SetupError(f"codec {folder}: SNAC cannot be built from its config.json: {error}") from error
    try:
        found = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # Sizes; strictness about names comes next, in fewer words than torch's.
        first = str(error).strip().splitlines()[-1].strip()
        raise SetupError(f"codec {weights} does not fit its config.json: {first}") from error
    if found.missing_keys or found.unexpected_keys:
        missing, extra = _listed(found.missing_keys), _listed(found.unexpected_keys)
        raise SetupError(f"codec {weights} does not fit its config.json: missing {missing}; extra {extra}")
    return network.eval()


def _listed(keys: Sequence[str], most: int = 3) -> str:
    if not keys:
        return "none"
    return f"{len(keys)} ({', '.join(keys[:most])}{', ...' if len(keys) > most else ''})"


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SetupError(f"codec {folder} holds no config.json: it is no SNAC") from error
    except (OSError, ValueError) as error:
        raise SetupError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise SetupError(f"{file} holds no sizes of a network")
    wanted = {key: CONFIG[key] for key in ("sampling_rate", "vq_strides", "codebook_size", "attn_window_size")}
    wrong = [
        f"{key} is {config.get(key, 'missing')}, not {value}"
        for key, value in wanted.items()
        if config.get(key, "") != value
    ]
    for key in ("encoder_rates", "decoder_rates"):
        rates = config.get(key)
        if (
            not isinstance(rates, list)
            or not all(isinstance(rate, int) for rate in rates)
            or math.prod(rates) != STEP_SAMPLES
        ):
            wrong.append(f"{key} is {rates}, whose product is not {STEP_SAMPLES}")
    if wrong:
        raise SetupError(f"{file} is not of SNAC at 24 kHz (hubertsiuzdak/snac_24khz): {'; '.join(wrong)}")
    return config


def _read_tensors(weights: Path) -> dict[str, Tensor]:
    try:
        if weights.suffix == ".safetensors":
            tensors = load_file(weights)
        else:
            tensors = torch.load(weights, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SetupError(f"codec {weights} is damaged or holds more than tensors: {first}") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise SetupError(f"codec {weights} holds no table of tensors")
    return {key: tensor.float() for key, tensor in tensors.items()}


def write_random_snac(folder: Path, seed: int, **sizes: int | None) -> None:
    """Write a SNAC of random weights, which hears and speaks noise at the real one's speed.

    Args:
        folder: becomes a folder that `load_snac` reads.
        seed: of the weights.
        sizes: instead of those in `CONFIG`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG | sizes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SNAC(**config)
    for key, tensor in network.named_parameters():
        if key.endswith("bias"):  # Else they outweigh the sound, and most codes are the same.
            nn.init.zeros_(tensor)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, folder / "model.safetensors")


def _load(spec: str, settings: CodecSettings) -> SnacCodec:
    return load_snac(spec, settings.threads, compiled=settings.compiled, device=settings.device, dtype=settings.dtype)


def _known() -> list[EngineInfo]:
    note = "SNAC at 24 kHz: a hub id, whose weights are downloaded, or a folder that holds them"
    return [EngineInfo("hubertsiuzdak/snac_24khz", "snac", "MIT", note, downloads=True)]


ENGINE = CodecEngine(load=_load, known=_known)
