"""Scans, grids and the scale between acquired intensities and model units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crl_core.errors import GridError, InputError
from crl_core.preprocess.mask import head_mask, otsu_threshold
from crl_core.scan import IntensityScale, Origin, Scan, Subject
from crl_core.sequence import SequenceParameters


def _scan(shape=(4, 5, 6), spacing=(1.0, 1.0, 1.0), **more) -> Scan:
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Scan(data, np.diag([*spacing, 1.0]), "scan", **more)


def test_other_than_three_dimensions_are_refused_with_the_file() -> None:
    with pytest.raises(InputError, match=r"a\.nii: the image has 4 dimensions"):
        Scan(np.zeros((2, 2, 2, 2), np.float32), np.eye(4), "scan", path="a.nii")


def test_voxel_size_of_an_oblique_affine() -> None:
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.9, 1.1, 5.0])
    scan = Scan(np.zeros((2, 3, 4), np.float32), affine, "scan")
    assert scan.voxel_size == pytest.approx((0.9, 1.1, 5.0))


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [
        ((8, 8, 1), (1, 1, 1), 2),
        ((1, 8, 8), (1, 1, 9), 0),
        ((8, 8, 8), (1, 3, 1), 1),
        ((8, 8, 8), (5, 1, 1), 0),
        ((8, 8, 8), (1, 1, 1), 2),
        ((8, 8, 8), (1.0, 1.1, 1.0), 2),
        ((4, 40, 40), (1, 1, 1), 0),  # four slices of an isotropic acquisition
        ((20, 40, 40), (1, 1, 1), 2),
    ],
)
def test_the_slice_axis(shape, spacing, axis) -> None:
    scan = _scan(shape, spacing)
    assert scan.slice_axis == axis
    assert scan.n_slices == shape[axis]


def test_an_isotropic_volume_is_sliced_towards_the_head() -> None:
    affine = np.eye(4)[[2, 0, 1, 3]]
    scan = Scan(np.zeros((5, 6, 7), np.float32), affine, "sagittal")
    assert scan.slice_axis == int(np.argmax(np.abs(affine[2, :3])))
    assert scan.slice_axis == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_keeps_the_order_of_the_other_axes(axis: int) -> None:
    scan = _scan()
    np.testing.assert_array_equal(scan.slice(2, axis), np.moveaxis(scan.data, axis, 0)[2])
    np.testing.assert_array_equal(scan.slice(1), scan.data[:, :, 1])


def test_same_grid() -> None:
    scan = _scan()
    near, far = scan.affine.copy(), scan.affine.copy()
    near[0, 3] += 5e-4
    far[0, 3] += 0.5
    turned = scan.affine.copy()
    turned[0, 1] += 0.01
    assert scan.same_grid(Scan(scan.data, near, "near"))
    assert not scan.same_grid(Scan(scan.data, far, "far"))
    assert not scan.same_grid(Scan(scan.data, turned, "turned"))
    assert not scan.same_grid(_scan((4, 5, 7)))


def test_a_subject_holds_scans_of_one_grid() -> None:
    subject = Subject("01", [_scan(), _scan()])
    assert len(subject.scans) == 2
    with pytest.raises(GridError, match="another grid"):
        Subject("01", [_scan(), _scan((4, 5, 7))])


def test_parameters_given_later_and_how_certain_they_are() -> None:
    scan = _scan()
    assert not scan.nominal
    p = SequenceParameters(600, 10)
    typed = scan.with_parameters(p, Origin("typed in the window", "given"))
    assert (scan.parameters, typed.parameters) == (None, p)
    assert set(typed.origins) == {"tr", "te", "ti"}
    assert not typed.nominal
    assert scan.with_parameters(p, Origin("the paper", "nominal")).nominal


def test_the_robust_scale_keeps_zero_and_ignores_hot_voxels() -> None:
    data = np.zeros((50, 50, 4), np.float32)
    data[10:40, 10:40] = np.linspace(0, 1000, 3600, dtype=np.float32).reshape(30, 30, 4)
    mask = data > 0
    scale = IntensityScale.robust(data, mask)
    assert scale.offset == 0
    assert scale.scale == pytest.approx(995, abs=1)
    data[20, 20, 0] = 1e7
    assert IntensityScale.robust(data, mask).scale == pytest.approx(scale.scale, rel=1e-2)
    assert scale.to_model(np.zeros(3, np.float32)).tolist() == [0, 0, 0]


def test_the_minmax_scale_spans_zero_to_one() -> None:
    data = np.array([[[-5.0, 15.0, 35.0]]], np.float32)
    np.testing.assert_allclose(IntensityScale.minmax(data).to_model(data), [[[0, 0.5, 1]]])


@given(
    arrays(np.float32, (3, 4, 2), elements=st.floats(-1000, 4000, width=32)),
    st.floats(-100, 100),
    st.floats(1.0, 5000),
)
@settings(deadline=None)
def test_a_scale_there_and_back(data, offset, factor) -> None:
    scale = IntensityScale(offset, factor, "test")
    back = scale.to_source(scale.to_model(data))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, data, atol=2e-3)
    assert scale.as_dict() == {"offset": offset, "scale": factor, "rule": "test"}


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_images_without_a_scale_are_refused(value: float) -> None:
    flat = np.full((3, 3, 3), value, np.float32)
    with pytest.raises(InputError, match="one single value"):
        IntensityScale.minmax(flat)
    with pytest.raises(InputError, match="no signal"):
        IntensityScale.robust(np.zeros_like(flat), flat > 1)


def _disc() -> np.ndarray:
    rows, cols = np.mgrid[:96, :80].astype(float)
    return np.hypot((rows - 48) / 38, (cols - 40) / 30)


def test_the_head_mask_takes_dark_bone_and_fluid_and_leaves_air() -> None:
    r = _disc()
    plane = np.zeros(r.shape)
    plane[r < 1.0] = 80
    plane[(r < 0.9) & (r > 0.84)] = 2
    plane[np.abs(r - 0.3) < 0.1] = 0
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1.5, (2, *r.shape, 3))
    data = np.hypot(plane[..., None] + noise[0], noise[1]).astype(np.float32)
    mask = head_mask(data)
    head = np.repeat((r < 1.0)[..., None], 3, axis=2)
    overlap = 2 * np.count_nonzero(mask & head) / (mask.sum() + head.sum())
    assert overlap > 0.95
    assert mask[np.repeat((r < 0.9)[..., None], 3, axis=2)].all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_head_mask_follows_the_slice_axis(axis: int) -> None:
    r = _disc()
    plane = np.where(r < 1, 100.0, 0.0) - np.where(r < 0.4, 100.0, 0.0)
    data = np.stack([plane] * 4, axis).astype(np.float32)
    scan_mask = head_mask(data, slice_axis=axis)
    assert scan_mask.shape == data.shape
    np.testing.assert_array_equal(np.take(scan_mask, 1, axis), np.take(scan_mask, 2, axis))
    assert np.take(scan_mask, 0, axis)[48, 40]


def test_the_head_mask_does_not_depend_on_unit_or_sign() -> None:
    r = _disc()
    data = np.where(r < 1, 100.0 * (1.1 - r), 0.0)[..., None].astype(np.float32)
    mask = head_mask(data)
    np.testing.assert_array_equal(head_mask(1e-3 * data), mask)
    np.testing.assert_array_equal(head_mask(-data), mask)


def test_an_empty_image_has_an_empty_mask() -> None:
    assert not head_mask(np.zeros((8, 8, 2), np.float32)).any()


def test_otsu_splits_two_clusters() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(10, 2, 900), rng.normal(60, 5, 300)]).astype(np.float32)
    threshold = otsu_threshold(values)
    assert np.mean(values[:900] > threshold) < 0.01
    assert np.mean(values[900:] < threshold) < 0.01


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_a_cube_with_its_axes_exchanged_is_another_grid(order: tuple[int, int, int]) -> None:
    """Two opposite corners stay where they are; the anatomy does not."""
    data = np.zeros((8, 8, 8), np.float32)
    turned = np.eye(4)
    turned[:3, :3] = np.eye(3)[list(order)]
    assert not Scan(data, np.eye(4), "a").same_grid(Scan(data, turned, "b"))
