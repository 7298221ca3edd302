"""Registration in space: planted movements are found, and what cannot be is refused."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crl_core.errors import Cancelled, GridError
from crl_core.preprocess.alignment import Alignment, rotation_degrees
from crl_core.preprocess.backends import Level, Volume
from crl_core.preprocess.itk import SimpleItk, _matrix, _transform
from crl_core.preprocess.registration3d import align, register_scan
from crl_core.preprocess.resample import sampled
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES
from tests.core.doctor_data import head, scan_of

SHAPE = (84, 96, 40)
AFFINE = np.array([[-2.0, 0, 0, 84], [0, 2.0, 0, -96], [0, 0, 3.0, -60], [0, 0, 0, 1]])
TISSUE = head(5, SHAPE)
GRIDS = {
    "axial, thick slices": ((72, 80, 26), np.diag([2.3, 2.3, 4.6]), np.eye(3)),
    "sagittal, flipped": (
        (30, 90, 60),
        np.diag([4.2, 2.1, 2.1]),
        np.array([[1.0, 0, 0], [0, 0, -1], [0, -1, 0]]),
    ),
}


def _pose(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> NDArray:
    """Return a movement of the head: turned about x, y and z, then shifted, RAS+ mm."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = (other for other in range(3) if other != axis)
        turn = np.eye(4)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = shift
    return matrix


def _still(paper: int = 7) -> Scan:
    return replace(scan_of(TISSUE, PAPER_SEQUENCES[paper], 1), affine=AFFINE, name="still")


def _moved(matrix: NDArray, grid: str = "axial, thick slices", paper: int = 3) -> Scan:
    """Return another contrast of the head after `matrix` moved it, acquired on another grid."""
    shape, sizes, turn = GRIDS[grid]
    affine = np.eye(4)
    affine[:3, :3] = turn @ sizes
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    whole = scan_of(TISSUE, PAPER_SEQUENCES[paper], 2)
    to_head = np.linalg.inv(AFFINE) @ np.linalg.inv(matrix) @ affine
    data, _ = sampled(whole.data, to_head, shape)
    noise = np.random.default_rng(8).normal(0, 6, shape)
    return replace(whole, data=np.abs(data + noise).astype(np.float32), affine=affine, name="moved")


def _align(moving: Scan, fixed: Scan, **options: object) -> Alignment:
    volumes = (Volume(scan.data, scan.affine) for scan in (moving, fixed))
    return align(*volumes, **options)  # type: ignore[arg-type]


def _error_mm(found: NDArray, planted: NDArray) -> tuple[float, float]:
    points = np.argwhere(TISSUE > 0)[::37]
    world = AFFINE @ np.c_[points, np.ones(len(points))].T
    apart = np.linalg.norm(((found - planted) @ world)[:3], axis=0)
    return float(apart.mean()), float(apart.max())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("turn", "shift"),
    [((4.0, -3.0, 7.0), (5.0, -6.0, 4.0)), ((0.0, 0.0, 0.0), (70.0, -30.0, 25.0))],
)
def test_a_planted_movement_is_found(grid: str, turn: tuple, shift: tuple) -> None:
    planted = _pose(turn, shift)
    moving = _moved(planted, grid)
    # A table that moved between the scans moves the frame of the second along.
    if max(np.abs(shift)) > 50:
        moving = replace(_moved(np.eye(4), grid))
        moving = replace(moving, affine=planted @ moving.affine)
    found = _align(moving, _still())
    assert (found.kind, found.problem) == ("rigid", "")
    mean, most = _error_mm(found.matrix, planted)
    assert mean < 0.35
    assert most < 0.8
    assert found.score > found.score_before
    assert found.rotation == pytest.approx(rotation_degrees(planted[:3, :3]), abs=0.6)


def test_a_head_turned_far_is_found_by_the_second_round() -> None:
    planted = _pose((29.0, 0.0, 10.0), (0.0, 0.0, 0.0))
    found = _align(_moved(planted), _still())
    assert found.start == "centres of the heads, turned"
    assert not found.problem
    assert _error_mm(found.matrix, planted)[0] < 0.5


def test_a_planted_stretch_is_found_by_affine_alone() -> None:
    planted = _pose((2.0, 0.0, -3.0), (3.0, 2.0, -2.0)) @ np.diag([1.02, 0.985, 1.0, 1.0])
    moving = _moved(planted)
    found = _align(moving, _still(), kind="affine")
    assert found.kind == "affine"
    assert found.stretch == pytest.approx(0.02, abs=0.008)
    # The rotation and shift alone, as well as they could be known, are farther off.
    best_rigid = _pose((2.0, 0.0, -3.0), (3.0, 2.0, -2.0))
    assert _error_mm(found.matrix, planted)[0] < 0.4 < _error_mm(best_rigid, planted)[0]


def test_scans_that_lie_on_each_other_are_left_alone() -> None:
    other = replace(scan_of(TISSUE, PAPER_SEQUENCES[3], 4), affine=AFFINE)
    found = _align(other, _still(), kind="affine")
    assert found.kind == "none"
    assert found.remark
    np.testing.assert_array_equal(found.matrix, np.eye(4))


def test_the_same_scans_give_the_same_bytes() -> None:
    moving = _moved(_pose((3.0, 1.0, -4.0), (2.0, 5.0, 1.0)))
    first, second = (_align(moving, _still()) for _ in range(2))
    np.testing.assert_array_equal(first.matrix, second.matrix)


@pytest.mark.parametrize("what", ["empty", "elsewhere", "slab"])
def test_what_is_not_the_same_head_is_refused(what: str) -> None:
    fixed = _still()
    moving = _moved(np.eye(4))
    rng = np.random.default_rng(3)
    if what == "empty":
        moving = replace(moving, data=np.zeros_like(moving.data))
    elif what == "elsewhere":
        # A leg: a long round thing, far from the head of the header.
        x, y, _ = np.indices(moving.shape)
        leg = 400.0 * (np.hypot(x - 36, y - 40) < 14) + rng.rayleigh(4, moving.shape)
        moving = replace(moving, data=leg.astype(np.float32))
    else:
        affine = moving.affine.copy()
        affine[:3, 3] = (moving.affine @ [0, 0, 18, 1])[:3]
        moving = replace(moving, data=moving.data[:, :, 18:], affine=affine)
    if what == "empty":
        assert "no head" in _align(moving, fixed).remark
        return
    assert _align(moving, fixed).problem
    with pytest.raises(GridError, match="cannot be registered to 'still'"):
        register_scan(moving, fixed)


def test_few_slices_keep_the_geometry_of_the_headers() -> None:
    moving = _moved(_pose((2.0, 0.0, 0.0), (1.0, 0.0, 0.0)))
    affine = moving.affine.copy()
    affine[:3, 3] = (moving.affine @ [0, 0, 12, 1])[:3]
    few = replace(moving, data=moving.data[:, :, 12:15], affine=affine)
    found = _align(_still(), few)
    assert (found.kind, found.remark) == ("none", "3 slices, too few to register")


def test_registering_stops_when_it_is_no_longer_wanted() -> None:
    moving, asked = _moved(_pose((3.0, 0.0, 0.0), (4.0, 0.0, 0.0))), itertools.count()
    with pytest.raises(Cancelled):
        register_scan(moving, _still(), cancelled=lambda: next(asked) > 8)
    assert next(asked) < 30


def test_a_registered_scan_lies_on_the_other_and_says_how() -> None:
    fixed = _still()
    moving = replace(_moved(_pose((4.0, -3.0, 7.0), (5.0, -6.0, 4.0))), note="Simulated.")
    found = register_scan(moving, fixed).scan
    assert found.same_grid(fixed)
    assert found.parameters == moving.parameters
    assert found.note.startswith("Simulated. Registered to 'still': rigid, ")
    truth = scan_of(TISSUE, PAPER_SEQUENCES[3], 2).data
    inside = fixed.mask & (found.data > 0)
    assert np.corrcoef(found.data[inside], truth[inside])[0, 1] > 0.92
    before, _ = sampled(moving.data, np.linalg.inv(moving.affine) @ fixed.affine, fixed.shape)
    assert np.corrcoef(before[inside], truth[inside])[0, 1] < 0.8


@settings(max_examples=40)
@given(
    degrees=st.tuples(*[st.floats(-60, 60)] * 3),
    shift=st.tuples(*[st.floats(-200, 200)] * 3),
    centre=st.tuples(*[st.floats(-2, 2)] * 3),
    stretch=st.tuples(*[st.floats(0.9, 1.1)] * 3),
)
def test_a_matrix_passes_through_the_library_unchanged(degrees, shift, centre, stretch) -> None:
    rigid = _pose(degrees, shift)
    affine = rigid @ np.diag([*stretch, 1.0])
    for matrix, kind in ((rigid, "rigid"), (affine, "affine")):
        again = _matrix(_transform(matrix, kind, np.array(centre)))
        np.testing.assert_allclose(again, matrix, atol=1e-9)


def test_a_sheared_grid_is_registered_as_it_lies() -> None:
    """A tilted gantry shears the voxels, not the head."""
    planted = _pose((3.0, -2.0, 5.0), (4.0, 3.0, -2.0))
    shape, sizes, turn = GRIDS["axial, thick slices"]
    affine = np.eye(4)
    affine[:3, :3] = turn @ sizes
    affine[1, 2] = 1.2  # each slice a little farther forward
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    whole = scan_of(TISSUE, PAPER_SEQUENCES[3], 2)
    to_head = np.linalg.inv(AFFINE) @ np.linalg.inv(planted) @ affine
    data, _ = sampled(whole.data, to_head, shape)
    moving = Scan(data, affine, "tilted")
    assert _error_mm(_align(moving, _still()).matrix, planted)[0] < 0.4


def test_one_level_alone_climbs_towards_the_truth() -> None:
    """The library is asked through the interface, as a second one would be."""
    planted = _pose((0.0, 0.0, 3.0), (3.0, 0.0, 0.0))
    moving, fixed = _moved(planted), _still()
    volumes = (Volume(scan.data, scan.affine) for scan in (fixed, moving))
    never = bool
    found = SimpleItk().register(
        *volumes, fixed.mask, np.eye(4), "rigid", Level(3.0, 20_000), never
    )
    assert _error_mm(found, planted)[0] < 0.5 < _error_mm(np.eye(4), planted)[0]
