"""Metrics against scikit-image, hand-made cases and what they must not depend on."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from crl_core.evaluation import metrics

SHAPE = (64, 48)


def _pair(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = rng.random(shape, dtype=np.float32)
    noise = rng.normal(0, 0.08, shape).astype(np.float32)
    return (0.9 * reference + noise).astype(np.float32), reference


def _ellipse(shape: tuple[int, int] = SHAPE, size: float = 0.8) -> np.ndarray:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    r = (rows - shape[0] / 2) / (shape[0] / 2 * size)
    c = (cols - shape[1] / 2) / (shape[1] / 2 * size)
    return r**2 + c**2 < 1


def _skimage_map(image: np.ndarray, reference: np.ndarray, data_range: float) -> np.ndarray:
    _, full = structural_similarity(
        image.astype(np.float64),
        reference.astype(np.float64),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return np.asarray(full)


@pytest.mark.parametrize("data_range", [0.5, 1.0, 4095.0])
def test_ssim_map_equals_scikit_image(data_range: float) -> None:
    image, reference = (data_range * a for a in _pair())
    ours = metrics.ssim_map(image, reference, data_range)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, _skimage_map(image, reference, data_range), atol=2e-5)


def test_masked_ssim_is_the_masked_mean_of_scikit_images_map() -> None:
    image, reference = _pair(1)
    for mask in (_ellipse(), _ellipse(size=0.3), np.ones(SHAPE, bool), _ellipse(size=1.5)):
        expected = _skimage_map(image, reference, 0.9)[mask].mean()
        assert metrics.ssim(image, reference, mask, 0.9) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_masked_ssim_at_the_border_of_the_image(corner: tuple[int, int]) -> None:
    image, reference = _pair(2)
    mask = np.zeros(SHAPE, bool)
    mask[corner] = True
    expected = _skimage_map(image, reference, 1.0)[corner]
    assert metrics.ssim(image, reference, mask, 1.0) == pytest.approx(expected, abs=1e-5)


def test_ssim_of_an_image_smaller_than_its_window() -> None:
    image, reference = _pair(3, (4, 3))
    assert np.isfinite(metrics.ssim_map(image, reference, 1.0)).all()
    assert metrics.ssim(reference, reference, np.ones((4, 3), bool), 1.0) == pytest.approx(1.0)


def test_psnr_equals_scikit_image_inside_the_mask() -> None:
    image, reference = _pair(4)
    mask = _ellipse()
    expected = peak_signal_noise_ratio(reference[mask], image[mask], data_range=0.93)
    assert metrics.psnr(image, reference, mask, 0.93) == pytest.approx(expected, abs=1e-4)


def test_mae_by_hand() -> None:
    reference = np.zeros((2, 2), np.float32)
    image = np.array([[1.0, -3.0], [100.0, 0.0]], np.float32)
    mask = np.array([[True, True], [False, True]])
    assert metrics.mae(image, reference, mask) == pytest.approx(4 / 3)


def test_what_lies_outside_the_mask_and_its_window_counts_for_nothing() -> None:
    image, reference = _pair(5)
    mask = np.zeros(SHAPE, bool)
    mask[20:30, 20:30] = True
    before = metrics.compare(image, reference, mask, 1.0)
    far = np.ones(SHAPE, bool)
    far[15:35, 15:35] = False
    assert metrics.compare(np.where(far, 50.0, image), reference, mask, 1.0) == before


def test_compare_gathers_the_single_measures() -> None:
    image, reference = _pair(6)
    mask, peak = _ellipse(), 0.97
    found = metrics.compare(image, reference, mask, peak, mask_name="Brain mask")
    gain = metrics.least_squares_gain(image, reference, mask)
    for suffix, shown in (("", image), ("_gain", gain * image)):
        psnr = getattr(found, f"psnr{suffix}")
        assert psnr == pytest.approx(metrics.psnr(shown, reference, mask, peak), abs=1e-4)
        ssim = getattr(found, f"ssim{suffix}")
        assert ssim == pytest.approx(metrics.ssim(shown, reference, mask, peak), abs=1e-5)
        mae = getattr(found, f"mae_percent{suffix}")
        assert mae == pytest.approx(100 * metrics.mae(shown, reference, mask) / peak, rel=1e-4)
    assert found.gain == pytest.approx(gain)
    assert found.n_voxels == np.count_nonzero(mask)
    assert found.psnr_gain > found.psnr


@given(
    factor=st.floats(0.05, 20.0), seed=st.integers(0, 2**16), unit=st.sampled_from([1.0, 4e3, 1e-4])
)
@settings(max_examples=30, deadline=None)
def test_the_gain_takes_out_a_factor_and_nothing_else(
    factor: float, seed: int, unit: float
) -> None:
    image, reference = (unit * a for a in _pair(seed))
    mask, peak = _ellipse(), unit
    one = metrics.compare(image, reference, mask, peak)
    other = metrics.compare((factor * image).astype(np.float32), reference, mask, peak)
    assert other.gain * factor == pytest.approx(one.gain, rel=1e-4)
    assert other.psnr_gain == pytest.approx(one.psnr_gain, abs=1e-3)
    assert other.ssim_gain == pytest.approx(one.ssim_gain, abs=1e-4)


@given(seed=st.integers(0, 2**16), nudge=st.floats(-0.2, 0.2))
@settings(max_examples=30, deadline=None)
def test_no_other_factor_has_a_smaller_error(seed: int, nudge: float) -> None:
    image, reference = _pair(seed)
    mask = _ellipse()
    gain = metrics.least_squares_gain(image, reference, mask)
    best = metrics.psnr(gain * image, reference, mask, 1.0)
    assert best >= metrics.psnr((gain + nudge) * image, reference, mask, 1.0) - 1e-4


def test_the_unit_does_not_matter() -> None:
    image, reference = _pair(7)
    mask = _ellipse()
    one = metrics.compare(image, reference, mask, 0.95)
    other = metrics.compare(3000 * image, 3000 * reference, mask, 3000 * 0.95)
    for name in ("psnr", "ssim", "mae_percent", "gain", "psnr_gain", "ssim_gain"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-4)


def test_equal_images() -> None:
    _, reference = _pair(8)
    found = metrics.compare(reference, reference, _ellipse(), 1.0)
    assert found.psnr == math.inf
    assert found.ssim == pytest.approx(1.0, abs=1e-6)
    assert (found.mae_percent, found.gain) == (0.0, pytest.approx(1.0))
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["psnr"] is None


def test_an_empty_mask_has_no_numbers() -> None:
    image, reference = _pair(9)
    found = metrics.compare(image, reference, np.zeros(SHAPE, bool), 1.0)
    assert (found.n_voxels, found.n_slices, found.gain) == (0, 0, 1.0)
    assert all(math.isnan(v) for v in (found.psnr, found.ssim, found.mae_percent))


def test_a_black_synthesis_keeps_a_gain_of_one() -> None:
    _, reference = _pair(10)
    found = metrics.compare(np.zeros(SHAPE), reference, _ellipse(), 1.0)
    assert found.gain == 1.0
    assert found.psnr == found.psnr_gain


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_is_judged_slice_by_slice_along_its_own_axis(axis: int) -> None:
    rng = np.random.default_rng(axis)
    reference = rng.random((30, 26, 22), dtype=np.float32)
    image = (reference + rng.normal(0, 0.1, reference.shape)).astype(np.float32)
    mask = rng.random(reference.shape) < 0.3
    np.moveaxis(mask, axis, 0)[:3] = False
    slices = range(reference.shape[axis])
    stack = np.stack(
        [_skimage_map(np.take(image, i, axis), np.take(reference, i, axis), 1.0) for i in slices],
        axis,
    )
    found = metrics.compare(image, reference, mask, 1.0, slice_axis=axis)
    assert found.ssim == pytest.approx(stack[mask].mean(), abs=1e-5)
    assert found.n_slices == reference.shape[axis] - 3
    np.testing.assert_allclose(metrics.ssim_map(image, reference, 1.0, axis), stack, atol=2e-5)


def test_one_slice_as_a_volume_equals_the_slice() -> None:
    image, reference = _pair(11)
    mask = _ellipse()
    flat = metrics.compare(image, reference, mask, 1.0)
    for axis in range(3):
        thick = (np.expand_dims(a, axis) for a in (image, reference, mask))
        assert metrics.compare(*thick, 1.0) == flat


def test_the_peak_ignores_background_and_hot_voxels() -> None:
    reference = np.zeros((100, 100), np.float32)
    reference[20:80, 20:80] = np.linspace(0, 1, 3600, dtype=np.float32).reshape(60, 60)
    mask = reference > 0
    clean = metrics.reference_peak(reference, mask)
    assert clean == pytest.approx(0.995, abs=1e-3)
    reference[50, 50] = 1e6
    assert metrics.reference_peak(reference, mask) == pytest.approx(clean, abs=2e-3)
    assert metrics.reference_peak(np.zeros((4, 4)), np.zeros((4, 4), bool)) == 1.0


def test_the_numbers_say_what_they_were_made_with() -> None:
    image, reference = _pair(12)
    found = metrics.compare(image, reference, _ellipse(), 0.9312)
    assert found.statement == (
        "Head mask · range 0–0.931 (p99.5 of the reference) · gain: one factor, least squares"
    )
    assert found.gain_text == f"gain {found.gain:.2f}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": np.zeros((3, 3))}, "reference"),
        ({"mask": np.ones((3, 3), bool)}, "mask"),
        ({"peak": 0.0}, "peak"),
        ({"peak": math.nan}, "peak"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, object], message: str) -> None:
    image, reference = _pair(13)
    given_ = {"image": image, "reference": reference, "mask": _ellipse(), "peak": 1.0} | change
    with pytest.raises(ValueError, match=message):
        metrics.compare(**given_)


def test_a_volume_without_its_slice_axis_is_refused() -> None:
    volume = np.zeros((12, 12, 12), np.float32)
    with pytest.raises(ValueError, match="slice_axis"):
        metrics.compare(volume, volume, volume == 0, 1.0)
    with pytest.raises(ValueError, match="dimensions"):
        metrics.ssim_map(volume[..., None], volume[..., None], 1.0)
