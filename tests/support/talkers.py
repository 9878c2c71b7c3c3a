"""Tiny models that talk: random weights, the codec of this package, a recogniser that costs no time."""

import torch
from transformers import Qwen2Config

from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.layout import Layout
from anytalk.model.network import MiniOmni
from anytalk.recipes.data.tokenizer import train_tokenizer

CORPUS = ["Who are you? I am a small model that was never trained.", "How far is it to the sea? Not far at all."] * 20


def write_talker(folder, codec, whisper, positions=400):
    """Write a random model with a tokenizer; it says no special id aloud, so it speaks on until it is stopped."""
    tokenizer = train_tokenizer(CORPUS, 300)
    tokenizer.save(str(folder / "tokenizer.json"))
    layout = Layout(tokenizer.get_vocab_size(), codec.codebook_size, 7)
    shape = Qwen2Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    config = MiniOmniConfig(
        layout,
        backbone_fields(shape, layout),
        whisper.feature_width,
        adapter_hidden=16,
        stack=5,
        feature={**whisper.fingerprint, "width": whisper.feature_width},
        codec=dict(codec.fingerprint),
    )
    model = MiniOmni(config)
    with torch.no_grad():
        model.audio_head.weight.view(7, layout.audio_vocabulary, 32)[:, layout.codebook_size :] = 0
    model.save_pretrained(folder)
    return folder
