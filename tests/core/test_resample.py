"""Resampling by affines: where voxels land, what is refused and what is said."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from crl_core.errors import GridError
from crl_core.preprocess.resample import resample_to
from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters


def _affine(spacing=(1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0), shape=(1, 1, 1), degrees=0.0):
    """Voxels of `spacing` turned about z, with the middle of the grid at `centre` mm."""
    a = math.radians(degrees)
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _head(shape, affine, constant_along: int | None = None) -> np.ndarray:
    """A smooth head-like blob defined in millimetres, so that any grid can sample it."""
    index = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    if constant_along is not None:
        world[constant_along] = 0
    x, y, z = world
    r = np.sqrt(x**2 + (y / 1.2) ** 2 + z**2)
    values = 100 / (1 + np.exp((r - 20) / 2.5)) * (1 + 0.3 * np.sin(x / 6) + 0.01 * y)
    return values.reshape(shape).astype(np.float32)


def _scan(shape=(48, 52, 44), name="T1w", **grid) -> Scan:
    affine = _affine(shape=shape, **grid)
    return Scan(_head(shape, affine), affine, name, SequenceParameters(600, 10))


def _axis_changes():
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            yield order, flips


@pytest.mark.parametrize(("order", "flips"), list(_axis_changes()))
def test_the_same_voxels_stored_in_another_order_come_back_exactly(order, flips) -> None:
    scan = _scan(shape=(12, 13, 14), spacing=(1.0, 1.5, 2.0), degrees=30.0)
    data = np.transpose(scan.data, order)
    affine = scan.affine.copy()
    affine[:3, :3] = scan.affine[:3, :3][:, order]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
            data = np.flip(data, axis)
    found = resample_to(Scan(np.ascontiguousarray(data), affine, "stored otherwise"), scan)
    np.testing.assert_allclose(found.data, scan.data, atol=1e-3)
    assert found.same_grid(scan)


def test_an_equal_grid_returns_the_scan_itself() -> None:
    scan = _scan()
    nearly = scan.affine.copy()
    nearly[:3, 3] += 1e-4
    other = Scan(scan.data * 2, nearly, "other")
    assert resample_to(scan, other) is scan


@pytest.mark.parametrize("order", [1, 3])
def test_a_turned_and_shifted_grid_samples_the_same_head(order: int) -> None:
    scan = _scan(shape=(64, 76, 60))
    like = _scan(shape=(40, 36, 30), spacing=(1.2, 1.1, 1.3), centre=(3, -2, 1), degrees=12.0)
    found = resample_to(scan, like, order=order)
    inside = like.data > 5
    assert np.abs(found.data - like.data)[inside].max() < (3.0 if order == 1 else 0.7)


def test_what_the_scan_is_stays_with_it() -> None:
    scan = _scan()
    scan = Scan(scan.data, scan.affine, "FLAIR", scan.parameters, note="Registered.")
    like = _scan(shape=(30, 30, 30), centre=(1, 0, 0), name="PD")
    found = resample_to(scan, like)
    assert (found.name, found.parameters) == ("FLAIR", scan.parameters)
    assert found.note.startswith("Registered. Resampled onto the grid of 'PD'.")
    assert found.data.dtype == np.float32
    np.testing.assert_array_equal(found.affine, like.affine)
    assert found.affine is not like.affine
    np.testing.assert_array_equal(found.mask.shape, like.shape)


def test_full_cover_is_not_remarked_upon() -> None:
    like = _scan(shape=(40, 40, 40), spacing=(1.1, 1.1, 1.1))
    found = resample_to(_scan(shape=(70, 70, 70)), like)
    assert found.note == "Resampled onto the grid of 'T1w'."


def test_partial_cover_is_said_and_the_rest_is_zero() -> None:
    scan, like = _scan(centre=(0, 30, 0)), _scan()
    found = resample_to(scan, like)
    assert "of that head" in found.note
    assert "hardly" not in found.note
    y = (np.arange(like.shape[1]) - 25.5)
    assert not found.data[:, y < 3.4].any()
    assert found.data[20:28, y > 4.6, 18:26].min() > 1


def test_hardly_any_cover_is_said() -> None:
    scan, like = _scan(centre=(0, 46, 0)), _scan()
    assert "hardly comparable" in resample_to(scan, like).note


def test_fields_of_view_that_do_not_overlap_are_refused() -> None:
    far = _scan(centre=(0, 0, 300), name="knee")
    far = Scan(far.data, far.affine, far.name, path="knee.nii.gz")
    with pytest.raises(GridError, match=r"knee.nii.gz: 'knee' does not overlap with 'T1w'.*256 mm"):
        resample_to(far, _scan())


def test_an_affine_without_volume_is_refused() -> None:
    flat = _scan()
    affine = flat.affine.copy()
    affine[:, 2] = 0
    with pytest.raises(GridError, match="no volume"):
        resample_to(flat, Scan(flat.data, affine, "flat"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_single_slices_whose_affines_differ_slightly(axis: int) -> None:
    shape = [60, 56, 52]
    shape[axis] = 1
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 4.0
    flat = _affine(shape=shape, spacing=spacing)
    like = Scan(_head(shape, flat, constant_along=axis), flat, "slice")
    moved = flat.copy()
    moved[axis, 3] += 2.5
    moved[(axis + 1) % 3, 3] += 0.5
    tilt = math.radians(1.5)
    moved[axis, (axis + 1) % 3] += math.sin(tilt)
    scan = Scan(_head(shape, moved, constant_along=axis), moved, "tilted slice")
    found = resample_to(scan, like)
    assert found.shape == like.shape
    assert np.abs(found.data - like.data)[like.data > 5].max() < 3


def test_parallel_slices_apart_by_more_than_their_thickness_are_refused() -> None:
    like = _scan(shape=(60, 56, 1), spacing=(1, 1, 4))
    apart = _scan(shape=(60, 56, 1), spacing=(1, 1, 4), centre=(0, 0, 4.5))
    with pytest.raises(GridError, match="does not overlap"):
        resample_to(apart, like)


def test_a_slice_takes_its_plane_from_a_volume() -> None:
    volume = _scan()
    like = _scan(shape=(40, 40, 1), spacing=(1, 1, 3), centre=(0, 0, 0.5))
    found = resample_to(volume, like)
    assert np.abs(found.data - like.data)[like.data > 5].max() < 3


def test_fine_detail_does_not_alias_on_a_coarse_grid() -> None:
    shape = (96, 16, 16)
    stripes = np.zeros(shape, np.float32)
    stripes[::2] = 1.0
    scan = Scan(stripes, _affine(shape=shape), "stripes")
    like = _scan(shape=(23, 16, 16), spacing=(4, 1, 1), centre=(0.5, 0, 0))
    assert set(np.unique(stripes[3::4])) == {0.0}
    found = resample_to(scan, like)
    assert np.abs(found.data[3:-3] - 0.5).max() < 0.02
    nearest = resample_to(scan, like, order=0)
    assert set(np.unique(nearest.data)) <= {0.0, 1.0}


def test_a_guessed_orientation_stays_a_guess() -> None:
    scan = _scan()
    guessed = Scan(scan.data, scan.affine, "guess", orientation_stated=False)
    like = _scan(shape=(30, 30, 30))
    assert not resample_to(guessed, like).orientation_stated
    assert resample_to(scan, like).orientation_stated
