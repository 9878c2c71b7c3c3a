"""Whisper through `transformers`: from safetensors, in float32 or half precision, in batches on a GPU.

The encoder's steps are those of `WhisperEncoder.forward` (transformers 5.23) without its demand for 30 seconds; the
decoding is that of `generate` without timestamps, greedy, on states that are already there and stay on the device.

Shapes: B = batch, M = mel bands, N = mel frames of 10 ms, T = states of 20 ms, D = width, L = tokens, V = vocabulary.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from anytalk.synth.device import check_dtype, gpu_fingerprint, torch_device, torch_dtype
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import Fingerprint, file_sha256, sha256
from anytalk.synth.remote import hub_folder
from anytalk.synth.threads import torch_threads

from .contract import CONTEXT_FRAMES, Whisper, WhisperEngine, WhisperSettings
from .language import knows_only_english
from .recogniser import Mel, Recogniser, States, batching_on

COMPUTE_TYPES = ("float32", "float16", "bfloat16")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WANTED = ("config.json", "generation_config.json", "tokenizer.json", WEIGHTS, INDEX, "model-*-of-*.safetensors")
MULTILINGUAL_VOCABULARY = 51_865  # ids of the first multilingual Whispers; English ones have fewer


class TransformersNetwork:
    """A Whisper as transformers saves it.

    Args:
        folder: config.json, tokenizer.json and model.safetensors, in one file or in several with an index. Tokens that
            are never said stand in generation_config.json.
        compute_type: arithmetic of the encoder that makes features.
        text_compute_type: arithmetic where only text is made, and of the decoder; None for the same.
        cpu_threads: torch threads of a pass on a CPU.
        device: see `synth.device.resolve`.

    Raises:
        SetupError: the folder holds no such model, or it cannot run on the device in that arithmetic.
    """

    def __init__(
        self,
        folder: Path,
        *,
        compute_type: str = "float32",
        text_compute_type: str | None = None,
        cpu_threads: int = 1,
        device: str = "cpu",
    ) -> None:
        self._folder, self._cpu_threads = folder, cpu_threads
        self._device = torch_device(device)
        self.batching = batching_on(str(self._device))
        self._compute_type, self._text_compute_type = compute_type, text_compute_type or compute_type
        for wanted in {self._compute_type, self._text_compute_type}:
            if wanted not in COMPUTE_TYPES:
                raise SetupError(f"transformers computes in {', '.join(COMPUTE_TYPES)}; it was asked for {wanted}")
            check_dtype(wanted, str(self._device))
        self._weights = weight_files(folder)
        self._tokenizer = _read_tokenizer(folder)
        self._model = self._load(self._compute_type)
        alike = self._text_compute_type == self._compute_type
        self._text_model = self._model if alike else self._load(self._text_compute_type)
        self._end = self._id("<|endoftext|>")
        never = _generation(folder)
        self._forbidden = list(never.get("suppress_tokens") or [])
        self._forbidden_first = list(never.get("begin_suppress_tokens") or [])

    def _load(self, compute_type: str) -> Any:
        """Build the model around its tensors; neither draws weights nor changes what torch makes in other threads."""
        from transformers import WhisperConfig, WhisperForConditionalGeneration

        try:
            config = WhisperConfig.from_pretrained(self._folder)
            with torch.device("meta"):
                model = WhisperForConditionalGeneration(config)
            tensors = {name: x for file in self._weights for name, x in load_file(file, str(self._device)).items()}
            dtype = torch_dtype(compute_type)
            found = model.load_state_dict({name: x.to(dtype) for name, x in tensors.items()}, strict=False, assign=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise SetupError(f"the Whisper {self._folder} cannot be read: {first}") from error
        missing = sorted({*found.missing_keys} - {"proj_out.weight"})  # the embeddings, once more
        if missing or found.unexpected_keys:
            name = (missing or found.unexpected_keys)[0]
            raise SetupError(f"{self._folder} is no Whisper of its config.json: {name} is missing or too much")
        if config.max_source_positions != CONTEXT_FRAMES:
            raise SetupError(
                f"{self._folder} encodes {config.max_source_positions} states at once, not Whisper's {CONTEXT_FRAMES}"
            )
        model.tie_weights()
        return model.eval().requires_grad_(requires_grad=False)

    @property
    def band_count(self) -> int:
        """M, from the model's configuration."""
        return int(self._model.config.num_mel_bins)

    @property
    def width(self) -> int:
        """D, from the model's configuration."""
        return int(self._model.config.d_model)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Weights, engine, version, compute types, threads, GPU."""
        hashes = [file_sha256(file) for file in self._weights]
        return {
            "weights_sha256": hashes[0] if len(hashes) == 1 else sha256("\n".join(hashes).encode()),
            "engine": f"transformers {version('transformers')} torch {torch.__version__}",
            "compute_type": self._compute_type,
            "text_compute_type": self._text_compute_type,
            "cpu_threads": str(self._cpu_threads),
            **gpu_fingerprint(str(self._device)),
        }

    def encode(self, mels_BMN: Mel) -> States:
        """Run the encoder on spectrograms: (B, N // 2, D), on the device."""
        return self._encode(self._model, mels_BMN)

    def encode_for_text(self, mels_BMN: Mel) -> States:
        """Run the encoder in the arithmetic of text."""
        return self._encode(self._text_model, mels_BMN)

    def _encode(self, model: Any, mels_BMN: Mel) -> Tensor:
        parts = [mels_BMN] if self.batching.together else [mel_MN[None] for mel_MN in mels_BMN]
        encoder = model.model.encoder
        with torch.inference_mode(), torch_threads(self._cpu_threads):
            return torch.cat([_states(encoder, torch.from_numpy(part).to(self._device, model.dtype)) for part in parts])

    def decode(self, states_BTD: States, token_limit: int, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Decode a batch greedily, without timestamps and without a second try at a higher temperature."""
        limit = min(token_limit, self._model.config.max_target_positions - len(prompts[0]))
        with torch.inference_mode(), torch_threads(self._cpu_threads):
            spoken_BL = self._greedy(self._for_text(states_BTD), limit, prompts)
        return [[token for token in row if token < self._end] for row in spoken_BL.tolist()]

    def language_probabilities(self, states_BTD: States, languages: Sequence[str]) -> list[float | None]:
        """How likely a batch is in its languages, from one step of the decoder; None for English alone."""
        if not self._is_multilingual:
            return [None] * len(states_BTD)
        # Languages stand between the start and the tasks.
        start, task = self._id("<|startoftranscript|>"), self._id("<|translate|>")
        places = [self._id(f"<|{language}|>") - start - 1 for language in languages]
        with torch.inference_mode(), torch_threads(self._cpu_threads):
            start_BL = torch.full((len(states_BTD), 1), start, device=self._device)
            logits_BV, _ = self._step(start_BL, self._for_text(states_BTD), None)
            likely_BV = logits_BV[:, start + 1 : task].softmax(-1).cpu()
        return [float(likely_V[place]) for likely_V, place in zip(likely_BV, places, strict=True)]

    def _for_text(self, states_BTD: Tensor) -> Tensor:
        return states_BTD.to(self._text_model.dtype).contiguous()

    def _greedy(self, states_BTD: Tensor, limit: int, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Take the likeliest token until every row has ended: ids (B, L), an ended row filled with the end."""
        step_BL = torch.tensor([list(prompt) for prompt in prompts], device=self._device)
        spoken: list[Tensor] = []
        ended_B = torch.zeros(len(states_BTD), dtype=torch.bool, device=self._device)
        cache = None
        while len(spoken) < limit and not bool(ended_B.all()):
            logits_BV, cache = self._step(step_BL, states_BTD, cache)
            logits_BV[:, self._forbidden] = -torch.inf
            if not spoken:
                logits_BV[:, self._forbidden_first] = -torch.inf
            token_B = logits_BV.argmax(dim=-1).masked_fill(ended_B, self._end)
            ended_B = ended_B | (token_B == self._end)
            spoken.append(token_B)
            step_BL = token_B[:, None]
        return torch.stack(spoken, dim=1)

    def _step(self, tokens_BL: Tensor, states_BTD: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits (B, V) after tokens, in float32, and the keys and values up to there."""
        out = self._text_model.model.decoder(
            input_ids=tokens_BL, encoder_hidden_states=states_BTD, past_key_values=cache, use_cache=True
        )
        return self._text_model.proj_out(out.last_hidden_state[:, -1]).float(), out.past_key_values

    def text(self, tokens: Sequence[int]) -> str:
        """Turn ids into text."""
        return str(self._tokenizer.decode(list(tokens)))

    @property
    def _is_multilingual(self) -> bool:
        return int(self._model.config.vocab_size) >= MULTILINGUAL_VOCABULARY

    def prompt(self, language: str) -> list[int]:
        """Ids that ask for a transcript in a language.

        Raises:
            SetupError: the model does not know it.
        """
        start, untimed = self._id("<|startoftranscript|>"), self._id("<|notimestamps|>")
        if not self._is_multilingual:
            if language != "en":
                raise knows_only_english(f"in {self._folder}", language)
            return [start, untimed]
        known = self._tokenizer.token_to_id(f"<|{language}|>")
        if known is None or not start < known < self._id("<|translate|>"):
            raise SetupError(f"Whisper knows no language {language!r}; give a code such as 'en', 'de' or 'zh'")
        return [start, known, self._id("<|transcribe|>"), untimed]

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise SetupError(f"{self._folder / 'tokenizer.json'} has no token {token}: it is not Whisper's")
        return int(found)


def _states(encoder: Any, mels_BMN: Tensor) -> Tensor:
    x_BDN = F.gelu(encoder.conv1(mels_BMN))
    x_BTD = F.gelu(encoder.conv2(x_BDN)).permute(0, 2, 1)
    x_BTD = x_BTD + encoder.embed_positions.weight[: x_BTD.shape[1]]
    for layer in encoder.layers:
        x_BTD = layer(x_BTD, None)
    states_BTD: Tensor = encoder.layer_norm(x_BTD)
    return states_BTD


def weight_files(folder: Path) -> list[Path]:
    """List the safetensors of a folder, in order.

    Raises:
        SetupError: there are none.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        names = sorted({*json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()})
        if all((folder / name).is_file() for name in names):
            return [folder / name for name in names]
    raise SetupError(f"{folder} holds no Whisper of transformers: there is no {WEIGHTS} in it")


def _read_tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise SetupError(f"{folder} holds no tokenizer.json; save the model's fast tokenizer there")
    return Tokenizer.from_file(str(file))


def _generation(folder: Path) -> dict[str, Any]:
    file = folder / "generation_config.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def _load(spec: str, settings: WhisperSettings) -> Whisper:
    network = TransformersNetwork(
        hub_folder("the Whisper", spec, WANTED, f"config.json, tokenizer.json and {WEIGHTS}"),
        compute_type=settings.compute_type,
        text_compute_type=settings.text_compute_type,
        cpu_threads=settings.cpu_threads,
        device=settings.device,
    )
    return Recogniser(network, settings.name, settings.language, settings.context)


def _known() -> list[EngineInfo]:
    note = "a hub id, whose weights are downloaded, or a folder; in batches on a GPU"
    return [EngineInfo("transformers:openai/whisper-small", "transformers", "Apache-2.0", note, downloads=True)]


ENGINE = WhisperEngine(load=_load, known=_known, compute_types=COMPUTE_TYPES)
