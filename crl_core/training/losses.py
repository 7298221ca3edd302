"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_l1(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference of each image, averaged over the images.

    Every image counts the same, so that parts of a batch on several devices, or one after the
    other, average to the loss of the whole.

    Parameters
    ----------
    image, target
        (B, 1, H, W).
    weight
        (B, 1, H, W), non-negative and not all zero in an image.
    """
    inner = tuple(range(1, image.dim()))
    apart = ((image - target).abs() * weight).sum(dim=inner)
    return (apart / weight.sum(dim=inner)).mean()


def weighted_rms(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted root mean square difference of each image, averaged: what PSNR looks at.

    Parameters
    ----------
    image, target
        (B, P, H, W).
    weight
        (B, 1, H, W).
    """
    apart = ((image - target).square() * weight).sum(dim=(2, 3))
    # The floor is an error nobody sees; below it the gradient would grow without bound.
    return (apart / weight.sum(dim=(2, 3)) + 1e-6).sqrt().mean()


def doubt_of(apart: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Return minus the log-likelihood of absolute errors under a Laplace distribution.

    Parameters
    ----------
    apart
        (B, P, H, W), absolute errors, without a gradient: doubt must not change the image.
    scale
        (B, P, H, W), the expected absolute errors, above zero.
    weight
        (B, 1, H, W).
    """
    scale = scale.clamp_min(1e-4)
    each = (scale.log() + apart / scale) * weight
    return (each.sum(dim=(2, 3)) / weight.sum(dim=(2, 3))).mean()


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
