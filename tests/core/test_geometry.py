"""Display orientation: whatever the file's axes are, the letters tell the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_core.errors import GridError
from crl_core.geometry import SlicePlane, position_text

DIRECTION = {
    "R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1),
}  # fmt: skip
STEP = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}


def rotation(rx: float, ry: float, rz: float) -> np.ndarray:
    cx, cy, cz = np.cos([rx, ry, rz])
    sx, sy, sz = np.sin([rx, ry, rz])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def make_affine(order, signs, zooms, angles=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)) -> np.ndarray:
    axes = np.zeros((3, 3))
    for array_axis, world_axis in enumerate(order):
        axes[world_axis, array_axis] = signs[array_axis]
    affine = np.eye(4)
    affine[:3, :3] = rotation(*angles) @ axes @ np.diag(zooms)
    affine[:3, 3] = shift
    return affine


ANGLE = st.floats(-np.pi, np.pi)
AFFINES = st.builds(
    make_affine,
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from((-1, 1))] * 3),
    st.tuples(*[st.floats(0.2, 6.0)] * 3),
    st.tuples(ANGLE, ANGLE, ANGLE),
    st.tuples(*[st.floats(-200, 200)] * 3),
)
PLANES = st.builds(
    SlicePlane, AFFINES, st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2)
)


@given(PLANES, st.data())
@settings(max_examples=200, deadline=None)
def test_positions_survive_the_round_trip(plane: SlicePlane, data) -> None:
    voxel = tuple(data.draw(st.integers(0, n - 1)) for n in plane.shape)
    col, row, index = plane.from_voxel(*voxel)
    rows, cols = plane.shape_display
    assert 0 <= col < cols
    assert 0 <= row < rows
    assert 0 <= index < plane.n_slices
    assert plane.to_voxel(col, row, index) == voxel


@given(PLANES, st.data())
@settings(max_examples=200, deadline=None)
def test_a_bright_voxel_lights_up_where_the_plane_says(plane: SlicePlane, data) -> None:
    voxel = tuple(data.draw(st.integers(0, n - 1)) for n in plane.shape)
    volume = np.zeros(plane.shape, np.float32)
    volume[voxel] = 1
    col, row, index = plane.from_voxel(*voxel)
    shown = plane.to_display(np.take(volume, index, axis=plane.axis))
    assert shown.shape == plane.shape_display
    assert np.argwhere(shown).tolist() == [[row, col]]
    np.testing.assert_array_equal(
        plane.from_display(shown), np.take(volume, index, axis=plane.axis)
    )


@given(PLANES)
@settings(max_examples=300, deadline=None)
def test_a_step_towards_a_letter_goes_that_way_in_the_body(plane: SlicePlane) -> None:
    here = np.array(plane.to_world(2, 3, 1))
    for side, (dx, dy) in STEP.items():
        moved = np.array(plane.to_world(2 + dx, 3 + dy, 1)) - here
        world_axis, sign = DIRECTION[plane.labels[side]]
        assert moved[world_axis] * sign > 0
    assert sorted(plane.labels.values()) in (list("ALPR"), list("ILRS"), list("AIPS"))
    step = np.array(plane.to_world(3, 3, 1)) - here
    assert np.linalg.norm(step) == pytest.approx(plane.spacing[0])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((-1, 1), repeat=3)))
def test_every_upright_file_gets_the_radiological_view(order, signs) -> None:
    affine = make_affine(order, signs, (1.0, 2.0, 3.0))
    views = {
        0: ("Sagittal", "A", "P", "S", "I"),
        1: ("Coronal", "R", "L", "S", "I"),
        2: ("Axial", "R", "L", "A", "P"),
    }
    for axis in range(3):
        plane = SlicePlane(affine, (4, 5, 6), axis)
        found = (plane.name, *(plane.labels[s] for s in ("left", "right", "top", "bottom")))
        assert found == views[order[axis]]
        assert plane.slice_spacing == axis + 1


@given(
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from((-1, 1))] * 3),
    st.tuples(*[st.floats(-0.3, 0.3)] * 3),
)
@settings(max_examples=100, deadline=None)
def test_a_tilt_of_a_few_degrees_changes_no_letter(order, signs, angles) -> None:
    straight = SlicePlane(make_affine(order, signs, (1, 1, 1)), (4, 5, 6), 2)
    tilted = SlicePlane(make_affine(order, signs, (1, 1, 1), angles), (4, 5, 6), 2)
    assert tilted.labels == straight.labels
    assert tilted.name == straight.name


def test_a_guessed_orientation_gets_no_letters_but_the_same_picture() -> None:
    affine = make_affine((0, 1, 2), (1, 1, 1), (1, 1, 1))
    stated = SlicePlane(affine, (4, 5, 1), 2)
    guessed = SlicePlane(affine, (4, 5, 1), 2, orientation_stated=False)
    assert set(guessed.labels.values()) == {""}
    picture = np.arange(20).reshape(4, 5)
    np.testing.assert_array_equal(guessed.to_display(picture), stated.to_display(picture))


def test_the_foreground_box_covers_whole_pixels() -> None:
    plane = SlicePlane(make_affine((0, 1, 2), (-1, -1, 1), (0.5, 2.0, 3.0)), (10, 8, 4), 2)
    mask = np.zeros(plane.shape_display, bool)
    mask[2:5, 3:9] = True
    assert plane.foreground_mm(mask) == (1.5, 4.0, 3.0, 6.0)
    assert plane.foreground_mm(np.zeros_like(mask)) == (0.0, 0.0, *plane.size_mm)
    assert plane.size_mm == (5.0, 16.0)


def test_impossible_planes_are_refused() -> None:
    flat = np.eye(4)
    flat[:3, 1] = flat[:3, 0]
    with pytest.raises(GridError, match="plane"):
        SlicePlane(flat, (4, 5, 6), 0)
    with pytest.raises(GridError, match="finite"):
        SlicePlane(np.full((4, 4), np.nan), (4, 5, 6), 0)
    with pytest.raises(GridError, match="axis 3"):
        SlicePlane(np.eye(4), (4, 5, 6), 3)
    plane = SlicePlane(np.eye(4), (4, 5, 6), 2)
    with pytest.raises(GridError, match="not of the plane"):
        plane.to_display(np.zeros((5, 4)))
    with pytest.raises(GridError, match="picture"):
        plane.from_display(np.zeros((4, 5)))


def test_positions_read_as_directions() -> None:
    assert position_text((12.44, -31.0, 0.0)) == "R 12.4  P 31.0  S 0.0 mm"
    assert position_text((-12.44, 31.0, -18.0)) == "L 12.4  A 31.0  I 18.0 mm"
