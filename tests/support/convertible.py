"""A small checkpoint that the original Mini-Omni can represent."""

from pathlib import Path

import torch
from transformers import Qwen2Config

from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.layout import Layout
from anytalk.model.network import MiniOmni


def write_convertible(folder: Path) -> Path:
    """Write it with random weights and something in a tokenizer's place."""
    layout = Layout(text_size=40, codebook_size=30, layers=7)
    shape = Qwen2Config(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    torch.manual_seed(0)
    MiniOmni(MiniOmniConfig(layout, backbone_fields(shape, layout), 6, adapter_hidden=24)).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder
