"""The critic of all three: patches judged as real or not (Isola et al., CVPR 2017)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.models.baselines.layers import Norm, has_bias, norm_layer, start_small

LEAST_SIDE = 32
"""Smaller images get air around them, or the deepest layers would have nothing to normalise."""


class PatchGAN(nn.Module):
    """Convolutions of 4x4 that end in one number for every patch, 70 pixels wide at 3 layers.

    Parameters
    ----------
    inputs
        Channels: the source's slices and the image to judge.
    width
        Channels of the first layer; they double up to eight times as many.
    layers
        Layers that halve the image.
    norm
        Normalisation of all layers but the first and the last.
    padding
        Pixels added around every layer's input.
    """

    def __init__(
        self, inputs: int, width: int = 64, layers: int = 3, norm: Norm = "instance",
        padding: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        here = width
        stages = [nn.Sequential(nn.Conv2d(inputs, width, 4, 2, padding), nn.LeakyReLU(0.2))]
        for number in range(1, layers + 1):
            wide = min(2 * here, 8 * width)
            stride = 2 if number < layers else 1
            conv = nn.Conv2d(here, wide, 4, stride, padding, bias=has_bias(norm))
            stages.append(nn.Sequential(conv, norm_layer(norm, wide), nn.LeakyReLU(0.2)))
            here = wide
        stages.append(nn.Sequential(nn.Conv2d(here, 1, 4, 1, padding)))
        self.stages = nn.ModuleList(stages)
        start_small(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return what every layer makes of (B, inputs, H, W); the last are the scores."""
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class Critic(nn.Module):
    """One `PatchGAN`, or several of them at the image's size and halvings of it.

    Several scales are those of pix2pixHD (Wang et al., CVPR 2018).

    Parameters
    ----------
    inputs, width, layers, norm, padding
        See `PatchGAN`.
    scales
        How many.
    """

    def __init__(
        self, inputs: int, width: int = 64, layers: int = 3, norm: Norm = "instance",
        padding: int = 1, scales: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scales = nn.ModuleList(
            PatchGAN(inputs, width, layers, norm, padding) for _ in range(scales)
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return every scale's layers, the largest image first; (B, inputs, H, W) in [-1, 1]."""
        h, w = x.shape[-2:]
        x = F.pad(x, (0, max(0, LEAST_SIDE - w), 0, max(0, LEAST_SIDE - h)), value=-1.0)
        found = []
        for number, scale in enumerate(self.scales):
            if number:
                x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
            found.append(scale(x))
        return found
