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

Shapes: N = rows, D = input width, V = outputs.
"""

import warnings
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

FIRST = 63  # largest first digit
SECOND = 2 * FIRST  # steps of the second digit in one of the first: what rounding leaves is at most half a step
ZERO = 64  # what stands for 0 in the kernel's unsigned inputs


def quantise(model: M) -> M:
    """Replace every linear layer of a float32 model on the CPU by an int8 one, in place; embeddings stay as they are.

    The float32 weights of those layers are let go, so the result can neither be trained nor saved.

    Raises:
        ValueError: the model is not float32 on the CPU, or this PyTorch lacks the kernel.
    """
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        raise ValueError("this PyTorch has no FBGEMM, which int8 decoding needs: leave int8 out on this processor")
    inputs = Inputs()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, QuantisedLinear(child, inputs))
    return model.requires_grad_(False)


class Inputs:
    """The digits of the input that was seen last: layers that read one tensor (queries, keys, values) share them.

    Nobody may change a tensor in place between two layers that read it; the models of transformers do not.
    """

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor, Tensor] | None = None

    def digits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split rows into digits.

        Args:
            x: (..., D), float32.

        Returns:
            Integers (2 N, D) as float32, all first digits and then all second ones, and a step for each row (N, 1).
        """
        last = self._last  # read once and replaced whole, so that threads do not see each other's halves
        if last is None or last[0] is not x:
            last = self._last = (x, *_digits(x.reshape(-1, x.shape[-1])))
        return last[1], last[2]


def _digits(rows_ND: Tensor) -> tuple[Tensor, Tensor]:
    step_N1 = rows_ND.abs().amax(-1, keepdim=True).div_(FIRST).clamp_(min=1e-30)
    scaled_ND = rows_ND / step_N1
    first_ND = scaled_ND.round()
    return torch.cat((first_ND, scaled_ND.sub_(first_ND).mul_(SECOND))), step_N1


class QuantisedLinear(nn.Module):
    """An int8 copy of a linear layer; see the module's docstring.

    Args:
        linear: float32, on the CPU.
        inputs: shared by the layers of a model.
    """

    def __init__(self, linear: nn.Linear, inputs: Inputs) -> None:
        super().__init__()
        weight_VD = linear.weight.detach()
        if weight_VD.dtype != torch.float32 or weight_VD.device.type != "cpu":
            raise ValueError(f"int8 takes float32 weights on the CPU, not {weight_VD.dtype} on {weight_VD.device}")
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._inputs, self._weight = inputs, _packed(weight_VD)
        self._bias_V = None if linear.bias is None else linear.bias.detach().clone()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., V), float32."""
        digits, step_N1 = self._inputs.digits(x)
        products = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(digits, 1.0, ZERO, self._weight)
        first_NV, second_NV = products.chunk(2)
        out_NV = first_NV.add_(second_NV, alpha=1 / SECOND).mul_(step_N1)
        if self._bias_V is not None:
            out_NV += self._bias_V
        return out_NV.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Describe it as `nn.Linear` does."""
        return f"in_features={self.in_features}, out_features={self.out_features}, int8"

    def _save_to_state_dict(self, *_: object) -> None:
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
