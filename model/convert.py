"""Checkpoints of the original Mini-Omni, read and written.

The original is a litgpt folder: `lit_model.pth`, `model_config.yaml` and a tokenizer. Its one table and one
head hold text and audio rows together, and its attention fuses queries, keys and values in groups: for each
key/value head, the query heads that share it, then the key, then the value.

Source: `litgpt/model.py` and `litgpt/config.py` of gpt-omni/mini-omni at 26c31d5.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from transformers import LlamaConfig, PreTrainedConfig, Qwen2Config

from .checkpoint import TOKENIZER_FILES, check_fits, read_config, read_weights, write_checkpoint
from .config import MiniOmniConfig, backbone_fields
from .layout import Layout
from .network import MiniOmni

ORIGINAL_WEIGHTS = "lit_model.pth"
CONFIG = "model_config.yaml"

# What the original's Config takes for a key that its YAML does not name.
_DEFAULTS: Mapping[str, Any] = {
    "scale_embeddings": False,
    "block_size": 4096,
    "head_size": None,
    "rotary_percentage": 0.25,
    "parallel_residual": True,
    "bias": True,
    "lm_head_bias": False,
    "n_query_groups": None,
    "shared_attention_norm": False,
    "norm_class_name": "LayerNorm",
    "norm_eps": 1e-5,
    "mlp_class_name": "GptNeoxMLP",
    "rope_condense_ratio": 1,
    "rope_base": 10_000,
    "add_qkv_bias": None,
    "tie_word_embeddings": False,
    "text_vocab_size": 152_000,
    "cat_audio_vocab_size": 29_120,
    "audio_vocab_size": 4160,
    "whisper_adapter_dim": 768,
    "asr_adapter": "llamamlp",
}

# The one kind of litgpt network that Mini-Omni is; another value would need other code.
_REQUIRED: Mapping[str, Any] = {
    "scale_embeddings": False,
    "rotary_percentage": 1.0,
    "parallel_residual": False,
    "bias": False,
    "lm_head_bias": False,
    "shared_attention_norm": False,
    "norm_class_name": "RMSNorm",
    "mlp_class_name": "LLaMAMLP",
    "rope_condense_ratio": 1,
}

_SIZES = (
    "n_layer",
    "n_head",
    "n_embd",
    "intermediate_size",
    "block_size",
    "text_vocab_size",
    "cat_audio_vocab_size",
    "audio_vocab_size",
    "whisper_adapter_dim",
)

_ADAPTERS = {"llamamlp": "swiglu", "mlp": "linear"}
_BLOCK = {
    "norm_1.weight": "input_layernorm.weight",
    "attn.proj.weight": "self_attn.o_proj.weight",
    "norm_2.weight": "post_attention_layernorm.weight",
    "mlp.fc_1.weight": "mlp.gate_proj.weight",
    "mlp.fc_2.weight": "mlp.up_proj.weight",
    "mlp.proj.weight": "mlp.down_proj.weight",
}
_WHISPER_ADAPTER = {
    "swiglu": {"fc_1.weight": "gate.weight", "fc_2.weight": "up.weight", "proj.weight": "down.weight"},
    "linear": {"weight": "down.weight", "bias": "down.bias"},
}


def from_mini_omni(source: Path, folder: Path) -> MiniOmniConfig:
    """Turn an original checkpoint into one of ours.

    Args:
        source: a folder with `lit_model.pth` and `model_config.yaml`; tokenizer files are copied where there
            are any.
        folder: where ours goes.

    Returns:
        The new checkpoint's config.

    Raises:
        ValueError: if the folder is no such checkpoint, or its tensors are not exactly its config's.
    """
    state = _read_original_weights(source)
    original = {**_DEFAULTS, **_read_original_config(source / CONFIG)}
    blocks = {name.split(".")[2] for name in state if name.startswith("transformer.post_adapter.")}
    # The original's loader does not believe its config's `post_adapter` either; the tensors decide.
    config = _our_config(original, tts_adapter_layers=len(blocks))
    renamed = _our_state(state, config, str(source))
    _check(renamed, config, source)
    found = [source / name for name in TOKENIZER_FILES if (source / name).is_file()]
    write_checkpoint(folder, config.to_dict(), renamed, found)
    return config


def to_mini_omni(source: Path, folder: Path) -> None:
    """Turn one of our checkpoints into one that the original's strict loading accepts.

    Args:
        source: a checkpoint with a Qwen2 or Llama backbone, seven codec layers and unstacked features.
        folder: where `lit_model.pth`, `model_config.yaml` and the tokenizer files go.

    Raises:
        ValueError: if the folder is no such checkpoint, its tensors are not exactly its config's, or the original
            cannot represent it.
    """
    config = MiniOmniConfig.from_dict(read_config(source))
    original = _original_config(config)
    ours = read_weights(source)
    _check(ours, config, source)
    state = _original_state(ours, config)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copy2(source / name, folder / name)
    torch.save(state, folder / ORIGINAL_WEIGHTS)
    (folder / CONFIG).write_text(yaml.safe_dump(original, sort_keys=False), encoding="utf-8")


def _check(ours: Mapping[str, Tensor], config: MiniOmniConfig, source: Path) -> None:
    with torch.device("meta"):
        model = MiniOmni(config)
    check_fits(model, ours, model.aliases(), str(source))


# Queries, keys and values


def split_qkv(fused: Tensor, query_heads: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Separate litgpt's fused projection.

    Args:
        fused: weight or bias; its first axis is groups x (queries of the group, key, value) x head width.
        query_heads: query heads in all.
        groups: key/value heads.

    Returns:
        Queries, keys and values, each with its heads along the first axis.
    """
    if len(fused) % (query_heads + 2 * groups):
        raise ValueError(f"{len(fused)} rows are not {query_heads} query and 2 x {groups} key/value heads")
    shared = query_heads // groups
    grouped = fused.view(groups, shared + 2, -1, *fused.shape[1:])
    query, key, value = grouped[:, :shared], grouped[:, shared], grouped[:, shared + 1]
    return query.flatten(0, 2), key.flatten(0, 1), value.flatten(0, 1)


def fuse_qkv(query: Tensor, key: Tensor, value: Tensor, groups: int) -> Tensor:
    """Interleave queries, keys and values as litgpt does, the inverse of `split_qkv`."""
    parts = [part.reshape(groups, -1, *part.shape[1:]) for part in (query, key, value)]
    return torch.cat(parts, dim=1).flatten(0, 1)


# Configs


def _our_config(original: Mapping[str, Any], tts_adapter_layers: int) -> MiniOmniConfig:
    wrong = [f"{k} {original[k]!r} (not {v!r})" for k, v in _REQUIRED.items() if original[k] != v]
    if original["asr_adapter"] not in _ADAPTERS:
        wrong.append(f"asr_adapter {original['asr_adapter']!r} (not 'llamamlp' or 'mlp')")
    sizes = [*_SIZES, *(k for k in ("head_size", "n_query_groups") if original[k] is not None)]
    wrong += [f"{k} {original.get(k)!r} (not a size)" for k in sizes if not _is_size(original.get(k))]
    if not wrong and original["cat_audio_vocab_size"] % original["audio_vocab_size"]:
        wrong.append(f"cat_audio_vocab_size is no multiple of audio_vocab_size {original['audio_vocab_size']}")
    if wrong:
        raise ValueError(f"{CONFIG} is not Mini-Omni's: {'; '.join(wrong)}")
    specials = Layout.text_specials, Layout.audio_specials
    layout = Layout(
        original["text_vocab_size"] - specials[0],
        original["audio_vocab_size"] - specials[1],
        original["cat_audio_vocab_size"] // original["audio_vocab_size"],
        *specials,
    )
    tied = bool(original["tie_word_embeddings"])
    return MiniOmniConfig(
        layout,
        backbone_fields(_backbone(original, tied), layout),
        feature_width=original["whisper_adapter_dim"],
        adapter="swiglu" if original["asr_adapter"] == "llamamlp" else "linear",
        adapter_hidden=original["intermediate_size"],
        tts_adapter_layers=tts_adapter_layers,
        tie_audio_head=tied and not tts_adapter_layers,
        unread_audio_head=not tied and bool(tts_adapter_layers),
    )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _backbone(original: Mapping[str, Any], tied: bool) -> PreTrainedConfig:
    """Qwen2 has biases on its queries, keys and values; Llama has none. They differ in nothing else here."""
    shape: dict[str, Any] = {
        "hidden_size": original["n_embd"],
        "intermediate_size": original["intermediate_size"],
        "num_hidden_layers": original["n_layer"],
        "num_attention_heads": original["n_head"],
        "num_key_value_heads": original["n_query_groups"] or original["n_head"],
        "head_dim": original["head_size"] or original["n_embd"] // original["n_head"],
        "max_position_embeddings": original["block_size"],
        "rms_norm_eps": float(original["norm_eps"]),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(original["rope_base"])},
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return Qwen2Config(**shape) if original["add_qkv_bias"] else LlamaConfig(**shape)


def _original_config(config: MiniOmniConfig) -> dict[str, Any]:
    shape, layout = config.backbone, config.layout
    problems = []
    if shape["model_type"] not in ("qwen2", "llama"):
        problems.append(f"a {shape['model_type']} backbone (only qwen2 and llama)")
    if set(shape.get("layer_types") or ["full_attention"]) != {"full_attention"}:
        problems.append("sliding-window attention")
    if (rope := shape.get("rope_parameters", {}).get("rope_type", "default")) != "default":
        problems.append(f"rope_type={rope} (only default)")
    if shape.get("attention_bias") or shape.get("mlp_bias"):
        problems.append("biases outside queries, keys and values")
    if layout.chat is not None:
        problems.append("a chat template or a system prompt")
    if config.backbone_reads != "streams":
        problems.append("a backbone that reads text alone")
    if layout.layers != 7:
        problems.append(f"{layout.layers} codec layers (only 7)")
    if config.stack != 1:
        problems.append(f"model.stack={config.stack} (only 1)")
    if config.adapter == "swiglu" and config.adapter_hidden != (width := shape["intermediate_size"]):
        problems.append(f"model.adapter_hidden={config.adapter_hidden} (only the backbone's {width})")
    if not config.tts_adapter_layers and shape["tie_word_embeddings"] != config.tie_audio_head:
        problems.append("text and audio heads of which only one is tied")
    if problems:
        raise ValueError(f"the original Mini-Omni cannot represent {', '.join(problems)}")
    heads = shape["num_attention_heads"]
    return {
        **_REQUIRED,
        "name": "mini-omni",
        "hf_config": {},
        "block_size": shape["max_position_embeddings"],
        "vocab_size": layout.vocabulary,
        "padded_vocab_size": layout.vocabulary,
        "n_layer": shape["num_hidden_layers"],
        "n_head": heads,
        "head_size": shape.get("head_dim") or shape["hidden_size"] // heads,
        "n_embd": shape["hidden_size"],
        "n_query_groups": shape["num_key_value_heads"],
        "norm_eps": shape["rms_norm_eps"],
        "intermediate_size": shape["intermediate_size"],
        "rope_base": int(shape["rope_parameters"]["rope_theta"]),
        "add_qkv_bias": shape["model_type"] == "qwen2",
        "tie_word_embeddings": shape["tie_word_embeddings"],
        "text_vocab_size": layout.text_vocabulary,
        "cat_audio_vocab_size": layout.layers * layout.audio_vocabulary,
        "audio_vocab_size": layout.audio_vocabulary,
        "whisper_adapter_dim": config.feature_width,
        "post_adapter": bool(config.tts_adapter_layers),
        "post_adapter_layers": config.tts_adapter_layers or 6,
        "asr_adapter": next(theirs for theirs, ours in _ADAPTERS.items() if ours == config.adapter),
    }


# Tensors


def _renamed_blocks(config: MiniOmniConfig) -> list[tuple[str, str]]:
    """Pair the name prefixes of all blocks, theirs and ours."""
    backbone = [
        (f"transformer.h.{i}.", f"backbone.model.layers.{i}.") for i in range(config.backbone["num_hidden_layers"])
    ]
    adapter = [(f"transformer.post_adapter.{i}.", f"tts_adapter.layers.{i}.") for i in range(config.tts_adapter_layers)]
    return backbone + adapter


def _renamed(config: MiniOmniConfig) -> list[tuple[str, str]]:
    """Pair the names of all tensors that stay as they are, theirs and ours."""
    pairs = [(theirs + a, ours + b) for theirs, ours in _renamed_blocks(config) for a, b in _BLOCK.items()]
    pairs += [(f"whisper_adapter.{a}", f"whisper_adapter.{b}") for a, b in _WHISPER_ADAPTER[config.adapter].items()]
    pairs.append(("transformer.ln_f.weight", "final_norm.weight"))
    if config.tts_adapter_layers:
        pairs.append(("transformer.post_adapter_audio_ln.weight", "tts_adapter.norm.weight"))
        pairs.append(("transformer.post_adapter_audio_lm_head.weight", "audio_head.weight"))
    return pairs


def _fused(config: MiniOmniConfig) -> list[tuple[str, list[str]]]:
    """Pair the names of fused projections with the names of our three."""
    kinds = ["weight", "bias"] if config.backbone["model_type"] == "qwen2" else ["weight"]
    return [
        (f"{theirs}attn.attn.{kind}", [f"{ours}self_attn.{x}_proj.{kind}" for x in "qkv"])
        for theirs, ours in _renamed_blocks(config)
        for kind in kinds
    ]


def _head_rows(config: MiniOmniConfig) -> str:
    """Name the tensor of ours that the audio rows of the original's `lm_head` are."""
    return "unread_audio_head.weight" if config.tts_adapter_layers else "audio_head.weight"


def _our_state(state: dict[str, Tensor], config: MiniOmniConfig, where: str) -> dict[str, Tensor]:
    state = dict(state)
    try:
        ours = {new: state.pop(old) for old, new in _renamed(config)}
        heads = config.backbone["num_attention_heads"], config.backbone["num_key_value_heads"]
        for old, new in _fused(config):
            ours |= zip(new, split_qkv(state.pop(old), *heads), strict=True)
        table, head = state.pop("transformer.wte.weight"), state.pop("lm_head.weight")
    except KeyError as error:
        raise ValueError(f"{where} lacks the tensor {error.args[0]}") from None
    if state:
        raise ValueError(f"{where} holds unknown tensors: {', '.join(sorted(state)[:8])}")
    rows = [config.layout.text_vocabulary, config.layout.vocabulary - config.layout.text_vocabulary]
    # litgpt may pad its table beyond the vocabulary; such rows mean nothing.
    ours["backbone.model.embed_tokens.weight"], ours["audio_embedding.weight"], *_ = _rows(table, rows)
    if config.backbone["tie_word_embeddings"]:
        if not torch.equal(table, head):
            raise ValueError(f"{where} ties its head to its table, but holds two different ones")
    else:
        ours["backbone.lm_head.weight"], ours[_head_rows(config)], *_ = _rows(head, rows)
    return ours


def _rows(table: Tensor, rows: list[int]) -> tuple[Tensor, ...]:
    if len(table) < sum(rows):
        raise ValueError(f"the original's table has {len(table)} rows; its config needs {sum(rows)}")
    return torch.split(table, [*rows, len(table) - sum(rows)])


def _original_state(ours: Mapping[str, Tensor], config: MiniOmniConfig) -> dict[str, Tensor]:
    state = {old: ours[new] for old, new in _renamed(config)}
    groups = config.backbone["num_key_value_heads"]
    for old, new in _fused(config):
        query, key, value = (ours[name] for name in new)
        state[old] = fuse_qkv(query, key, value, groups)
    audio = ours["audio_embedding.weight"]
    table = torch.cat([ours["backbone.model.embed_tokens.weight"], audio])
    state["transformer.wte.weight"] = state["lm_head.weight"] = table
    if not config.backbone["tie_word_embeddings"]:
        # In the paper variant nobody reads these rows, and a model trained here need not have them.
        head = ours.get(_head_rows(config), torch.zeros_like(audio))
        state["lm_head.weight"] = torch.cat([ours["backbone.lm_head.weight"], head])
    return state


# Files


def _read_original_weights(source: Path) -> dict[str, Tensor]:
    path = source / ORIGINAL_WEIGHTS
    if not path.is_file() or not (source / CONFIG).is_file():
        raise ValueError(f"{source} is no original checkpoint: it needs {ORIGINAL_WEIGHTS} and {CONFIG}")
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    state = state.get("model", state)  # litgpt's trainer saves one level deeper
    return dict(state)


def _read_original_config(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no keys and values")
    return values
