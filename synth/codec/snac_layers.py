"""SNAC's layers: how far they reach, and faster ones in their place.

Source: the layers of the `snac` package 1.2.1 (snac/layers.py), which compute the same.
Shapes: B batch, C channels, T steps.
"""

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from .order import LEVEL_STRIDES

with warnings.catch_warnings():
    # snac 1.2.1 scripts its activation when it is imported, which recent torch calls deprecated.
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    from snac.layers import ResidualUnit, Snake1d

CACHED_VALUES = 2**19
"""Values (2 MiB) that go through channel-wise operations together: few of these arrays fill a third-level cache, and
the interpreter's part stays small. A quarter of it, or all at once, took a fifth longer on the widest layers here."""
COMPILED_VALUES = 2**18
"""The same for compiled operations, of which there are two, and whose calls cost more."""


def reach_frames(network: Any, step_samples: int) -> tuple[int, int, int]:
    """Derive from the layers how far SNAC hears and speaks.

    Args:
        network: a `snac.SNAC`.
        step_samples: samples of a step at the coarse end, four of which are a frame.

    Returns:
        Frames on either side that a code depends on; frames on the left that a decoded sample depends on; samples at
        the end of a decode that later frames change.
    """
    frame_samples = LEVEL_STRIDES[0] * step_samples
    # One frame spans four steps, and every level of a step depends on all of its frame.
    rest = frame_samples - step_samples
    before, after = reach_samples(reversed(list(_convolutions(network.encoder))), step_samples)
    heard_frames = max(-(-before // frame_samples), (rest + after) // frame_samples)
    before, after = reach_samples(_convolutions(network.decoder), step_samples)
    return heard_frames, (rest + after) // frame_samples, before


def _convolutions(network: Any) -> Iterable[nn.Conv1d | nn.ConvTranspose1d]:
    return (layer for layer in network.modules() if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d))


def reach_samples(convolutions: Iterable[nn.Conv1d | nn.ConvTranspose1d], step_samples: int) -> tuple[int, int]:
    """Add up how far around its own first sample one step at the coarse end reaches.

    An encoder's step depends on these samples, a decoder's step changes them. Both are the same sum, since convolutions
    that do not change the rate are symmetric here.

    Args:
        convolutions: from the coarse end to the samples, one after the other.
        step_samples: samples of a step at the coarse end.

    Returns:
        Samples before the step's first sample, and after it.
    """
    before = after = 0
    for layer in convolutions:
        step_samples //= layer.stride[0]
        padding = layer.padding[0]
        assert isinstance(padding, int)
        before += padding * step_samples
        after += (layer.dilation[0] * (layer.kernel_size[0] - 1) - padding) * step_samples
    assert step_samples == 1
    return before, after


class _Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha in one new array instead of five, with the package's order of operations."""

    alpha: Tensor
    reciprocal: Tensor

    def __init__(self, alpha: Tensor, compiled: bool) -> None:
        super().__init__()
        self._compiled = compiled
        self.register_buffer("alpha", alpha.detach(), persistent=False)
        self.register_buffer("reciprocal", (alpha.detach() + 1e-9).reciprocal(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self._compiled:
            snake: Tensor = _compiled_parts().snake(x, self.alpha, self.reciprocal)
            return snake
        sine = (x * self.alpha).sin_()
        return sine.mul_(sine).mul_(self.reciprocal).add_(x).to(x.dtype)


class _FromOneChannel(nn.Module):
    """A convolution of one channel as one matrix product, which oneDNN takes several times as long for."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        assert isinstance(convolution.padding, tuple)
        self.padding = 2 * convolution.padding
        self.weight_CK = convolution.weight.detach()[:, 0]
        assert convolution.bias is not None
        self.bias_C1 = convolution.bias.detach()[:, None]

    def forward(self, x_B1T: Tensor) -> Tensor:
        shifted_BTK = F.pad(x_B1T[:, 0], self.padding).unfold(1, self.weight_CK.shape[1], 1)
        return torch.stack([torch.addmm(self.bias_C1, self.weight_CK, x_TK.T.contiguous()) for x_TK in shifted_BTK])


class _SnakeAndConvolution(nn.Module):
    """A Snake and the strided convolution after it, made for one thread of a CPU.

    A stretch of time goes through both and stays in the cache meanwhile; taken whole, the two widest pairs took a third
    longer.
    """

    def __init__(self, snake: nn.Module, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.snake, self.convolution = snake, convolution
        assert isinstance(convolution.padding, tuple)
        (self.stride,), (self.kernel,), (self.padding,) = (
            convolution.stride,
            convolution.kernel_size,
            convolution.padding,
        )

    def forward(self, x_BCT: Tensor) -> Tensor:
        batch, channels, steps = x_BCT.shape
        count = (steps + 2 * self.padding - self.kernel) // self.stride + 1
        out_BCT = x_BCT.new_empty(batch, self.convolution.out_channels, count)
        width = max(1, CACHED_VALUES // channels // self.stride)
        for first in range(0, count, width):
            last = min(first + width, count)
            start, end = first * self.stride - self.padding, (last - 1) * self.stride - self.padding + self.kernel
            heard_BCT = self.snake(x_BCT[:, :, max(0, start) : end])
            if start < 0 or end > steps:
                heard_BCT = F.pad(heard_BCT, (max(0, -start), max(0, end - steps)))
            weight, bias = self.convolution.weight, self.convolution.bias
            out_BCT[:, :, first:last] = F.conv1d(heard_BCT, weight, bias, self.stride)
        return out_BCT


class _Residual(nn.Module):
    """The package's residual unit, made for one thread of a CPU; it overwrites its input.

    Snake, depthwise convolution, Snake: these treat each channel by itself, so a few channels at a time go through
    all three and stay in the cache meanwhile. Where a Snake multiplies and divides by alpha, the convolution after it
    takes in the division, and the one before it the multiplication. The depthwise convolution is a sum of shifted
    copies: dilated ones take oneDNN twice as long. The last one adds to the input; its bias is a channel of ones.

    Args:
        unit: the package's.
        compiled: what treats channels one by one is compiled, into two loops instead of a dozen.
    """

    def __init__(self, unit: Any, compiled: bool) -> None:
        super().__init__()
        self._width_values = COMPILED_VALUES if compiled else CACHED_VALUES
        self._treat = self._compiled if compiled else self._cached
        before, depthwise, after, pointwise = unit.block
        first_C1, second_C1 = (_nonzero(snake.alpha[0].detach()) for snake in (before, after))
        self.first_C1 = first_C1
        self.dilation: int = depthwise.dilation[0]
        self.taps_CK = depthwise.weight.detach()[:, 0] / first_C1 * second_C1
        self.bias_C1 = depthwise.bias.detach()[:, None] * second_C1
        weight_CC = pointwise.weight.detach()[:, :, 0] / second_C1[:, 0]
        self.pointwise_CC = torch.cat([weight_CC, pointwise.bias.detach()[:, None]], dim=1)

    def forward(self, x_BCT: Tensor) -> Tensor:
        for x_CT in x_BCT:
            x_CT.addmm_(self.pointwise_CC, self._hidden(x_CT))
        return x_BCT

    def _hidden(self, x_CT: Tensor) -> Tensor:
        """What the last convolution gets, and a channel of ones."""
        channels, steps = x_CT.shape
        # Rows that lie a multiple of 4 KiB apart would fall on the same lines of the cache.
        hidden_CT = x_CT.new_empty(channels + 1, steps + 16)[:, :steps]
        hidden_CT[-1] = 1.0
        # One channel alone would be compiled for itself, into a loop that takes three times as long.
        width = max(2, self._width_values // steps)
        for start in range(0, channels, width):
            some = slice(start, min(start + width, channels))
            self._treat(x_CT[some], some, hidden_CT[some])
        return hidden_CT

    def _cached(self, x: Tensor, some: slice, out: Tensor) -> None:
        scaled = x * self.first_C1[some]
        sine = scaled.sin()
        mixed = self._mix(scaled.addcmul_(sine, sine), some)
        torch.sin(mixed, out=sine)
        torch.addcmul(mixed, sine, sine, out=out)

    def _compiled(self, x: Tensor, some: slice, out: Tensor) -> None:
        side = self.taps_CK.shape[1] // 2 * self.dilation
        padded = x.new_zeros(len(x), x.shape[1] + 2 * side)
        parts = _compiled_parts()
        parts.snake_first(padded, x, self.first_C1[some], side)
        parts.mix_and_snake(out, padded, self.taps_CK[some], self.bias_C1[some], self.dilation)

    def _mix(self, x: Tensor, some: slice) -> Tensor:
        """Convolve each channel of `some` over time."""
        taps_CK, steps = self.taps_CK[some], x.shape[-1]
        middle = taps_CK.shape[1] // 2
        y = torch.addcmul(self.bias_C1[some], x, taps_CK[:, middle, None])
        for tap in range(taps_CK.shape[1]):
            shift = (tap - middle) * self.dilation
            if shift and abs(shift) < steps:
                into = slice(max(0, -shift), steps - max(0, shift))
                source = slice(max(0, shift), steps - max(0, -shift))
                y[:, into].addcmul_(x[:, source], taps_CK[:, tap, None])
        return y


class _Parts(NamedTuple):
    """What is compiled."""

    snake: Callable[..., Tensor]
    snake_first: Callable[..., None]
    mix_and_snake: Callable[..., None]


@functools.cache
def _compiled_parts() -> _Parts:
    compiled = functools.partial(torch.compile, dynamic=True)
    return _Parts(compiled(_snake), compiled(_snake_first), compiled(_mix_and_snake))


def _snake(x: Tensor, alpha: Tensor, reciprocal: Tensor) -> Tensor:
    return (x * alpha).sin().square() * reciprocal + x


def _snake_first(padded_CT: Tensor, x_CT: Tensor, first_C1: Tensor, side: int) -> None:
    scaled = x_CT * first_C1
    padded_CT[:, side : side + x_CT.shape[1]] = scaled + scaled.sin().square()


def _mix_and_snake(out_CT: Tensor, padded_CT: Tensor, taps_CK: Tensor, bias_C1: Tensor, dilation: int) -> None:
    steps = out_CT.shape[1]
    mixed = bias_C1
    for tap in range(taps_CK.shape[1]):
        mixed = mixed + padded_CT[:, tap * dilation : tap * dilation + steps] * taps_CK[:, tap, None]
    out_CT.copy_(mixed + mixed.sin().square())


def _nonzero(alpha: Tensor) -> Tensor:
    """Snake's alpha without zeros, where Snake changes nothing and neither does a tiny alpha."""
    return torch.where(alpha.abs() < 1e-12, 1e-12, alpha)


def set_precision(network: nn.Module, dtype: torch.dtype) -> None:
    """Have a network that `speed_up` changed convolve in a precision.

    Snakes stay in float32: a small alpha's reciprocal is more than float16 holds.
    """
    network.to(dtype)
    for layer in network.modules():
        if isinstance(layer, _Snake):
            layer.float()


def speed_up(network: nn.Module, in_cache: bool, compiled: bool = False) -> None:
    """Fold weight norm, and replace what the package spends most of its time on.

    Args:
        network: a `snac.SNAC`; it is changed, and can no longer be trained.
        in_cache: replace residual units and the first convolution as well; for a CPU.
        compiled: compile what treats channels one by one, when it is first used.
    """
    for layer in list(network.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
    _replace(network, in_cache, compiled)


def _replace(network: nn.Module, in_cache: bool, compiled: bool) -> None:
    children = list(network.named_children())
    for (name, part), (next_name, after) in zip(children, [*children[1:], ("", None)], strict=False):
        if in_cache and isinstance(part, ResidualUnit) and part.block[1].groups == part.block[1].in_channels:
            setattr(network, name, _Residual(part, compiled))
        elif isinstance(part, Snake1d):
            snake = _Snake(part.alpha, compiled)
            if in_cache and isinstance(after, nn.Conv1d) and after.stride[0] > 1:
                setattr(network, name, _SnakeAndConvolution(snake, after))
                setattr(network, next_name, nn.Identity())
            else:
                setattr(network, name, snake)
        elif in_cache and isinstance(part, nn.Conv1d) and part.in_channels == 1 < part.out_channels:
            setattr(network, name, _FromOneChannel(part))
        else:
            _replace(part, in_cache, compiled)
