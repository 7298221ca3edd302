"""How far a synthesised image is from an acquired one, and what simple baselines reach."""

from __future__ import annotations

from crl_core.evaluation.error_map import ErrorMap
from crl_core.evaluation.metrics import (
    Comparison,
    compare,
    least_squares_gain,
    mae,
    psnr,
    reference_peak,
    ssim,
    ssim_map,
)

__all__ = [
    "Comparison",
    "ErrorMap",
    "compare",
    "least_squares_gain",
    "mae",
    "psnr",
    "reference_peak",
    "ssim",
    "ssim_map",
]
