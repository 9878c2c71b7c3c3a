"""Checkpoints: a folder with config.json, model.safetensors and, where there are any, tokenizer files."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS = "model.safetensors"
LORA, LORA_CONFIG, LORA_WEIGHTS = "lora", "adapter_config.json", "adapter_model.safetensors"
"""Folder of a checkpoint in which a run keeps LoRA apart, in peft's format."""
TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
"""What may lie in a checkpoint of the text's tokenizer."""


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], state: Mapping[str, Tensor], tokenizer_files: Iterable[Path] = ()
) -> None:
    """Write a checkpoint; config.json comes last, so a folder that has one is whole.

    Args:
        folder: made where it does not exist; another checkpoint in it is replaced.
        config: JSON values.
        state: tensors, no two of which share memory.
        tokenizer_files: copied under their own names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    partial = folder / f".{WEIGHTS}.partial"
    save_file({name: x.detach().contiguous() for name, x in state.items()}, partial, metadata={"format": "pt"})
    partial.replace(folder / WEIGHTS)
    for path in tokenizer_files:
        if path.parent.resolve() != folder.resolve():
            shutil.copy2(path, folder / path.name)
    partial = folder / f".{CONFIG_FILE}.partial"
    partial.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / CONFIG_FILE)


def read_config(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's config.json.

    Raises:
        ValueError: if the folder has none, or it is no JSON object.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} is not a checkpoint: it has no {CONFIG_FILE}") from None
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or a number of 5,000 digits
        raise ValueError(f"{folder / CONFIG_FILE} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{folder / CONFIG_FILE} holds a {type(config).__name__}, not an object")
    return config


def read_weights(folder: Path, device: str = "cpu", *, merged: bool = True) -> dict[str, Tensor]:
    """Read a checkpoint's tensors.

    Args:
        folder: the checkpoint.
        device: where they go.
        merged: add LoRA's products to the weights beside which a run keeps them.

    Raises:
        ValueError: a file is missing or damaged.
    """
    try:
        state = load_file(folder / WEIGHTS, device=device)
        return _merged(state, folder / LORA, device) if merged and has_lora(folder) else state
    except FileNotFoundError as error:
        if has_lora(folder) and (folder / WEIGHTS).is_file():
            raise ValueError(f"{folder / LORA} lacks {Path(str(error.filename)).name or LORA_WEIGHTS}") from None
        raise ValueError(f"{folder} is not a checkpoint: it has no {WEIGHTS}") from None
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} cannot be read: {error}") from None


def has_lora(folder: Path) -> bool:
    """Whether a checkpoint holds LoRA apart from the weights beside it."""
    return (folder / LORA).is_dir()


def _merged(state: dict[str, Tensor], folder: Path, device: str) -> dict[str, Tensor]:
    """Add products of thin matrices to the backbone's, as peft's `merge_and_unload` does, but without peft."""
    config = json.loads((folder / LORA_CONFIG).read_text(encoding="utf-8"))
    thin = load_file(folder / LORA_WEIGHTS, device=device)
    try:
        scale = config["lora_alpha"] / config["r"]
        for name, down in thin.items():
            module, found, _ = name.partition(".lora_A.")
            if found:
                weight = f"backbone.{module.removeprefix('base_model.model.')}.weight"
                state[weight] = state[weight] + (thin[f"{module}.lora_B.weight"] @ down) * scale
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{folder} does not fit the weights beside it: {error}") from error
    return state


def check_fits(module: nn.Module, state: Mapping[str, Tensor], aliases: Iterable[str], where: str) -> None:
    """Compare tensors with a module that should have exactly these.

    Args:
        module: may be on the meta device.
        state: tensors by name.
        aliases: names of the module that share another name's tensor; `state` does not hold them.
        where: what the error names.

    Raises:
        ValueError: if a name is missing or left over, or a shape differs; one line says all.
    """
    hidden = set(aliases)
    expected = {name: x for name, x in module.state_dict().items() if name not in hidden}
    problems = [f"missing {name}" for name in sorted(expected.keys() - state.keys())]
    problems += [f"unexpected {name}" for name in sorted(state.keys() - expected.keys())]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, not {tuple(x.shape)}"
        for name, x in expected.items()
        if name in state and state[name].shape != x.shape
    ]
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ValueError(f"{where} does not fit its config: {'; '.join(problems[:8])}{more}")
