"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor

AIR_WEIGHT = 0.15
"""Weight of a voxel outside the head relative to one inside."""


def weighted_l1(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference; all broadcast to (..., H, W), `weight` non-negative."""
    return ((image - target).abs() * weight).sum() / weight.expand_as(image).sum()


def gradient_l1(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of the horizontal and vertical first differences."""
    apart = (image - target) * (weight > 0.5)
    return apart.diff(dim=-1).abs().mean() + apart.diff(dim=-2).abs().mean()


def structure(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 - correlation of two feature maps per image and channel, averaged.

    The structural component of SSIM (Wang et al., IEEE TIP 2004) over the whole crop, which is
    how the authors' code reads equation 4 of the paper.

    Parameters
    ----------
    a, b
        (B, C, H, W).
    """
    a = a - a.mean(dim=(-2, -1), keepdim=True)
    b = b - b.mean(dim=(-2, -1), keepdim=True)
    cross = (a * b).sum(dim=(-2, -1))
    norm = (a.square().sum(dim=(-2, -1)) * b.square().sum(dim=(-2, -1))).clamp_min(1e-12).sqrt()
    return 1.0 - (cross / norm).mean()


def windowed_structure(a: Tensor, b: Tensor, window: int = 11, c: float = 0.5e-4) -> Tensor:
    """Return 1 - the local structural component of SSIM, averaged over windows.

    Parameters
    ----------
    a, b
        (B, C, H, W).
    window
        Side of the uniform window, pixels, odd.
    c
        Constant that keeps flat windows finite.
    """

    def local(x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x, window, stride=1)

    mean_a, mean_b = local(a), local(b)
    cross = local(a * b) - mean_a * mean_b
    var_a = (local(a * a) - mean_a**2).clamp_min(0.0)
    var_b = (local(b * b) - mean_b**2).clamp_min(0.0)
    return 1.0 - ((cross + c) / ((var_a * var_b + 1e-16).sqrt() + c)).mean()
