"""The outputs of linear layers from one integer product: our own kernel where it can be had, FBGEMM's elsewhere.

Both compute the same; see the package's docstring.

Shapes: N = rows of a product, D = input width, V = outputs.
"""

import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn

from .native import NativeProduct, why_not

FIRST = 63  # largest first digit
SECOND = 2 * FIRST  # steps of the second digit in one of the first: what rounding leaves is at most half a step
ZERO = 64  # what stands for 0 in the kernel's unsigned inputs

_product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32


class Product:
    """The outputs of some linear layers that read the same input, from one integer product.

    Args:
        linears: float32, on the CPU, of one input width.
        norm: RMSNorm of transformers' kind that the layers' input goes through first.
        outputs: their outputs in another order, and some left out; all in theirs when None.
    """

    def __init__(self, *linears: nn.Linear, norm: nn.Module | None = None, outputs: Tensor | None = None) -> None:
        for weight in (linear.weight for linear in linears):
            if weight.dtype != torch.float32 or weight.device.type != "cpu":
                raise ValueError(f"int8 takes float32 weights on the CPU, not {weight.dtype} on {weight.device}")
        weight_VD = torch.cat([linear.weight.detach() for linear in linears])
        bias_V = None
        if any(x.bias is not None for x in linears):
            biases = [x.weight.new_zeros(x.out_features) if x.bias is None else x.bias.detach() for x in linears]
            bias_V = torch.cat(biases)
        if outputs is not None:
            weight_VD, bias_V = weight_VD[outputs], None if bias_V is None else bias_V[outputs]
        norm_D, least = None, 0.0
        if norm is not None:
            width = weight_VD.shape[1]
            # RMSNorm in two factors: the product takes a row times `norm_D`, and its outputs are multiplied by
            # 1 / sqrt(the row's squares + `least`).
            norm_D = cast(Tensor, norm.weight).detach() * width**0.5  # what is left of the mean's division
            least = width * cast(float, norm.variance_epsilon)
        self.bytes = weight_VD.numel()
        scales_V = weight_VD.abs().amax(1).div(127).clamp(min=1e-30)
        kind = _FbgemmProduct if why_not() else NativeProduct
        self._rows = kind((weight_VD / scales_V[:, None]).round_().to(torch.int8), scales_V, bias_V, norm_D, least)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., V), float32: the outputs of all layers, side by side."""
        return self.rows(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)

    def rows(self, x_ND: Tensor, plus_NV: Tensor | None = None) -> Tensor:
        """Map (N, D) to (N, V).

        Args:
            x_ND: the rows.
            plus_NV: what to add to the outputs.
        """
        return self._rows(x_ND, plus_NV)


class _FbgemmProduct:
    """The same, by FBGEMM as PyTorch ships it.

    A step takes few rows, and then each operation here takes longer to be launched than to run: they are few.

    Args:
        rounded_VD: int8.
        scales_V: float32.
        bias_V: or None.
        norm_D: what to multiply inputs with, where rows are to be normed; or None.
        least: added to a row's sum of squares before it is normed.
    """

    def __init__(
        self, rounded_VD: Tensor, scales_V: Tensor, bias_V: Tensor | None, norm_D: Tensor | None, least: float
    ) -> None:
        self._weight, self._bias_V, self._norm_D = _packed(rounded_VD, scales_V), bias_V, norm_D
        # Tensors: a number is made one at every call, which takes longer than the product with it.
        self._smallest, self._second, self._least = (scales_V.new_tensor(x) for x in (1e-30, float(SECOND), least))

    def __call__(self, x_ND: Tensor, plus_NV: Tensor | None) -> Tensor:
        N, factor_N1 = x_ND.shape[0], None
        if self._norm_D is not None:
            factor_N1 = torch.linalg.vecdot(x_ND, x_ND).add_(self._least).rsqrt_()[:, None]
            x_ND = x_ND * self._norm_D
        step_N1 = torch.add(self._smallest, x_ND.abs().amax(-1, keepdim=True), alpha=1 / FIRST)
        scaled_ND = x_ND / step_N1
        first_ND = scaled_ND.round()
        digits = torch.cat((first_ND, scaled_ND.sub_(first_ND).mul_(self._second)))
        products = _product(digits, 1.0, ZERO, self._weight)
        out_NV: Tensor = products[:N].add_(products[N:], alpha=1 / SECOND)
        if factor_N1 is not None:
            step_N1.mul_(factor_N1)
        plus = [x for x in (self._bias_V, plus_NV) if x is not None]
        out_NV = torch.addcmul(plus[0], out_NV, step_N1) if plus else out_NV.mul_(step_N1)
        return out_NV.add_(plus[1]) if len(plus) > 1 else out_NV


def _packed(rounded_VD: Tensor, scales_V: Tensor) -> Any:
    """Put int8 weights in FBGEMM's own order."""
    zeros_V = torch.zeros(len(rounded_VD), dtype=torch.int64)
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():
            # Known; the warning comes once a process, from C++, and names nothing of ours.
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor, torch.quantize_per_channel", UserWarning)
            weight = torch._make_per_channel_quantized_tensor(rounded_VD, scales_V.double(), zeros_V, 0)
        return torch.ops.quantized.linear_prepack(weight, None)
    finally:
        torch.backends.quantized.engine = before
