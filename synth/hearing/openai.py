"""Whisper through `openai-whisper` (https://github.com/openai/whisper, MIT), in torch: the original itself.

The encoder's steps are those of `AudioEncoder.forward` without its demand for 30 seconds; the decoding is
that of `DecodingTask` at temperature 0 without timestamps, on states that are already there.

Shapes: B = batch, M = mel bands, N = mel frames of 10 ms, T = states of 20 ms, D = width, L = tokens.
"""

import pickle
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anytalk.synth.device import gpu_fingerprint, torch_device
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SetupError
from anytalk.synth.extra import are_installed, import_extra
from anytalk.synth.fingerprint import Fingerprint, sha256_of_parts
from anytalk.synth.threads import torch_threads

from .contract import CONTEXT_FRAMES, Whisper, WhisperEngine, WhisperSettings
from .language import knows_only_english
from .recogniser import Mel, Recogniser, States, batching_on


class OpenaiNetwork:
    """A Whisper of openai-whisper, in float32.

    Args:
        source: one of `whisper.available_models()`, or the path of a `.pt` file with `dims` in it. A file is
            read with `weights_only=True`: it can hold no code.
        cpu_threads: torch threads of a pass on a CPU.
        device: see `synth.device.resolve`.

    Raises:
        MissingExtra: if openai-whisper is not installed.
        SetupError: if there is no such model, it cannot be downloaded or read, or it cannot run on the device.
    """

    def __init__(self, source: str, *, cpu_threads: int = 1, device: str = "cpu") -> None:
        import_extra("whisper", "the recogniser openai-whisper", "openai-whisper")
        self._device = torch_device(device)
        self.batching = batching_on(str(self._device))
        self._source = source
        self._model = _load(source, self._device)
        self._cpu_threads = cpu_threads
        dims = self._model.dims
        if dims.n_audio_ctx != CONTEXT_FRAMES:
            raise SetupError(f"{source} encodes {dims.n_audio_ctx} states at once, not Whisper's {CONTEXT_FRAMES}")
        self._tokenizer = self._tokenizer_of("en")
        self._forbidden = [*self._tokenizer.non_speech_tokens, *_task_tokens(self._tokenizer)]
        self._forbidden_first = [*self._tokenizer.encode(" "), self._tokenizer.eot]

    def prompt(self, language: str) -> list[int]:
        """Ids that ask for a transcript in a language.

        Raises:
            SetupError: the model does not know it.
        """
        from whisper.tokenizer import LANGUAGES

        if not self._model.is_multilingual and language != "en":
            raise knows_only_english(self._source, language)
        # The newest language is the last one.
        if language not in list(LANGUAGES)[: self._model.num_languages if self._model.is_multilingual else 1]:
            raise SetupError(f"Whisper knows no language {language!r}; give a code such as 'en', 'de' or 'zh'")
        return list(self._tokenizer_of(language).sot_sequence_including_notimestamps)

    def _tokenizer_of(self, language: str) -> Any:
        from whisper.tokenizer import get_tokenizer

        return get_tokenizer(
            self._model.is_multilingual,
            num_languages=self._model.num_languages,
            language=language,
            task="transcribe",
        )

    @property
    def band_count(self) -> int:
        """M, from the model's dims."""
        return int(self._model.dims.n_mels)

    @property
    def width(self) -> int:
        """D, from the model's dims."""
        return int(self._model.dims.n_audio_state)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Weights (all tensors, by name), engine, version, threads, GPU."""
        tensors = sorted(self._model.state_dict().items())
        parts = (
            part
            for name, tensor in tensors
            for part in (
                f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(),
                tensor.cpu().contiguous().numpy().tobytes(),
            )
        )
        return {
            "weights_sha256": sha256_of_parts(parts),
            "engine": f"openai-whisper {version('openai-whisper')} torch {torch.__version__}",
            "compute_type": "float32",
            "cpu_threads": str(self._cpu_threads),
            **gpu_fingerprint(str(self._device)),
        }

    def encode(self, mels_BMN: Mel) -> States:
        """Run the encoder on spectrograms: float32 (B, N // 2, D), on the device."""
        parts = [mels_BMN] if self.batching.together else [mel_MN[None] for mel_MN in mels_BMN]
        with torch.inference_mode(), torch_threads(self._cpu_threads):
            return torch.cat([self._encode(torch.from_numpy(part).to(self._device)) for part in parts])

    def _encode(self, mels_BMN: Tensor) -> Tensor:
        encoder = self._model.encoder
        x_BDN = F.gelu(encoder.conv1(mels_BMN))
        x_BTD = F.gelu(encoder.conv2(x_BDN)).permute(0, 2, 1)
        x_BTD = x_BTD + encoder.positional_embedding[: x_BTD.shape[1]]
        for block in encoder.blocks:
            x_BTD = block(x_BTD)
        states_BTD: Tensor = encoder.ln_post(x_BTD)
        return states_BTD

    def encode_for_text(self, mels_BMN: Mel) -> States:
        """Do the same: there is one arithmetic here."""
        return self.encode(mels_BMN)

    def decode(self, states_BTD: States, token_limit: int, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Decode a batch greedily, without timestamps and without a second try at a higher temperature."""
        limit = min(token_limit, self._model.dims.n_text_ctx - len(prompts[0]))
        cache, hooks = self._model.install_kv_cache_hooks()
        try:
            with torch.inference_mode(), torch_threads(self._cpu_threads):
                spoken_BL = self._greedy(states_BTD.contiguous(), cache, limit, prompts)
        finally:
            for hook in hooks:
                hook.remove()
        end = self._tokenizer.eot
        return [[token for token in row if token < end] for row in spoken_BL.tolist()]

    def language_probabilities(self, states_BTD: States, languages: Sequence[str]) -> list[float | None]:
        """How likely a batch is in its languages: `detect_language` of the original, on states that are there."""
        if not self._model.is_multilingual:
            return [None] * len(states_BTD)
        tokenizer = self._tokenizer
        places = [tokenizer.all_language_codes.index(language) for language in languages]
        with torch.inference_mode(), torch_threads(self._cpu_threads):
            start_BL = torch.tensor([[tokenizer.sot]] * len(states_BTD), device=self._device)
            logits_BV = self._model.logits(start_BL, states_BTD.contiguous())[:, 0]
            likely_BV = logits_BV[:, tokenizer.all_language_tokens].softmax(-1).cpu()
        return [float(likely_V[place]) for likely_V, place in zip(likely_BV, places, strict=True)]

    def _greedy(
        self, states_BTD: Tensor, cache: dict[Any, Tensor], limit: int, prompts: Sequence[Sequence[int]]
    ) -> Tensor:
        """Take the likeliest token until every row has ended: ids (B, L), an ended row filled with the end."""
        end = self._tokenizer.eot
        step_BL = torch.tensor([list(prompt) for prompt in prompts], device=self._device)
        spoken: list[Tensor] = []
        ended_B = torch.zeros(len(states_BTD), dtype=torch.bool, device=self._device)
        while len(spoken) < limit and not bool(ended_B.all()):
            logits_BV = self._model.decoder(step_BL, states_BTD, kv_cache=cache)[:, -1]
            logits_BV[:, self._forbidden] = -torch.inf
            if not spoken:
                logits_BV[:, self._forbidden_first] = -torch.inf
            token_B = logits_BV.argmax(dim=-1).masked_fill(ended_B, end)
            ended_B = ended_B | (token_B == end)
            spoken.append(token_B)
            step_BL = token_B[:, None]
        return torch.stack(spoken, dim=1)

    def text(self, tokens: Sequence[int]) -> str:
        """Turn ids into text."""
        return str(self._tokenizer.decode(list(tokens)))


def _load(source: str, device: torch.device) -> Any:
    import whisper

    is_path = source not in whisper.available_models()
    if is_path and not Path(source).is_file():
        known = ", ".join(whisper.available_models())
        raise SetupError(f"openai-whisper has no model {source!r} and there is no such file; it knows {known}")
    try:
        return whisper.load_model(source, device=device).float().eval()
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        what = "read" if is_path else "download"
        raise SetupError(f"openai-whisper cannot {what} {source}: {error}") from error


def _task_tokens(tokenizer: Any) -> list[int]:
    return [
        tokenizer.transcribe,
        tokenizer.translate,
        tokenizer.sot,
        tokenizer.sot_prev,
        tokenizer.sot_lm,
        tokenizer.no_speech,
    ]


def _load_whisper(spec: str, settings: WhisperSettings) -> Whisper:
    asked = settings.compute_type, settings.text_compute_type
    if asked not in (("float32", None), ("float32", "float32")):
        raise SetupError(
            f"openai-whisper computes in float32 here; {settings.name} was asked for {', '.join(map(str, asked))}"
        )
    network = OpenaiNetwork(spec, cpu_threads=settings.cpu_threads, device=settings.device)
    return Recogniser(network, settings.name, settings.language, settings.context)


def _known() -> list[EngineInfo]:
    return [
        EngineInfo(
            "openai:small",
            "openai",
            "MIT",
            "downloads its weights",
            installed=are_installed(["whisper"]),
            downloads=True,
            extra="openai-whisper",
        )
    ]


ENGINE = WhisperEngine(load=_load_whisper, known=_known, compute_types=("float32",))
