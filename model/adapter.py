"""The two adapters of Mini-Omni: Whisper features in, speech out.

Source: https://arxiv.org/abs/2408.16725, section 3.4 ("Any Model Can Talk").
Shapes: N = frames or positions, F = feature width, D = backbone width.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from .layout import adapter_positions


class WhisperAdapter(nn.Module):
    """Turn Whisper frames into vectors of the backbone's width.

    Args:
        feature_width: width of one frame.
        width: the backbone's width.
        kind: "swiglu", two up-projections, one of them the gate, and one down, without biases; or "linear",
            one
            projection with a bias. The original calls them "llamamlp" and "mlp".
        hidden: inner width of "swiglu".
        stack: frames that are concatenated into one position.
    """

    def __init__(
        self, feature_width: int, width: int, kind: Literal["swiglu", "linear"], hidden: int, stack: int = 1
    ) -> None:
        super().__init__()
        self.feature_width = feature_width
        self.stack = stack
        self.kind = kind
        if kind == "swiglu":
            self.gate = nn.Linear(stack * feature_width, hidden, bias=False)
            self.up = nn.Linear(stack * feature_width, hidden, bias=False)
            self.down = nn.Linear(hidden, width, bias=False)
        else:
            self.down = nn.Linear(stack * feature_width, width)

    def stacked(self, features_NF: Tensor) -> Tensor:
        """Concatenate each `stack` frames; zeros fill the last group up.

        Args:
            features_NF: one recording's frames, any float dtype.

        Returns:
            (positions, stack * F).
        """
        if features_NF.ndim != 2 or features_NF.shape[1] != self.feature_width or not len(features_NF):
            raise ValueError(
                f"features have shape {tuple(features_NF.shape)}; they need (frames, {self.feature_width})"
            )
        positions = adapter_positions(len(features_NF), self.stack)
        missing = positions * self.stack - len(features_NF)
        return functional.pad(features_NF, (0, 0, 0, missing)).view(positions, -1)

    def forward(self, stacked_NF: Tensor) -> Tensor:
        """Map stacked frames (N, stack * F) to (N, D)."""
        inner = stacked_NF
        if self.kind == "swiglu":
            inner = functional.silu(self.gate(stacked_NF)) * self.up(stacked_NF)
        adapted_ND: Tensor = self.down(inner)
        return adapted_ND


def tts_adapter(backbone: PreTrainedConfig, layers: int) -> PreTrainedModel:
    """Build the paper's TTS adapter: blocks of the backbone's own class, and a norm of their own.

    It is a second, shallow model of the backbone's family: that brings the same rotary positions, masks and
    cache to any family. It reads hidden states through `inputs_embeds`, so its token table is taken out.
    """
    shape = backbone.to_diff_dict()
    for name, value in shape.items():
        # One entry a layer, as in `layer_types`: the adapter goes on as the backbone ended.
        if isinstance(value, list) and len(value) == backbone.num_hidden_layers:
            shape[name] = [value[(i - layers) % len(value)] for i in range(layers)]
    tokens = dict.fromkeys(["bos_token_id", "eos_token_id", "pad_token_id"])
    shape |= {"num_hidden_layers": layers, "vocab_size": 1, **tokens}
    config = AutoConfig.for_model(**shape)
    adapter = AutoModel.from_config(config, dtype=torch.get_default_dtype())
    adapter.set_input_embeddings(None)
    return cast(PreTrainedModel, adapter)
