"""A decoder block in int8.

Shapes: N = rows of a product, D = width; B = rows of a batch, T = positions, H = heads, W = head width.
"""

from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from anytalk.model.cache import StepMemory

from .native import LANES, NativeAttention, why_not
from .product import Product

LLAMA_SHAPED = (LlamaDecoderLayer, Qwen2DecoderLayer)
"""Blocks whose every operation `QuantisedBlock` knows; of others each linear layer is replaced by itself."""


class QuantisedBlock(nn.Module):
    """An int8 copy of a decoder block of Llama's shape: one product for queries, keys, values, one for gates and ups.

    In a step of few rows most operations take longer to be launched than to run; this block has half as many as the
    one that it replaces.

    Args:
        block: of one of the types in `LLAMA_SHAPED`.
    """

    def __init__(self, block: LlamaDecoderLayer | Qwen2DecoderLayer) -> None:
        super().__init__()
        attention, mlp = block.self_attn, block.mlp
        self._layer, self._width = attention.layer_idx, attention.head_dim
        self._queries = attention.q_proj.out_features // attention.head_dim
        self._keys = attention.k_proj.out_features // attention.head_dim
        self._scale = attention.scaling
        can_attend = not why_not() and self._width % LANES == 0
        heads = (self._queries, self._keys, self._width, self._scale)
        self._native_attention = NativeAttention(*heads) if can_attend else None
        order = _in_pairs(self._queries + self._keys, self._keys, self._width)
        qkv = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._qkv = Product(*qkv, norm=block.input_layernorm, outputs=order)
        self._out = Product(attention.o_proj)
        self._gate_up = Product(mlp.gate_proj, mlp.up_proj, norm=block.post_attention_layernorm)
        self._down, self._activation = Product(mlp.down_proj), mlp.act_fn
        self.bytes = sum(product.bytes for product in (self._qkv, self._out, self._gate_up, self._down))

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        **_: object,
    ) -> Tensor:
        """Take what transformers gives a block, and give what it would: (B, T, D)."""
        assert position_embeddings is not None
        B, T, D = hidden_states.shape
        x_ND = hidden_states.reshape(B * T, D)
        heads_BTHW = self._qkv.rows(x_ND).view(B, T, -1, self._width)
        attended_ND = self._attention(heads_BTHW, attention_mask, past_key_values, *position_embeddings)
        x_ND = self._out.rows(attended_ND, plus_NV=x_ND)
        gate, up = self._gate_up.rows(x_ND).chunk(2, dim=-1)
        return self._down.rows(self._activation(gate).mul_(up), plus_NV=x_ND).view(B, T, D)

    def _attention(
        self, heads_BTHW: Tensor, mask: Tensor | None, cache: Cache | None, cos: Tensor, sin: Tensor
    ) -> Tensor:
        B, T, _, W = heads_BTHW.shape
        if (native := self._native_memory(B, T, mask, cache)) is not None:
            attention, memory, mask_BP = native
            turns_BW = torch.view_as_real(_turn(cos, sin).expand(B, -1, -1, -1)).reshape(B, W)
            return attention(heads_BTHW[:, 0], turns_BW, memory, mask_BP)
        turned_BTHW, values_BTHW = heads_BTHW.split((self._queries + self._keys, self._keys), dim=2)
        turned_BTHW = torch.view_as_real(torch.view_as_complex(turned_BTHW.unflatten(-1, (-1, 2))) * _turn(cos, sin))
        queries, keys = turned_BTHW.flatten(-2).transpose(1, 2).split((self._queries, self._keys), dim=1)
        values = values_BTHW.transpose(1, 2)
        if cache is not None:
            keys, values = cache.update(keys, values, self._layer)
        if T == 1:
            # Query heads that share a key head stand as positions of it, so that nothing is repeated for them.
            queries = queries.reshape(B, self._keys, -1, W)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, mask, is_causal=T > 1 and mask is None, scale=self._scale, enable_gqa=T > 1
        )
        return (attended if T == 1 else attended.transpose(1, 2)).reshape(B * T, -1)

    def _native_memory(
        self, B: int, T: int, mask: Tensor | None, cache: Cache | None
    ) -> tuple[NativeAttention, StepMemory, Tensor] | None:
        """Give what attention of our own takes in a step of rows that come and go; None where it is not for this."""
        if self._native_attention is None or T > 1 or mask is None or cache is None or mask.shape[:3] != (B, 1, 1):
            return None
        step_memory = getattr(cache.layers[self._layer], "step_memory", None)  # transformers' own have none
        memory: StepMemory | None = None if step_memory is None else step_memory()
        if memory is None or not memory[0].dtype == mask.dtype == torch.float32:
            return None
        return self._native_attention, memory, mask[:, 0, 0].contiguous()

    def _save_to_state_dict(self, *_: object) -> None:
        refuse_saving()


class _Turn:
    """Rotary embeddings as complex numbers, made once for all blocks that are given the same ones."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor] | None = None

    def __call__(self, cos_BTW: Tensor, sin_BTW: Tensor) -> Tensor:
        """Give (B, T, 1, W / 2); both halves of a head are turned alike."""
        last = self._last  # another thread may put its own there
        if last is None or last[0] is not cos_BTW:
            half = cos_BTW.shape[-1] // 2
            last = (cos_BTW, torch.complex(cos_BTW[:, :, None, :half], sin_BTW[:, :, None, :half]))
            self._last = last
        return last[1]


_turn = _Turn()


def _in_pairs(turned: int, others: int, width: int) -> Tensor:
    """Order outputs so that the two numbers that a rotary embedding turns together stand side by side, as one complex.

    Attention adds over a head's numbers, and so it does not matter in which order they stand.

    Args:
        turned: heads of queries and keys.
        others: heads of values, which stay as they are.
        width: of a head.
    """
    pairs_W = torch.arange(width).view(2, -1).T.flatten()
    heads_H1 = torch.arange(turned + others)[:, None] * width
    return torch.cat(((heads_H1[:turned] + pairs_W).flatten(), torch.arange(turned * width, (turned + others) * width)))


def refuse_saving() -> NoReturn:
    """Say that there is nothing to save."""
    raise TypeError("a quantised model cannot be saved; save the float32 model and quantise it after loading")
