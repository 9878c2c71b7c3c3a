r"""Linear layers in int8, for decoding on a processor: a step reads every weight once, and now a quarter of the bytes.

Weights are rounded to 8 bits with a scale for each output channel. Inputs are *two digits* of 7 bits with a scale for
each row, the second digit what the first left over:

    x = scale / 63 * (first + second / 126)        first, second: integers in -63..63

Both digits go through one integer product as rows of one matrix, so the weights are still read once, and at the few
rows of a decoding step the second digit costs next to no time. It takes the error of rounding inputs from 1.5 % of an
output's spread to 0.01 %: what remains is the weights' own rounding. The product is summed exactly, and a row's scale
is its own: an answer does not depend on what else is in the batch.

The kernel is our own (`product.c`), compiled when it is first needed, where the processor has AVX512-VNNI and there is
a C compiler; elsewhere it is FBGEMM's as PyTorch ships it, to the same figures but for the last bits of a float32.
A step's attention is our own there as well (`attention.c`).
Seven bits because FBGEMM on AVX2 adds two products of 8-bit numbers in 16, which 8 bits would overflow.

Shapes: D = input width, V = outputs.
"""

from typing import TypeVar, cast

from torch import Tensor, backends, nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from .block import LLAMA_SHAPED, QuantisedBlock, refuse_saving
from .native import why_not
from .product import Product

__all__ = ["QuantisedBlock", "QuantisedLinear", "int8_kernel", "quantise"]

M = TypeVar("M", bound=nn.Module)


def quantise(model: M) -> M:
    """Replace every linear layer of a float32 model on the CPU by an int8 one, in place; embeddings stay as they are.

    The float32 weights of those layers are let go, so the result can neither be trained nor saved.

    Raises:
        ValueError: the model is not float32 on the CPU, or there is no kernel here.
    """
    if why_not() and "fbgemm" not in backends.quantized.supported_engines:
        raise ValueError("this PyTorch has no FBGEMM, which int8 decoding needs: leave int8 out on this processor")
    for name, child in list(model.named_children()):
        if type(child) in LLAMA_SHAPED:
            setattr(model, name, QuantisedBlock(cast(LlamaDecoderLayer | Qwen2DecoderLayer, child)))
        elif isinstance(child, nn.Linear):
            setattr(model, name, QuantisedLinear(child))
        else:
            quantise(child)
    return model.requires_grad_(False)


def int8_kernel() -> str:
    """Name the kernel of int8 products on this machine, and why it is not our own."""
    reason = why_not()
    return f"FBGEMM: {reason}" if reason else "own, AVX512-VNNI"


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
        refuse_saving()
