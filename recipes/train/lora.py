"""LoRA on the backbone through peft: two thin matrices learn beside each frozen one.

In a checkpoint of a run they stand beside the backbone's weights, in peft's own format, which peft reads too:

    model.safetensors                     the backbone as it was, and everything else
    lora/adapter_model.safetensors        the thin matrices
    lora/adapter_config.json              rank, alpha, modules

`MiniOmni.from_pretrained` adds their products to the weights, without peft; a run goes on with them apart, since what
was added cannot be taken off again to the last bit.

Source: https://arxiv.org/abs/2106.09685.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from anytalk.model import LORA, LORA_WEIGHTS, MiniOmni
from anytalk.synth.errors import SetupError
from anytalk.synth.extra import import_extra

from .recipe import Lora

BACKBONE, ADAPTER = "backbone.", ".default.weight"
PEFT = "base_model.model."
"""What peft writes before the name of a module."""


def require_lora(lora: Lora | None) -> None:
    """See that peft is there, if it is needed.

    Raises:
        MissingExtra: it is not installed.
    """
    if lora is not None:
        import_extra("peft", "peft, which LoRA takes,", "lora")


def add_lora(model: MiniOmni, lora: Lora | None, seed: int, checkpoint: Path | None = None) -> None:
    """Put thin matrices beside those of a model's backbone; at first their product is zero.

    Args:
        model: changed in place.
        lora: which ones; none when None.
        seed: of new ones.
        checkpoint: of the run, where they are read from; new ones when None.

    Raises:
        MissingExtra: peft is not installed.
        SetupError: the backbone has no such modules, or the checkpoint has no such matrices.
    """
    if lora is None:
        return
    require_lora(lora)
    from peft import inject_adapter_in_model

    torch.manual_seed(seed % 2**63)
    try:
        inject_adapter_in_model(_config(lora), model.backbone)
    except ValueError as error:
        first = str(error).strip().partition("\n")[0]
        raise SetupError(f"lora.modules {lora.modules!r} do not suit the backbone: {first}") from error
    if checkpoint is not None:
        own = dict(model.named_parameters())
        found = {_ours(name): x for name, x in load_file(checkpoint / LORA / LORA_WEIGHTS).items()}
        if found.keys() != {name for name in own if is_lora(name)}:
            raise SetupError(f"{checkpoint / LORA} holds other matrices than lora names; name another folder")
        model.load_state_dict(found, strict=False)


def is_lora(name: str) -> bool:
    """Whether a parameter of a model is one of the thin matrices.

    >>> is_lora("backbone.model.layers.0.mlp.up_proj.lora_A.default.weight")
    True
    """
    return name.startswith(BACKBONE) and name.endswith(ADAPTER) and ("lora_A" in name or "lora_B" in name)


def without_lora(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a model's tensors under the names that they have without LoRA, the thin ones left out."""
    return {name.replace(".base_layer.", "."): x for name, x in weights.items() if not is_lora(name)}


def save_lora(folder: Path, weights: Mapping[str, Tensor], lora: Lora | None, backbone: str | None) -> None:
    """Write the thin matrices into a checkpoint, as peft does.

    Args:
        folder: the checkpoint.
        weights: the model's tensors.
        lora: None for none.
        backbone: what the run started from.
    """
    if lora is None:
        return
    (folder / LORA).mkdir()
    thin = {_theirs(name): x.contiguous() for name, x in weights.items() if is_lora(name)}
    save_file(thin, folder / LORA / LORA_WEIGHTS, metadata={"format": "pt"})
    config = _config(lora)
    config.base_model_name_or_path = backbone
    config.inference_mode = True
    config.save_pretrained(str(folder / LORA))


def _config(lora: Lora) -> Any:
    from peft import LoraConfig

    # peft's annotation says that alpha is whole; peft takes any number.
    settings: dict[str, Any] = {"r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "bias": "none"}
    modules = lora.modules if isinstance(lora.modules, str) else [*lora.modules]
    return LoraConfig(target_modules=modules, **settings)


def _theirs(name: str) -> str:
    return PEFT + name.removeprefix(BACKBONE).removesuffix(ADAPTER) + ".weight"


def _ours(name: str) -> str:
    return BACKBONE + name.removeprefix(PEFT).removesuffix(".weight") + ADAPTER
