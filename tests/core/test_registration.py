"""In-plane registration: a planted transform is found again across contrasts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from crl_core.preprocess.registration import Similarity, mutual_information, register_inplane

SHAPE = (160, 128)


def _labels() -> np.ndarray:
    """A head of five tissues with an irregular border between the inner ones."""
    rng = np.random.default_rng(7)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    r = (rows - 80) / 66
    c = (cols - 62) / 50
    radius = np.hypot(r, c)
    texture = ndimage.gaussian_filter(rng.normal(size=SHAPE), 5)
    texture /= texture.std()
    labels = np.zeros(SHAPE, int)
    labels[radius < 1.0] = 1
    labels[radius < 0.92] = 2
    labels[radius < 0.86] = 3
    labels[(radius < 0.78) & (texture > -0.2)] = 4
    ventricle = (np.abs(np.abs(c) - 0.13) < 0.06) & (np.abs(r + 0.05) < 0.3)
    labels[ventricle] = 5
    return labels


def _contrasts() -> tuple[np.ndarray, np.ndarray]:
    """Two images of it with no simple relation between their intensities."""
    labels = _labels()
    a = np.array([0.0, 0.9, 0.1, 0.6, 0.75, 0.25])[labels]
    b = np.array([0.0, 0.4, 0.08, 0.7, 0.45, 1.0])[labels]
    return tuple(ndimage.gaussian_filter(x, 0.8).astype(np.float32) for x in (a, b))


def _noisy(image: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    real, imaginary = rng.normal(0, 0.015, (2, *image.shape))
    return np.hypot(image + real, imaginary).astype(np.float32)


def _plant(image: np.ndarray, planted: Similarity) -> np.ndarray:
    """Return the moving image that `planted` maps back onto `image`."""
    linear, offset = planted.matrix(SHAPE, SHAPE)
    back = np.linalg.inv(linear)
    return ndimage.affine_transform(image, back, -back @ offset, SHAPE, np.float32, order=3)


@pytest.mark.parametrize(
    "planted",
    [
        Similarity(1.8, (2.0, -1.3), 1.015),
        Similarity(-1.8, (-1.2, 2.1), 0.985),
        Similarity(5.0, (-7.0, 6.0), 1.02),
        Similarity(),
    ],
    ids=str,
)
def test_a_planted_transform_is_found_again(planted: Similarity) -> None:
    first, second = _contrasts()
    moving, fixed = _noisy(_plant(first, planted), 1), _noisy(second, 2)
    found = register_inplane(moving, fixed)
    assert found.transform.rotation == pytest.approx(planted.rotation, abs=0.2)
    assert found.transform.shift == pytest.approx(planted.shift, abs=0.2)
    assert found.transform.scale == pytest.approx(planted.scale, abs=0.003)
    assert found.score >= found.score_before
    rows, cols = np.nonzero(_labels())
    corners = np.stack([rows, cols]).astype(float)
    (m, o), (n, p) = (t.matrix(SHAPE, SHAPE) for t in (found.transform, planted))
    assert np.abs((m @ corners + o[:, None]) - (n @ corners + p[:, None])).max() < 0.4


def test_the_registered_image_lies_on_the_fixed_one() -> None:
    first, second = _contrasts()
    planted = Similarity(1.8, (2.0, -1.3), 1.015)
    found = register_inplane(_noisy(_plant(first, planted), 1), _noisy(second, 2))
    inside = _labels() > 0
    before = np.abs(_plant(first, planted) - first)[inside].mean()
    assert np.abs(found.image - first)[inside].mean() < 0.35 * before
    assert found.image.shape == SHAPE
    assert found.image.dtype == np.float32


def test_a_mask_keeps_what_moves_on_its_own_out() -> None:
    first, second = _contrasts()
    planted = Similarity(2.0, (1.5, -2.0), 1.01)
    moving, fixed = _noisy(_plant(first, planted), 1), _noisy(second, 2)
    inside = _labels() > 2
    fixed[~inside] = np.random.default_rng(0).random(np.count_nonzero(~inside))
    found = register_inplane(moving, fixed, mask=inside)
    assert found.transform.rotation == pytest.approx(2.0, abs=0.3)
    assert found.transform.shift == pytest.approx((1.5, -2.0), abs=0.3)


def test_slices_of_different_size() -> None:
    first, second = _contrasts()
    found = register_inplane(_noisy(first, 1)[8:-4, 3:-5], _noisy(second, 2))
    assert found.image.shape == SHAPE
    linear, offset = found.transform.matrix(SHAPE, (148, 120))
    np.testing.assert_allclose(linear @ [80, 64] + offset, [72, 61], atol=0.25)


def test_apply_and_matrix_agree() -> None:
    first, _ = _contrasts()
    step = Similarity(0.0, (3.0, -2.0), 1.0)
    np.testing.assert_allclose(step.apply(first)[10:-10, 10:-10], first[7:-13, 12:-8], atol=1e-6)
    square = first[:128, :128]
    turned = Similarity(rotation=90.0).apply(square)
    inner = slice(2, -2)
    np.testing.assert_allclose(
        turned[inner, inner], np.rot90(square, -1)[inner, inner], atol=1e-5
    )


def test_mutual_information_at_its_ends() -> None:
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 48, 200_000).astype(float)
    assert mutual_information(steps, -steps) == pytest.approx(2.0, abs=0.02)
    assert mutual_information(steps, rng.permutation(steps)) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(ValueError, match="one single value"):
        mutual_information(steps, np.zeros_like(steps))


def test_wrong_arguments_are_refused() -> None:
    first, second = _contrasts()
    with pytest.raises(ValueError, match="2-D"):
        register_inplane(first[None], second)
    with pytest.raises(ValueError, match="mask"):
        register_inplane(first, second, mask=np.zeros(SHAPE, bool))
    with pytest.raises(ValueError, match="one single value"):
        register_inplane(np.ones_like(first), second)
