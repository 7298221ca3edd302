"""The three baselines: what each can and cannot recover."""

from __future__ import annotations

import numpy as np
import pytest

from crl_core.evaluation.baselines import BASELINES, affine, identity, score, table
from crl_core.evaluation.metrics import psnr


def _source(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    source = rng.random((80, 60), dtype=np.float32)
    mask = np.zeros(source.shape, bool)
    mask[10:70, 8:52] = True
    return source, mask


def test_identity_returns_a_copy_of_the_source() -> None:
    source, mask = _source()
    found = identity(source, 2 * source, mask)
    np.testing.assert_array_equal(found, source)
    assert not np.shares_memory(found, source)


def test_affine_recovers_a_line_fitted_inside_the_mask_only() -> None:
    source, mask = _source()
    target = np.where(mask, 3 - 2 * source, 1000.0)
    np.testing.assert_allclose(affine(source, target, mask)[mask], target[mask], atol=1e-5)


def test_affine_equals_polyfit_on_noisy_data() -> None:
    source, mask = _source(1)
    target = 0.4 * source + np.random.default_rng(2).normal(1, 0.3, source.shape)
    a, b = np.polyfit(source[mask].astype(float), target[mask], 1)
    np.testing.assert_allclose(affine(source, target, mask), a * source + b, atol=1e-5)


def test_the_table_recovers_a_curve_that_no_line_can() -> None:
    source, mask = _source()
    target = np.abs(source - 0.4)
    by_table = psnr(table(source, target, mask), target, mask, 1.0)
    assert by_table > 45
    assert by_table > psnr(affine(source, target, mask), target, mask, 1.0) + 20


def test_the_table_is_the_conditional_mean() -> None:
    source = np.array([[0.0, 0.0, 1.0, 1.0, 2.0]], np.float32)
    target = np.array([[1.0, 3.0, 10.0, 20.0, 7.0]], np.float32)
    found = table(source, target, np.ones_like(source, bool), bins=3)
    np.testing.assert_allclose(found, [[2.0, 2.0, 15.0, 15.0, 7.0]])


def test_empty_bins_are_interpolated() -> None:
    source = np.array([[0.0, 0.5, 1.0]], np.float32)
    target = np.array([[0.0, 99.0, 10.0]], np.float32)
    mask = np.array([[True, False, True]])
    found = table(source, target, mask, bins=11)
    assert found[0, 1] == pytest.approx(5.0, abs=0.1)


def test_a_hot_voxel_does_not_spoil_the_table() -> None:
    source, mask = _source(3)
    target = np.sqrt(source)
    before = score(table(source, target, mask), target, mask)
    source[40, 30] = 1e4
    assert score(table(source, target, mask), target, mask) > before - 0.5


def test_each_baseline_contains_the_one_before_it() -> None:
    source, mask = _source(4)
    target = np.exp(-3 * source) + 0.05 * np.random.default_rng(5).random(source.shape)
    errors = {
        name: psnr(predict(source, target, mask), target, mask, 1.0)
        for name, predict in BASELINES.items()
    }
    assert list(errors) == ["identity", "affine", "table"]
    assert errors["identity"] < errors["affine"] < errors["table"]


@pytest.mark.parametrize("predict", [affine, table])
def test_a_flat_source_gives_the_mean_and_an_empty_mask_zero(predict) -> None:
    target, mask = _source(6)
    flat = np.full_like(target, 7.0)
    np.testing.assert_allclose(predict(flat, target, mask), target[mask].mean(), rtol=1e-5)
    assert not predict(target, target, np.zeros_like(mask)).any()
    with pytest.raises(ValueError, match="differ"):
        predict(flat[:3], target, mask)


def test_the_score_forgives_one_gain_but_no_offset() -> None:
    source, mask = _source(7)
    assert score(5 * source, source, mask) > 120
    assert score(source + 0.5, source, mask) < 20
