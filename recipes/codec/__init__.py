"""Train and measure a codec."""

from .evaluate import VOICES, evaluate_codec, figures_table, held_out
from .train import CodecRecipe, load_codec_recipe, train_codec

__all__ = [
    "VOICES",
    "CodecRecipe",
    "evaluate_codec",
    "figures_table",
    "held_out",
    "load_codec_recipe",
    "train_codec",
]
