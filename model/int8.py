r"""Linear layers in int8, for decoding on a processor: a step reads every weight once, and now a quarter of the bytes.

Weights are rounded to 8 bits with a scale for each output channel. Inputs are *two digits* of 7 bits with a scale for
each row, the second digit what the first left over:

    x = scale / 63 * (first + second / 126)        first, second: integers in -63..63

Both digits go through one integer product as rows of one matrix, so the weights are still read once, and at the few
rows of a decoding step the second digit costs next to no time. It takes the error of rounding inputs from 1.5 % of an
output's spread to 0.01 %: what remains is the weights' own rounding. The product is summed exactly, and a row's scale
is its own: an answer does not depend on what else is in the batch.

Seven bits because AVX2 adds two products of 8-bit numbers in 16, which 8 bits would overflow.

The kernel is FBGEMM's as PyTorch ships it. It is twice as fast here as PyTorch's other int8 kernels (measured with two
rows on AVX2: 11 to 14 billion weights a second on one core; oneDNN 4 to 5, `_weight_int8pack_mm` in bfloat16 4 to 7).
PyTorch means to remove the tensor types that pack its weights (https://github.com/pytorch/pytorch/issues/184982);
`_packed` is the one place that uses them.

Shapes: N = rows of a product, D = input width, V = outputs; B = rows of a batch, T = positions, H = heads, W = head
width.
"""

import warnings
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

M = TypeVar("M", bound=nn.Module)

FIRST = 63  # largest first digit
SECOND = 2 * FIRST  # steps of the second digit in one of the first: what rounding leaves is at most half a step
ZERO = 64  # what stands for 0 in the kernel's unsigned inputs

LLAMA_SHAPED = (LlamaDecoderLayer, Qwen2DecoderLayer)
"""Blocks whose every operation `QuantisedBlock` knows; of others each linear layer is replaced by itself."""


def quantise(model: M) -> M:
    """Replace every linear layer of a float32 model on the CPU by an int8 one, in place; embeddings stay as they are.

    The float32 weights of those layers are let go, so the result can neither be trained nor saved.

    Raises:
        ValueError: the model is not float32 on the CPU, or this PyTorch lacks the kernel.
    """
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        raise ValueError("this PyTorch has no FBGEMM, which int8 decoding needs: leave int8 out on this processor")
    for name, child in list(model.named_children()):
        if type(child) in LLAMA_SHAPED:
            setattr(model, name, QuantisedBlock(cast(LlamaDecoderLayer | Qwen2DecoderLayer, child)))
        elif isinstance(child, nn.Linear):
            setattr(model, name, QuantisedLinear(child))
        else:
            quantise(child)
    return model.requires_grad_(False)


class Product:
    """The outputs of some linear layers that read the same input, from one integer product.

    Args:
        linears: float32, on the CPU, of one input width.
    """

    def __init__(self, *linears: nn.Linear) -> None:
        for weight in (linear.weight for linear in linears):
            if weight.dtype != torch.float32 or weight.device.type != "cpu":
                raise ValueError(f"int8 takes float32 weights on the CPU, not {weight.dtype} on {weight.device}")
        weight_VD = torch.cat([linear.weight.detach() for linear in linears])
        self._weight, self.bytes = _packed(weight_VD), weight_VD.numel()
        biases = [x.weight.new_zeros(x.out_features) if x.bias is None else x.bias.detach() for x in linears]
        self._bias_V = torch.cat(biases) if any(x.bias is not None for x in linears) else None

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., V), float32: the outputs of all layers, side by side."""
        rows_ND = x.reshape(-1, x.shape[-1])
        step_N1 = rows_ND.abs().amax(-1, keepdim=True).div_(FIRST).clamp_(min=1e-30)
        scaled_ND = rows_ND / step_N1
        first_ND = scaled_ND.round()
        digits = torch.cat((first_ND, scaled_ND.sub_(first_ND).mul_(SECOND)))
        products = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(digits, 1.0, ZERO, self._weight)
        out_NV = products[: len(rows_ND)].add_(products[len(rows_ND) :], alpha=1 / SECOND).mul_(step_N1)
        if self._bias_V is not None:
            out_NV += self._bias_V
        return out_NV.view(*x.shape[:-1], -1)


class QuantisedLinear(nn.Module):
    """An int8 copy of a linear layer; see the module's docstring.

    Args:
        linear: float32, on the CPU.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._product = Product(linear)
        self.bytes = self._product.bytes

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., V), float32."""
        return self._product(x)

    def extra_repr(self) -> str:
        """Describe it as `nn.Linear` does."""
        return f"in_features={self.in_features}, out_features={self.out_features}, int8"

    def _save_to_state_dict(self, *_: object) -> None:
        _refuse_saving()


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
        self._qkv, self._out = Product(attention.q_proj, attention.k_proj, attention.v_proj), Product(attention.o_proj)
        self._gate_up, self._down = Product(mlp.gate_proj, mlp.up_proj), Product(mlp.down_proj)
        self._activation = mlp.act_fn
        norms = (block.input_layernorm, block.post_attention_layernorm)
        self._before, self._between = ((norm.weight.detach(), norm.variance_epsilon) for norm in norms)
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
        normed_BTD = _normed(hidden_states, *self._before)
        x_BTD = hidden_states + self._attention(normed_BTD, attention_mask, past_key_values, *position_embeddings)
        gate, up = self._gate_up(_normed(x_BTD, *self._between)).chunk(2, dim=-1)
        return x_BTD + self._down(self._activation(gate).mul_(up))

    def _attention(
        self, x_BTD: Tensor, mask: Tensor | None, cache: Cache | None, cos_BTW: Tensor, sin_BTW: Tensor
    ) -> Tensor:
        B, T, _ = x_BTD.shape
        heads_BTHW = self._qkv(x_BTD).view(B, T, -1, self._width)
        turned_BTHW, values_BTHW = heads_BTHW.split((self._queries + self._keys, self._keys), dim=2)
        first, second = turned_BTHW.chunk(2, dim=-1)
        turned_BTHW = turned_BTHW * cos_BTW[:, :, None] + torch.cat((-second, first), -1) * sin_BTW[:, :, None]
        heads_BHTW = turned_BTHW.transpose(1, 2)
        queries, keys = heads_BHTW.split((self._queries, self._keys), dim=1)
        values = values_BTHW.transpose(1, 2)
        if cache is not None:
            keys, values = cache.update(keys, values, self._layer)
        if T == 1:
            # Query heads that share a key head stand as positions of it, so that nothing is repeated for them.
            queries = queries.reshape(B, self._keys, -1, self._width)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, mask, is_causal=T > 1 and mask is None, scale=self._scale, enable_gqa=T > 1
        )
        return self._out((attended if T == 1 else attended.transpose(1, 2)).reshape(B, T, -1))

    def _save_to_state_dict(self, *_: object) -> None:
        _refuse_saving()


def _normed(x_BTD: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
    """RMSNorm in half the operations of transformers'."""
    mean_BT1 = torch.linalg.vecdot(x_BTD, x_BTD)[..., None].div_(len(weight_D))
    return (x_BTD * mean_BT1.add_(epsilon).rsqrt_()).mul_(weight_D)


def _refuse_saving() -> NoReturn:
    raise TypeError("a quantised model cannot be saved; save the float32 model and quantise it after loading")


def _packed(weight_VD: Tensor) -> Any:
    """Round weights to int8, a scale for each row, in the kernel's own order."""
    scales_V = weight_VD.abs().amax(1).div(127).clamp(min=1e-30).double()
    zeros_V = torch.zeros(len(weight_VD), dtype=torch.int64)
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():
            # Known, see above; the warning comes once a process, from C++, and names nothing of ours.
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor, torch.quantize_per_channel", UserWarning)
            rounded = torch.quantize_per_channel(weight_VD, scales_V, zeros_V, 0, torch.qint8)
        return torch.ops.quantized.linear_prepack(rounded, None)
    finally:
        torch.backends.quantized.engine = before
