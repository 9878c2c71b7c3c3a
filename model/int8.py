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

_product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32


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
        outputs: their outputs in another order, and some left out; all in theirs when None.
    """

    def __init__(self, *linears: nn.Linear, outputs: Tensor | None = None) -> None:
        for weight in (linear.weight for linear in linears):
            if weight.dtype != torch.float32 or weight.device.type != "cpu":
                raise ValueError(f"int8 takes float32 weights on the CPU, not {weight.dtype} on {weight.device}")
        weight_VD = torch.cat([linear.weight.detach() for linear in linears])
        biases = [x.weight.new_zeros(x.out_features) if x.bias is None else x.bias.detach() for x in linears]
        bias_V = torch.cat(biases)
        if outputs is not None:
            weight_VD, bias_V = weight_VD[outputs], bias_V[outputs]
        self._weight, self.bytes = _packed(weight_VD), weight_VD.numel()
        self._bias_V = bias_V if any(x.bias is not None for x in linears) else None
        # Tensors: a number is made one at every call, which takes longer than the product with it.
        self._smallest, self._second = weight_VD.new_tensor(1e-30), weight_VD.new_tensor(float(SECOND))

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., V), float32: the outputs of all layers, side by side."""
        return self.rows(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)

    def rows(self, x_ND: Tensor, times_N1: Tensor | None = None, plus_NV: Tensor | None = None) -> Tensor:
        """Map (N, D) to (N, V).

        A step takes few rows, and then each operation here takes longer to be launched than to run: they are few.

        Args:
            x_ND: the rows.
            times_N1: what to multiply each row with.
            plus_NV: what to add to the outputs; only where the layers have no bias.
        """
        N = x_ND.shape[0]
        step_N1 = torch.add(self._smallest, x_ND.abs().amax(-1, keepdim=True), alpha=1 / FIRST)
        scaled_ND = x_ND / step_N1
        first_ND = scaled_ND.round()
        digits = torch.cat((first_ND, scaled_ND.sub_(first_ND).mul_(self._second)))
        products = _product(digits, 1.0, ZERO, self._weight)
        out_NV = products[:N].add_(products[N:], alpha=1 / SECOND)
        if times_N1 is not None:
            step_N1.mul_(times_N1)
        plus = self._bias_V if plus_NV is None else plus_NV
        return out_NV.mul_(step_N1) if plus is None else torch.addcmul(plus, out_NV, step_N1)


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
        order = _in_pairs(self._queries + self._keys, self._keys, self._width)
        self._qkv = Product(attention.q_proj, attention.k_proj, attention.v_proj, outputs=order)
        self._out = Product(attention.o_proj)
        self._gate_up, self._down = Product(mlp.gate_proj, mlp.up_proj), Product(mlp.down_proj)
        self._activation = mlp.act_fn
        self._before, self._between = _Norm(block.input_layernorm), _Norm(block.post_attention_layernorm)
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
        heads_BTHW = self._qkv.rows(*self._before(x_ND)).view(B, T, -1, self._width)
        attended_ND = self._attention(heads_BTHW, attention_mask, past_key_values, *position_embeddings)
        x_ND = self._out.rows(attended_ND, plus_NV=x_ND)
        gate, up = self._gate_up.rows(*self._between(x_ND)).chunk(2, dim=-1)
        return self._down.rows(self._activation(gate).mul_(up), plus_NV=x_ND).view(B, T, D)

    def _attention(
        self, heads_BTHW: Tensor, mask: Tensor | None, cache: Cache | None, cos: Tensor, sin: Tensor
    ) -> Tensor:
        B, T, _, W = heads_BTHW.shape
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

    def _save_to_state_dict(self, *_: object) -> None:
        _refuse_saving()


class _Norm:
    """RMSNorm in two factors: the products that read it take a row as it is, and multiply by its factor what comes out.

    Args:
        norm: of transformers' kind.
    """

    def __init__(self, norm: nn.Module) -> None:
        weight_D = cast(Tensor, norm.weight).detach()
        self._weight_D = weight_D * len(weight_D) ** 0.5  # what is left of the mean's division
        self._least = weight_D.new_tensor(len(weight_D) * cast(float, norm.variance_epsilon))

    def __call__(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Give (N, D) and (N, 1), whose product it is."""
        return x_ND * self._weight_D, torch.linalg.vecdot(x_ND, x_ND).add_(self._least).rsqrt_()[:, None]


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
