"""The numbers of a row: PSNR and SSIM against an independent program, ratios by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from crl_core.evaluation.benchmark.measure import (
    METRICS,
    as_row,
    calibrate,
    contrast_errors,
    measured,
)
from crl_core.evaluation.benchmark.people import Case, Visit
from crl_core.evaluation.benchmark.protocol import Task
from crl_core.evaluation.benchmark.tissue_masks import TissueMasks
from crl_core.evaluation.calibration import Calibration
from crl_core.sequence import PAPER_SEQUENCES
from tests.core.benchmark_data import SHAPE, visit

CONTRASTS = {k: PAPER_SEQUENCES[int(k)] for k in ("5", "7")}


def thirds() -> TissueMasks:
    """Fluid, grey and white matter side by side, lesion in a corner of the white."""
    masks = [np.zeros(SHAPE, bool) for _ in range(4)]
    for number, mask in enumerate(masks[:3]):
        mask[4:-4, 4 + 6 * number : 9 + 6 * number] = True
    masks[3][4:14, 16:20] = True
    masks[2] &= ~masks[3]
    return TissueMasks(masks[0], masks[1], masks[2], masks[3], "stated")


def case(masks: TissueMasks | None = None) -> Case:
    whom = visit(CONTRASTS, 4)
    whom.__dict__["tissues"] = thirds() if masks is None else masks
    return Case(whom, Task(("5",), "7"))


def noisy(asked: Case, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wanted = asked.in_units(asked.answer)
    return (wanted + 0.05 * rng.standard_normal(wanted.shape)).astype(np.float32)


def test_psnr_and_ssim_are_those_of_an_independent_program() -> None:
    asked = case()
    image, wanted = noisy(asked), asked.in_units(asked.answer)
    mask = asked.answer.mask
    peak = float(np.percentile(wanted[mask], 99.5))
    found = measured(asked, image)
    assert tuple(found) == METRICS
    inside = peak_signal_noise_ratio(wanted[mask], image[mask], data_range=peak)
    assert found["psnr"] == pytest.approx(inside, abs=1e-3)
    whole = peak_signal_noise_ratio(wanted, image, data_range=peak)
    assert found["psnr_whole"] == pytest.approx(whole, abs=1e-3)
    maps = [
        structural_similarity(
            wanted[:, :, k], image[:, :, k], data_range=peak, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, full=True,
        )[1]
        for k in range(SHAPE[2])
    ]  # fmt: skip
    similarity = np.stack(maps, axis=2)
    assert found["ssim"] == pytest.approx(similarity[mask].mean(), abs=2e-4)
    assert found["ssim_whole"] == pytest.approx(similarity.mean(), abs=2e-4)
    brain = asked.visit.tissues.csf | asked.visit.tissues.grey | asked.visit.tissues.white
    in_brain = peak_signal_noise_ratio(wanted[brain], image[brain], data_range=peak)
    assert found["psnr_brain"] == pytest.approx(in_brain, abs=1e-3)


def test_one_gain_is_forgiven_in_the_readings_that_say_so_and_in_no_other() -> None:
    asked = case()
    image = noisy(asked)
    plain, scaled = measured(asked, image), measured(asked, 0.5 * image)
    for name in METRICS:
        if name == "gain":
            assert scaled[name] == pytest.approx(2 * plain[name], rel=1e-4)
        elif "gain" in name or name.endswith("_percent"):
            assert scaled[name] == pytest.approx(plain[name], rel=1e-3)
        else:
            assert scaled[name] < plain[name] - 0.05


def test_a_ratio_error_is_positive_where_the_contrast_is_too_strong() -> None:
    asked = case()
    masks, wanted = asked.visit.tissues, asked.in_units(asked.answer)
    image = wanted.copy()
    image[masks.grey] *= 1.1
    everywhere = np.ones(SHAPE, bool)
    found = contrast_errors(image, wanted, masks, everywhere)
    assert found["grey_white_percent"] == pytest.approx(10.0, abs=1e-3)
    assert found["csf_grey_percent"] == pytest.approx(100 * (1 / 1.1 - 1), abs=1e-3)
    assert found["lesion_white_percent"] == pytest.approx(0.0, abs=1e-4)
    assert contrast_errors(0.2 * image, wanted, masks, everywhere) == pytest.approx(found, abs=1e-3)


def test_a_ratio_of_too_few_voxels_or_of_nothing_is_not_made_up() -> None:
    asked = case()
    masks, wanted = asked.visit.tissues, asked.in_units(asked.answer)
    small = np.zeros(SHAPE, bool)
    small[10, :19, 0] = True
    found = contrast_errors(wanted, wanted, replace(masks, white=small, lesion=None), small | True)
    assert found["grey_white_percent"] is None
    assert found["lesion_white_percent"] is None
    assert found["csf_grey_percent"] == pytest.approx(0.0)
    # Only what lies in the mask that is judged counts.
    nowhere = np.zeros(SHAPE, bool)
    assert set(contrast_errors(wanted, wanted, masks, nowhere).values()) == {None}
    empty = contrast_errors(0 * wanted, wanted, masks, ~nowhere)
    assert set(empty.values()) == {None}


def test_a_row_says_whose_what_and_how_and_holds_no_infinity() -> None:
    asked = case()
    row = as_row(asked, asked.in_units(asked.answer))
    assert row["person"] == row["visit"] == "sub-01"
    assert (row["sources"], row["target"], row["tissues"]) == (["5"], "7", "stated")
    assert row["psnr"] is None  # equal images
    assert row["ssim"] == pytest.approx(1.0)
    assert row["gain"] == pytest.approx(1.0)


def test_people_without_masks_have_everything_but_the_brain() -> None:
    empty = np.zeros(SHAPE, bool)
    asked = case(TissueMasks(empty, empty, empty, None, "none"))
    found = measured(asked, noisy(asked))
    assert found["psnr"] is not None
    assert [n for n, v in found.items() if v is None] == [
        "psnr_brain", "psnr_gain_brain", "grey_white_percent", "csf_grey_percent",
        "lesion_white_percent",
    ]  # fmt: skip


def test_a_case_gives_everything_in_units_of_its_first_source() -> None:
    whom = visit(CONTRASTS, 4)
    asked = Case(whom, Task(("7", "5"), "5"))
    unit = np.percentile(whom.scans["7"].data[whom.scans["7"].mask], 99.5)
    np.testing.assert_allclose(asked.in_units(asked.answer), whom.scans["5"].data / unit, rtol=1e-6)
    assert [s.name for s in asked.sources] == ["7", "5"]
    assert isinstance(asked.visit, Visit)
    assert asked.parameters == PAPER_SEQUENCES[5]


def test_expected_errors_are_forgiven_the_same_gain() -> None:
    asked = case()
    image = noisy(asked)
    found = []
    for factor in (1.0, 0.25):
        calibration = Calibration()
        calibrate(calibration, asked, factor * image, np.full(image.shape, factor * 0.04, "f4"))
        found.append((calibration.factor, *calibration.coverage))
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert found[0][0] == pytest.approx(1.0, abs=0.1)  # 0.05 sqrt(2 / pi) over 0.04
