"""A trained model and the engines that belong to it: found in a folder, loaded by the names in its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anytalk.model import CONFIG_FILE, ORIGINAL_WEIGHTS, MiniOmni, checkpoint_folder, quantise
from anytalk.recipes.data import named_codec
from anytalk.recipes.train import BEST
from anytalk.synth.codec import Codec, load_codec
from anytalk.synth.device import Dtype, check_dtype, torch_device, torch_dtype
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import Whisper, load_whisper


def load_model(run: str | Path, device: str = "cpu", dtype: Dtype = "float32", *, int8: bool = False) -> MiniOmni:
    """Read a model, in eval mode.

    Args:
        run: a checkpoint's folder; the folder of a training run, whose best checkpoint is meant; or an id of the hub,
            OWNER/NAME or OWNER/NAME@REVISION.
        device: where it computes; see `synth.device.resolve`.
        dtype: precision of its weights.
        int8: quantise it, which takes float32 weights on the CPU.

    Raises:
        SetupError: it is none of these, the checkpoint is not in order, or the device or precision cannot be had.
    """
    on = torch_device(device)
    check_dtype(dtype, str(on))
    folder = run_checkpoint(run)
    try:
        model = MiniOmni.from_pretrained(folder, dtype=torch_dtype(dtype), device=str(on))
    except ValueError as error:
        raise SetupError(str(error)) from error
    if not int8:
        return model
    try:
        return quantise(model)
    except ValueError as error:
        raise SetupError(f"--int8: {error}") from error


def run_checkpoint(run: str | Path) -> Path:
    """Give the folder of a checkpoint; see `load_model`.

    Raises:
        SetupError: there is none.
    """
    try:
        run = checkpoint_folder(run)
    except ValueError as error:
        raise SetupError(str(error)) from error
    folder = run if (run / CONFIG_FILE).is_file() else run / BEST
    if not (folder / CONFIG_FILE).is_file():
        if (run / ORIGINAL_WEIGHTS).is_file():
            raise SetupError(f"{run} is a checkpoint of the original; run: anytalk convert mini-omni {run} NEW")
        raise SetupError(f"{run} is neither a checkpoint nor a training run: it has no {CONFIG_FILE} and no {BEST}")
    return folder


def load_engines(
    model: MiniOmni, codec: str | None = None, whisper: str | None = None, device: str = "cpu"
) -> tuple[Codec, Whisper]:
    """Load a model's codec and recogniser.

    Args:
        model: its checkpoint names both, unless it was converted.
        codec: what `load_codec` takes, instead of the one that is named.
        whisper: what `load_whisper` takes, instead of the one that is named.
        device: where both compute; see `synth.device.resolve`.

    Raises:
        SetupError: one is neither given nor named, or cannot be loaded.
    """
    heard = model.config.feature
    return (
        load_codec(codec, device=device) if codec else _named_codec(model.config.codec, device),
        _load_whisper(whisper, heard, device) if whisper else _named_whisper(heard, device),
    )


def _named_codec(named: Mapping[str, Any], device: str) -> Codec:
    if "name" not in named:
        raise SetupError("the checkpoint names no codec; give --codec (the original's: hubertsiuzdak/snac_24khz)")
    try:
        return named_codec(named, device)
    except SetupError as error:
        raise SetupError(f"the checkpoint's codec {named['name']} cannot be loaded; give --codec: {error}") from error


def _named_whisper(named: Mapping[str, Any], device: str) -> Whisper:
    if "model" not in named:
        raise SetupError("the checkpoint names no Whisper; give --whisper (the original's: openai:small)")
    try:
        return _load_whisper(named["model"], named, device)
    except SetupError as error:
        raise SetupError(
            f"the checkpoint's Whisper {named['model']} cannot be loaded; give --whisper: {error}"
        ) from error


def _load_whisper(name: str, named: Mapping[str, Any], device: str) -> Whisper:
    """Load a recogniser in the arithmetic and the context that the checkpoint's features were made in."""
    return load_whisper(
        name,
        language=named.get("language", "en"),
        compute_type=named.get("compute_type", "float32"),
        context=named.get("context", "full"),
        device=device,
    )
