"""The signed error map."""

from __future__ import annotations

import numpy as np
import pytest

from crl_core.evaluation import ErrorMap, compare


def _images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    reference = np.full((4, 5), 50.0, np.float32)
    image = reference.copy()
    image[0, 0], image[1, 1] = 60.0, 45.0
    mask = np.ones((4, 5), bool)
    mask[3] = False
    return image, reference, mask


def test_too_bright_is_positive_and_in_per_cent_of_the_peak() -> None:
    image, reference, mask = _images()
    found = ErrorMap.signed(image, reference, mask, peak=200.0)
    assert found.percent.dtype == np.float32
    assert found.percent[0, 0] == pytest.approx(5.0)
    assert found.percent[1, 1] == pytest.approx(-2.5)
    assert found.percent[2, 2] == 0.0
    assert found.absolute[1, 1] == pytest.approx(2.5)


def test_outside_the_mask_is_not_judged() -> None:
    image, reference, mask = _images()
    found = ErrorMap.signed(image, reference, mask, peak=200.0)
    np.testing.assert_array_equal(np.isnan(found.percent), ~mask)


def test_the_gain_multiplies_the_synthesised_image() -> None:
    image, reference, mask = _images()
    found = ErrorMap.signed(image / 2, reference, mask, peak=200.0, gain=2.0)
    plain = ErrorMap.signed(image, reference, mask, peak=200.0)
    np.testing.assert_allclose(found.percent, plain.percent, atol=1e-5)
    assert (found.gain, found.peak) == (2.0, 200.0)


def test_the_map_and_the_numbers_agree() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random((20, 18, 3), dtype=np.float32)
    image = (1.2 * reference + rng.normal(0, 0.05, reference.shape)).astype(np.float32)
    mask = rng.random(reference.shape) < 0.5
    numbers = compare(image, reference, mask, 0.9, slice_axis=2)
    for gain, mae in ((1.0, numbers.mae_percent), (numbers.gain, numbers.mae_percent_gain)):
        found = ErrorMap.signed(image, reference, mask, 0.9, gain)
        assert np.nanmean(found.absolute) == pytest.approx(mae, rel=1e-5)


def test_bias_and_share_by_hand() -> None:
    image, reference, mask = _images()
    found = ErrorMap.signed(image, reference, mask, peak=200.0)
    assert found.bias == pytest.approx(2.5 / 15)
    assert found.share_beyond(2.0) == pytest.approx(2 / 15)
    assert found.share_beyond(3.0) == pytest.approx(1 / 15)


def test_an_empty_mask() -> None:
    image, reference, mask = _images()
    found = ErrorMap.signed(image, reference, np.zeros_like(mask), peak=1.0)
    assert np.isnan(found.percent).all()
    assert np.isnan(found.bias)
    assert np.isnan(found.share_beyond(1.0))


def test_wrong_arguments_are_refused() -> None:
    image, reference, mask = _images()
    with pytest.raises(ValueError, match="differ"):
        ErrorMap.signed(image, reference[:2], mask, peak=1.0)
    with pytest.raises(ValueError, match="peak"):
        ErrorMap.signed(image, reference, mask, peak=0.0)
