"""The table of recognisers, and loading one by its name.

A new engine is one file here, with its `ENGINE`, and one line in `ENGINES`.
"""

import importlib
from pathlib import Path

from anytalk.synth.engine import EngineInfo
from anytalk.synth.language import whisper_code
from anytalk.synth.remote import brought

from .contract import Context, Whisper, WhisperEngine, WhisperSettings

ENGINES = {
    "faster-whisper": ".faster",
    "openai": ".openai",
    "transformers": ".transformers",
    "fake": ".fake",
    "fake.en": ".fake",
}
"""Module of each engine, imported when it is needed, by the part of a recogniser's name before the colon."""


def load_whisper(
    name: str = "tiny.en",
    *,
    language: str = "en",
    compute_type: str = "float32",
    text_compute_type: str | None = None,
    context: Context = "full",
    cpu_threads: int = 1,
    device: str = "cpu",
) -> Whisper:
    """Load a recogniser.

    Args:
        name: `tiny.en`, whose weights come with the package; a folder in CTranslate2's format; a size that
            faster-whisper knows (`small`) or a hub id of such a folder; `openai:small`, or the path of a
            `.pt` file, for openai-whisper; `transformers:` and a hub id or a folder of safetensors, or that folder
            alone; `fake` for tests, and `fake.en`, which knows only English; or `ENGINE:SPEC`,
            with an engine of the table. A folder or file may be a URL, such as `transformers:s3://bucket/whisper`.
        language: BCP-47 tag of what it hears where it is told no other; only its first part counts.
        compute_type: arithmetic of the features: `float32` for the original's; in CTranslate2 also `int8`, …; on a GPU
            `float16` or `bfloat16`, but for openai-whisper.
        text_compute_type: arithmetic where only text is wanted; None for the same. With `int8` a transcript takes
            three quarters of the time in CTranslate2.
        context: what the encoder is shown when it makes features: `full` for the original's 30 seconds, or `short` for
            windows of 8, 16 and 30 seconds, whose states differ.
        cpu_threads: threads of one pass on a CPU; another number may give other low bits.
        device: `cpu`; `cuda` or `cuda:1` for a GPU; `auto` for a GPU where there is one.

    Returns:
        The recogniser.

    Raises:
        MissingExtra: if openai-whisper is asked for and not installed.
        SetupError: if there is no such model, it cannot be had or read, it does not know the language, or it cannot
            run on the device or in the arithmetic.
    """
    engine, spec = _split(brought(name))
    code = whisper_code(language)
    settings = WhisperSettings(name, code, compute_type, text_compute_type, context, cpu_threads, device)
    return _engine(ENGINES[engine]).load(spec, settings)


def computes_in(name: str, compute_type: str) -> bool:
    """Whether the engine of a recogniser knows an arithmetic at all, without loading it."""
    known = _engine(ENGINES[_split(name)[0]]).compute_types
    return known is None or compute_type in known


def known_whispers() -> list[EngineInfo]:
    """List the recognisers that can be named, without loading a model."""
    return [info for module in dict.fromkeys(ENGINES.values()) for info in _engine(module).known()]


def _split(name: str) -> tuple[str, str]:
    """The engine and the SPEC of a recogniser's name; files and models of faster-whisper go without the engine's."""
    engine, _, spec = name.partition(":")
    if engine in ENGINES:
        return engine, spec
    if name.endswith(".pt"):
        return "openai", name
    is_transformers = not (Path(name) / "model.bin").is_file() and any(Path(name).glob("model*.safetensors"))
    return "transformers" if is_transformers else "faster-whisper", name


def _engine(module: str) -> WhisperEngine:
    found: WhisperEngine = importlib.import_module(module, __package__).ENGINE
    return found
