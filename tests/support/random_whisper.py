"""Whispers with random weights: the real formats, vocabularies and tokenizers, and nothing learned."""

import json
from pathlib import Path

import torch
import whisper
from whisper.model import ModelDimensions
from whisper.tokenizer import get_encoding, get_tokenizer

from anytalk.synth.hearing.faster import wheel_folder

LANGUAGES = 99
"""Of the models before large-v3; their ids follow that of the start of a transcript."""
TEXT_TOKENS = 50_256
"""Of the English vocabulary, before its special tokens; the multilingual one has one more."""


def write_random_pt(path: Path, multilingual: bool = False, width: int = 64, layers: int = 2, heads: int = 4) -> Path:
    """Write a Whisper as openai-whisper saves its models; tiny has width 384, 4 layers and 6 heads."""
    dims = ModelDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=width,
        n_audio_head=heads,
        n_audio_layer=layers,
        n_vocab=51_865 if multilingual else 51_864,
        n_text_ctx=448,
        n_text_state=width,
        n_text_head=heads,
        n_text_layer=layers,
    )
    model = whisper.model.Whisper(dims)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            noise = torch.randn(weights.shape, generator=generator) * 0.08
            weights.copy_(noise + 1 if "ln" in name and name.endswith("weight") else noise)
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, path)
    return path


def convert_to_transformers(pt: Path, folder: Path) -> Path:
    """Write the same weights as transformers saves them, with Whisper's own tokenizer, and what it never says."""
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    saved = torch.load(pt, weights_only=True)
    dims = saved["dims"]
    multilingual = dims["n_vocab"] == 51_865
    end_of_text = TEXT_TOKENS + multilingual
    config = WhisperConfig(
        vocab_size=dims["n_vocab"],
        d_model=dims["n_audio_state"],
        encoder_layers=dims["n_audio_layer"],
        decoder_layers=dims["n_text_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        decoder_attention_heads=dims["n_text_head"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
        decoder_ffn_dim=4 * dims["n_audio_state"],
        pad_token_id=end_of_text,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        decoder_start_token_id=end_of_text + 1,
    )
    model = WhisperForConditionalGeneration(config)
    renamed = {transformers_name(name): weights for name, weights in saved["model_state_dict"].items()}
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert (missing, unexpected) == (["proj_out.weight"], [])  # tied to the embeddings
    never = get_tokenizer(multilingual)
    model.generation_config.begin_suppress_tokens = [*never.encode(" "), never.eot]
    tasks = [never.transcribe, never.translate, never.sot, never.sot_prev, never.sot_lm, never.no_speech]
    model.generation_config.suppress_tokens = sorted([*never.non_speech_tokens, *tasks])
    model.save_pretrained(folder)
    tokenizer = folder / "multilingual.json" if multilingual else wheel_folder() / "tokenizer.json"
    if multilingual:
        _write_multilingual_tokenizer(tokenizer)
    PreTrainedTokenizerFast(tokenizer_file=str(tokenizer)).save_pretrained(folder)
    return folder


def convert_to_ctranslate2(pt: Path, folder: Path) -> Path:
    """Write the same weights as a folder in CTranslate2's format, with Whisper's own tokenizer."""
    from ctranslate2.converters import TransformersConverter

    multilingual = torch.load(pt, weights_only=True)["dims"]["n_vocab"] == 51_865
    end_of_text = TEXT_TOKENS + multilingual
    convert_to_transformers(pt, folder / "transformers")
    converter = TransformersConverter(str(folder / "transformers"), copy_files=["tokenizer.json"])
    converted = Path(converter.convert(str(folder / "ctranslate2")))
    # The converter takes the languages from the published models' own settings, which these weights have not.
    settings = json.loads((converted / "config.json").read_text())
    settings["lang_ids"] = [end_of_text + 2 + place for place in range(LANGUAGES)] if multilingual else []
    (converted / "config.json").write_text(json.dumps(settings))
    return converted


def _write_multilingual_tokenizer(path: Path) -> None:
    """Write openai-whisper's multilingual vocabulary in the form that the tokenizers library reads."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    ranks = Path(whisper.__file__).parent / "assets" / "multilingual.tiktoken"
    specials = get_encoding("multilingual")._special_tokens
    by_id = sorted(specials, key=specials.__getitem__)
    TikTokenConverter(vocab_file=str(ranks), extra_special_tokens=by_id).converted().save(str(path))


def transformers_name(name: str) -> str:
    """What transformers calls a tensor of openai-whisper."""
    for theirs, ours in (
        ("blocks.", "layers."),
        ("mlp.0", "fc1"),
        ("mlp.2", "fc2"),
        ("mlp_ln", "final_layer_norm"),
        ("cross_attn", "encoder_attn"),
        (".attn", ".self_attn"),
        ("attn_ln", "attn_layer_norm"),
        ("attn.query", "attn.q_proj"),
        ("attn.key", "attn.k_proj"),
        ("attn.value", "attn.v_proj"),
        ("attn.out", "attn.out_proj"),
        ("decoder.ln.", "decoder.layer_norm."),
        ("ln_post", "layer_norm"),
        ("token_embedding", "embed_tokens"),
        ("positional_embedding", "embed_positions.weight"),
    ):
        name = name.replace(theirs, ours)
    return f"model.{name}"
