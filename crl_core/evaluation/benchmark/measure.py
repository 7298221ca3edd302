"""From a synthesised volume and the acquired one to the numbers of one row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from crl_core.evaluation.benchmark.people import Case
from crl_core.evaluation.benchmark.tissue_masks import ENOUGH, TissueMasks
from crl_core.evaluation.calibration import Calibration
from crl_core.evaluation.masks import judged_mask
from crl_core.evaluation.metrics import (
    Comparison,
    compare,
    least_squares_gain,
    psnr,
    reference_peak,
)
from crl_core.scan import BoolArray, FloatArray

METRICS = (
    "psnr", "ssim", "psnr_gain", "ssim_gain",
    "psnr_whole", "ssim_whole", "psnr_gain_whole", "ssim_gain_whole",
    "psnr_brain", "psnr_gain_brain",
    "gain", "grey_white_percent", "csf_grey_percent", "lesion_white_percent",
)  # fmt: skip
"""The numbers of a row; see `measured`."""


def measured(case: Case, image: FloatArray) -> dict[str, float | None]:
    """Compare a synthesised volume with the acquired one.

    Parameters
    ----------
    case
        What was synthesised from what.
    image
        The synthesised volume in units of the first source.

    Returns
    -------
    dict
        PSNR (dB) and SSIM in the mask that is judged (`judged_mask` of the first source and the
        target) and in the whole image, as is and after one least-squares gain; each pair of
        readings fits its own gain. The peak is the 99.5th percentile of the target in the mask.
        PSNR once more over the voxels known to be fluid, grey or white matter, where scalp fat,
        displaced from contrast to contrast, does not decide.
        Errors of contrast ratios in per cent of the acquired ratio, positive where the
        synthesised contrast is larger: grey over white matter, fluid over grey matter, lesion over
        white matter. None where a number is not defined.
    """
    reference = case.in_units(case.answer)
    mask = judged_mask(case.sources[0].mask, case.answer.mask)
    peak = reference_peak(reference, mask)
    axis = case.answer.slice_axis
    inside = compare(image, reference, mask, peak, slice_axis=axis)
    whole = compare(image, reference, np.ones_like(mask), peak, slice_axis=axis)
    found: dict[str, float | None] = {
        **_readings(inside, ""),
        **_readings(whole, "_whole"),
        **_brain(image, reference, case.visit.tissues, mask, peak),
        "gain": inside.gain,
        **contrast_errors(image, reference, case.visit.tissues, mask),
    }
    return {name: _finite(found[name]) for name in METRICS}


def _brain(
    image: FloatArray, reference: FloatArray, tissues: TissueMasks, mask: BoolArray, peak: float
) -> dict[str, float | None]:
    brain = mask & (tissues.csf | tissues.grey | tissues.white)
    if np.count_nonzero(brain) < ENOUGH:
        return {"psnr_brain": None, "psnr_gain_brain": None}
    gained = image * np.float32(least_squares_gain(image, reference, brain))
    return {
        "psnr_brain": psnr(image, reference, brain, peak),
        "psnr_gain_brain": psnr(gained, reference, brain, peak),
    }


def contrast_errors(
    image: FloatArray, reference: FloatArray, tissues: TissueMasks, mask: BoolArray
) -> dict[str, float | None]:
    """Return by how many per cent each ratio of mean intensities differs from the acquired one."""
    pairs: dict[str, tuple[BoolArray | None, BoolArray]] = {
        "grey_white_percent": (tissues.grey, tissues.white),
        "csf_grey_percent": (tissues.csf, tissues.grey),
        "lesion_white_percent": (tissues.lesion, tissues.white),
    }
    return {
        name: None if top is None else _ratio_error(image, reference, top & mask, below & mask)
        for name, (top, below) in pairs.items()
    }


def _ratio_error(
    image: FloatArray, reference: FloatArray, top: BoolArray, below: BoolArray
) -> float | None:
    if min(np.count_nonzero(top), np.count_nonzero(below)) < ENOUGH:
        return None
    ratios = []
    for data in (image, reference):
        over, under = (float(data[where].mean(dtype=np.float64)) for where in (top, below))
        if under <= 0:
            return None
        ratios.append(over / under)
    return 100.0 * (ratios[0] / ratios[1] - 1.0) if ratios[1] > 0 else None


def _readings(found: Comparison, ending: str) -> dict[str, float | None]:
    return {
        f"psnr{ending}": found.psnr,
        f"ssim{ending}": found.ssim,
        f"psnr_gain{ending}": found.psnr_gain,
        f"ssim_gain{ending}": found.ssim_gain,
    }


def as_row(case: Case, image: FloatArray) -> dict[str, Any]:
    """Return the row of a results table: whose, what from what, and the numbers."""
    return {
        "person": case.visit.person,
        "visit": case.visit.label,
        "sources": list(case.task.sources),
        "target": case.task.target,
        "tissues": case.visit.tissues.how,
        **measured(case, image),
    }


def calibrate(
    calibration: Calibration, case: Case, image: FloatArray, expected: FloatArray
) -> None:
    """Count where the head's errors lie beside the expected ones, after one least-squares gain."""
    reference = case.in_units(case.answer)
    mask = judged_mask(case.sources[0].mask, case.answer.mask)
    percent = np.float32(100.0 / reference_peak(reference, mask))
    gain = np.float32(least_squares_gain(image, reference, mask))
    error = (gain * image - reference)[mask] * percent
    calibration.add(expected[mask] * gain * percent, error)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
