"""What a run starts from: a tokenizer and a model, from a checkpoint, from a pretrained backbone, or from nothing."""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from anytalk.model import (
    Chat,
    Layout,
    MiniOmni,
    MiniOmniConfig,
    backbone_fields,
    checkpoint_folder,
    draw_from_codebook,
    read_config,
)
from anytalk.pipelines.dataset import CODE_LAYERS
from anytalk.recipes.data import (
    TOKENIZER,
    Encoding,
    named_codec,
    system_chat,
    template_chat,
    tokenizer_files,
    train_tokenizer,
)
from anytalk.synth.codec.order import LAYERS_PER_LEVEL
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import difference

from .recipe import Model

# Tokenizers


def make_tokenizer(recipe: Model, texts: Iterable[str], folder: Path) -> None:
    """Write the run's tokenizer into a folder: the checkpoint's, the backbone's, or a new one.

    Raises:
        SetupError: there is none where it should be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.shape is not None:
        train_tokenizer(texts, recipe.vocabulary).save(str(folder / TOKENIZER))
    elif recipe.checkpoint is not None:
        for path in tokenizer_files(_checkpoint(recipe.checkpoint)):
            shutil.copy2(path, folder / path.name)
    else:
        try:
            AutoTokenizer.from_pretrained(recipe.backbone).save_pretrained(folder)
        except (OSError, ValueError) as error:
            raise SetupError(f"no tokenizer for model.backbone {recipe.backbone}: {_first_line(error)}") from error
    if not (folder / TOKENIZER).is_file():
        raise SetupError(f"{recipe.checkpoint or recipe.backbone} has no {TOKENIZER}; put its language model's there")


def _checkpoint(name: str) -> Path:
    """Folder of a checkpoint, which the hub gives where there is no such folder.

    Raises:
        SetupError: it does not.
    """
    try:
        return checkpoint_folder(name)
    except ValueError as error:
        raise SetupError(str(error)) from error


# Models


def codebook_size(recipe: Model) -> int:
    """Codes per layer of the model that `start_model` will build.

    Raises:
        SetupError: its checkpoint is none.
    """
    if recipe.checkpoint is None:
        return recipe.codebook_size
    try:
        return MiniOmniConfig.from_dict(read_config(_checkpoint(recipe.checkpoint))).layout.codebook_size
    except ValueError as error:
        raise SetupError(str(error)) from error


def model_layout(recipe: Model, tokenizer: Tokenizer) -> tuple[Layout, int]:
    """Ids and stack of the model that `start_model` will build, without its weights.

    Raises:
        SetupError: its checkpoint or backbone cannot be read.
    """
    try:
        if recipe.checkpoint is not None:
            config = MiniOmniConfig.from_dict(read_config(_checkpoint(recipe.checkpoint)))
            return config.layout, config.stack
        if recipe.backbone is None:
            size = tokenizer.get_vocab_size()
        else:
            size = int(AutoConfig.from_pretrained(recipe.backbone).get_text_config().vocab_size)
        return Layout(size, recipe.codebook_size, CODE_LAYERS, chat=_chat(recipe, tokenizer)), recipe.stack
    except (ValueError, OSError) as error:
        raise SetupError(f"the model cannot be built: {_first_line(error)}") from error


def start_model(recipe: Model, encoding: Encoding, tokenizer: Tokenizer, seed: int, *, merged: bool = True) -> MiniOmni:
    """Build the model that a run starts with, in float32 on the CPU.

    Args:
        recipe: what to build.
        encoding: what the datasets were encoded with; it becomes the model's own fingerprints.
        tokenizer: the run's.
        seed: of all weights that are new.
        merged: see `MiniOmni.from_pretrained`, for a checkpoint.

    Raises:
        SetupError: the model does not fit the datasets, or cannot be loaded.
    """
    torch.manual_seed(seed % 2**63)
    try:
        if recipe.checkpoint is not None:
            return _go_on(recipe.checkpoint, encoding, merged)
        if recipe.backbone is not None:
            model = _build_on(recipe, recipe.backbone, encoding, _chat(recipe, tokenizer))
        else:
            assert recipe.shape is not None
            layout = Layout(
                tokenizer.get_vocab_size(), recipe.codebook_size, CODE_LAYERS, chat=_chat(recipe, tokenizer)
            )
            model = _from_nothing(_config(recipe, layout, _shape(recipe.shape, layout), encoding))
        if recipe.codes == "codebook":
            draw_from_codebook(model, _codebooks_of_layers(encoding))
        return model
    except (ValueError, TypeError, OSError) as error:
        raise SetupError(f"the model cannot be built: {_first_line(error)}") from error


def _from_nothing(config: MiniOmniConfig) -> MiniOmni:
    """Draw a random model, with embeddings of unit variance where no head shares their table.

    The embeddings of eight streams are averaged. At the 0.02 that language models are usually drawn with, what is left
    of one token is a hundredth of what the first block adds, and a small model learns several times as slowly.
    """
    model = MiniOmni(config)
    text = model.backbone.get_input_embeddings()
    if not model.backbone.config.tie_word_embeddings:
        nn.init.normal_(cast(nn.Embedding, text).weight)
    if not config.tie_audio_head:
        nn.init.normal_(model.audio_embedding.weight)
    return model


def _codebooks_of_layers(encoding: Encoding) -> list[Tensor]:
    """Vectors of the codes of each layer, (codebook size, V), from the codec that the datasets were encoded with.

    Raises:
        SetupError: they have no codes, or their codec cannot be loaded.
    """
    if encoding.codec is None:
        raise SetupError("model.codes is codebook, and no dataset has answer_codes; set it to random")
    try:
        codec = named_codec(encoding.codec)
    except SetupError as error:
        raise SetupError(f"model.codes is codebook, which takes the datasets' codec; or set random: {error}") from error
    levels = {layer: level for level, layers in enumerate(LAYERS_PER_LEVEL) for layer in layers}
    return [torch.from_numpy(codec.codebooks[levels[layer]].copy()) for layer in range(CODE_LAYERS)]


def _go_on(folder: str, encoding: Encoding, merged: bool) -> MiniOmni:
    model = MiniOmni.from_pretrained(folder, merged=merged)
    known = {"codec": (model.config.codec, encoding.codec), "feature model": (model.config.feature, encoding.feature)}
    for kind, (ours, theirs) in known.items():
        if ours and theirs and (what := difference(ours, theirs)):
            raise SetupError(f"the datasets were made with another {kind} than {folder}: {what}")
    if encoding.feature_width not in (None, model.config.feature_width):
        raise SetupError(
            f"the datasets' features are {encoding.feature_width} wide; {folder} takes {model.config.feature_width}"
        )
    return model


def _chat(recipe: Model, tokenizer: Tokenizer) -> Chat | None:
    """What stands around questions and answers.

    Raises:
        SetupError: the backbone has no chat template that will do.
    """
    if recipe.chat_template:
        return template_chat(AutoTokenizer.from_pretrained(recipe.backbone), tokenizer, recipe.system)
    return None if recipe.system is None else system_chat(recipe.system, tokenizer)


def _build_on(recipe: Model, name: str, encoding: Encoding, chat: Chat | None) -> MiniOmni:
    backbone = cast(PreTrainedModel, AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32))
    if recipe.untie_text_head:
        backbone.config.tie_word_embeddings = False
        head = cast(nn.Linear, backbone.get_output_embeddings())
        head.weight = nn.Parameter(head.weight.detach().clone())
    table = cast(nn.Embedding, backbone.get_input_embeddings())
    layout = Layout(table.num_embeddings, recipe.codebook_size, CODE_LAYERS, chat=chat)
    config = _config(recipe, layout, backbone_fields(backbone.config, layout), encoding)
    return MiniOmni.from_backbone(backbone, config)


def _config(recipe: Model, layout: Layout, backbone: Mapping[str, Any], encoding: Encoding) -> MiniOmniConfig:
    heard_by = (encoding.feature or {}).get("model")
    if recipe.features and heard_by and _size_of(heard_by) != _size_of(recipe.features):
        raise SetupError(
            f"the datasets' features are those of Whisper {heard_by}; this recipe wants {recipe.features}: build them "
            f"with --set features.model={recipe.features}, or train on these with --set model.features={heard_by}"
        )
    width = recipe.feature_width or encoding.feature_width
    if width is None:
        raise SetupError("no dataset has question_features; set model.feature_width to the width they will have")
    if encoding.feature_width not in (None, width):
        raise SetupError(f"model.feature_width is {width}; the datasets' features are {encoding.feature_width} wide")
    return MiniOmniConfig(
        layout=layout,
        backbone=backbone,
        feature_width=width,
        adapter=recipe.adapter,
        adapter_hidden=recipe.adapter_hidden,
        stack=recipe.stack,
        tts_adapter_layers=recipe.tts_adapter_layers,
        tie_audio_head=recipe.tie_audio_head,
        backbone_reads=recipe.backbone_reads,
        feature=dict(encoding.feature or {}),
        codec=dict(encoding.codec or {}),
    )


def _size_of(whisper: str) -> str:
    """Size of a Whisper by its name, folder or hub id.

    >>> [_size_of(name) for name in ("small", "openai/whisper-small", "models/faster-whisper-small", "small.pt")]
    ['small', 'small', 'small', 'small']
    """
    return re.sub(r"^(?:faster-)?whisper-|\.pt$", "", whisper.rstrip("/").rpartition("/")[2])


def _shape(shape: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Complete a recipe's shape; a misspelt key would be kept by transformers and mean nothing."""
    known = AutoConfig.for_model(shape["model_type"]).to_dict().keys() | {"model_type"}
    if unknown := sorted(shape.keys() - known):
        raise ValueError(f"model.shape has keys that {shape['model_type']} does not know: {', '.join(unknown)}")
    tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    return backbone_fields(AutoConfig.for_model(**{**tokens, **shape}), layout)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
