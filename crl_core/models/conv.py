"""3x3 convolutions that also train well on processors without half-precision instructions."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

_BLOCK_VALUES = 200_000
"""Values of input and gradient looked at in one go: what a processor's inner cache holds."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution, stride 1, padded with zeros to the size of the image.

    In float32 with AVX2, the library's gradient with respect to the weights of images laid out
    channels last reaches a quarter of the speed of its other two products. There it is computed
    as nine matrix products instead; the result is the same up to rounding.

    Parameters
    ----------
    inputs, outputs
        Channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W)."""
        if self.weight.requires_grad and torch.is_grad_enabled() and _pays(x):
            x = x.contiguous(memory_format=torch.channels_last)
            found: Tensor = _Convolved.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return found
        return super().forward(x)


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        g = gradients[0].contiguous(memory_format=torch.channels_last)
        inner = None
        if ctx.needs_input_grad[0]:
            inner = conv2d_input(x.shape, weight, g, padding=1)
        return inner, weight_gradient(x, g), g.sum(dim=(0, 2, 3))


def weight_gradient(x: Tensor, g: Tensor) -> Tensor:
    """Return the gradient of a 3x3 convolution's weights, (O, C, 3, 3).

    With both images padded to a common grid and flattened, each of the nine taps is one shift, and
    its gradient one matrix product of two contiguous pieces.

    Parameters
    ----------
    x
        (B, C, H, W), what was convolved.
    g
        (B, O, H, W), the gradient of the result.
    """
    c, o, w = x.shape[1], g.shape[1], x.shape[3]
    flat = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).reshape(-1, c)
    pulled = F.pad(g.permute(0, 2, 3, 1), (0, 0, 0, 2, 0, 2)).reshape(-1, o)
    shifts = [row * (w + 2) + column for row in range(3) for column in range(3)]
    count = len(pulled) - shifts[-1]  # behind it there are only zeros
    found = x.new_zeros(9, o, c)
    step = max(256, _BLOCK_VALUES // (c + o))
    for start in range(0, count, step):
        end = min(count, start + step)
        some = pulled[start:end].T
        for tap, shift in enumerate(shifts):
            found[tap].addmm_(some, flat[start + shift : end + shift])
    return found.view(3, 3, o, c).permute(2, 3, 0, 1)


def _pays(x: Tensor) -> bool:
    if x.device.type != "cpu" or x.dtype != torch.float32 or not _without_half():
        return False
    return not torch.is_autocast_enabled("cpu")


@cache
def _without_half() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX2"
