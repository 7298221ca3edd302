"""Every voxel in its place: against another reader, and for any orientation and spacing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from crl_core.io import load
from crl_core.io.dicom import find_series, thumbnail
from tests.core.dicom.writing import (
    AXIAL,
    CORONAL,
    DOUBLE_OBLIQUE,
    SAGITTAL,
    by_dcm2niix,
    classic,
    disagreement,
    enhanced,
    volume,
)

ORIENTATIONS = {
    "axial": AXIAL,
    "coronal": CORONAL,
    "sagittal": SAGITTAL,
    "oblique": DOUBLE_OBLIQUE,
    "upside down": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
}


@pytest.mark.parametrize("gap", [4.0, -4.0], ids=["upwards", "downwards"])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_classic_series_against_dcm2niix(
    tmp_path: Path, orientation: tuple[float, ...], gap: float
) -> None:
    classic(tmp_path / "in", orientation=orientation, gap=gap)
    (image,) = by_dcm2niix(tmp_path / "in", tmp_path / "out")
    assert disagreement(load(tmp_path / "in"), image) == ""


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_enhanced_series_against_dcm2niix(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    enhanced(tmp_path / "in" / "a.dcm", orientation=orientation)
    (image,) = by_dcm2niix(tmp_path / "in", tmp_path / "out")
    assert disagreement(load(tmp_path / "in"), image) == ""


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_against_dcm2niix(tmp_path: Path, syntax: str) -> None:
    classic(tmp_path / "in", orientation=DOUBLE_OBLIQUE, syntax=syntax)
    (image,) = by_dcm2niix(tmp_path / "in", tmp_path / "out")
    assert disagreement(load(tmp_path / "in"), image) == ""


def rotation(q: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Return the rotation matrix of a quaternion."""
    w, x, y, z = np.array(q) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@settings(max_examples=25)
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
    spacing=st.tuples(*[st.floats(0.3, 3)] * 2),
    gap=st.floats(0.4, 8),
    origin=st.tuples(*[st.floats(-200, 200)] * 3),
    order=st.permutations(range(4)),
    frames=st.booleans(),
)
def test_any_orientation_and_spacing(
    quaternion: tuple[float, float, float, float],
    spacing: tuple[float, float],
    gap: float,
    origin: tuple[float, float, float],
    order: list[int],
    frames: bool,
) -> None:
    """The world position of a pixel follows the formula of the standard (PS3.3, C.7.6.2.1.1)."""
    turn = rotation(quaternion)
    orientation = [float(f"{v:.9f}") for v in (*turn[:, 0], *turn[:, 1])]
    rounded = tuple(float(f"{v:.6g}") for v in spacing)
    shape = {"columns": 6, "rows": 5, "slices": 4}
    geometry = {"orientation": orientation, "spacing": rounded, "gap": gap, "origin": origin}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if frames:
            enhanced(folder / "a.dcm", **shape, **geometry)
        else:
            for index, path in enumerate(classic(folder, **shape, **geometry)):
                path.rename(folder / f"{order[index]}.ima")
        scan = load(folder)
    expected = volume(**shape)
    normal = np.cross(orientation[:3], orientation[3:])
    for k, j, i in ((0, 0, 0), (3, 4, 5), (2, 1, 4), (1, 3, 0)):
        lps = (
            np.array(origin)
            + k * gap * normal
            + i * rounded[1] * np.array(orientation[:3])
            + j * rounded[0] * np.array(orientation[3:])
        )
        ras = lps * (-1, -1, 1)
        voxel = np.linalg.solve(scan.affine, [*ras, 1.0])[:3]
        assert voxel == pytest.approx((i, j, k), abs=1e-3)
        assert scan.data[i, j, k] == expected[k, j, i]
    assert np.linalg.det(scan.affine[:3, :3]) > 0


def test_positions_decide_not_names_numbers_or_thickness(tmp_path: Path) -> None:
    """Instance numbers run backwards, the stated spacing is wrong, the thickness too."""
    classic(
        tmp_path,
        gap=4.0,
        SpacingBetweenSlices="9",
        each=lambda k: {"InstanceNumber": 50 - k, "SliceThickness": "2"},
    )
    scan = load(tmp_path)
    assert scan.voxel_size == pytest.approx((1.25, 1.5, 4.0))
    assert np.array_equal(scan.data, volume(36, 40, 6).T)


def test_rounded_positions_are_no_gaps(tmp_path: Path) -> None:
    """Headers round positions to a hundredth of a millimetre."""
    classic(
        tmp_path,
        slices=12,
        gap=0.7071,
        each=lambda k: {"ImagePositionPatient": ["-20", "-30", f"{0.7071 * k:.2f}"]},
    )
    assert load(tmp_path).voxel_size[2] == pytest.approx(0.7071, abs=1e-3)


def test_one_slice_takes_its_thickness(tmp_path: Path) -> None:
    (path,) = classic(tmp_path, slices=1)
    scan = load(path)
    assert scan.shape == (36, 40, 1)
    assert scan.voxel_size == pytest.approx((1.25, 1.5, 3.0))
    assert scan.parameters is not None
    assert "One slice only" in scan.note


@pytest.mark.parametrize(("name", "orientation"), list(ORIENTATIONS.items())[:3])
def test_plane_is_named(tmp_path: Path, name: str, orientation: tuple[float, ...]) -> None:
    classic(tmp_path, orientation=orientation)
    assert find_series(tmp_path)[0].plane == name


def test_tilted_plane_is_called_oblique(tmp_path: Path) -> None:
    classic(tmp_path, orientation=DOUBLE_OBLIQUE)
    assert find_series(tmp_path)[0].plane == "oblique axial"


@pytest.mark.parametrize(
    ("orientation", "top", "left"),
    [
        (AXIAL, "anterior", "right"),
        ((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), "anterior", "right"),
        (CORONAL, "superior", "right"),
        (SAGITTAL, "superior", "anterior"),
    ],
)
def test_thumbnail_is_upright(
    tmp_path: Path, orientation: tuple[float, ...], top: str, left: str
) -> None:
    """A bright bar at one side of the patient appears at that side of the picture."""
    side = {"anterior": (0, -1, 0), "superior": (0, 0, 1), "right": (-1, 0, 0)}
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    for name, rows_or_columns in ((top, 0), (left, 1)):
        pixels = np.full((5, 40, 20), 100, np.uint16)
        towards_row, towards_column = row @ side[name], column @ side[name]
        if abs(towards_column) > 0.5:
            pixels[:, slice(-8, None) if towards_column > 0 else slice(8), :] = 3000
        else:
            pixels[:, :, slice(-4, None) if towards_row > 0 else slice(4)] = 3000
        folder = tmp_path / name
        classic(folder, slices=5, orientation=orientation, spacing=(1, 1), pixels=pixels)
        picture = thumbnail(find_series(folder)[0], size=40)
        assert picture.shape == (40, 20)
        assert 0 <= picture.min() <= picture.max() <= 1
        profile = picture.mean(axis=1 - rows_or_columns)
        assert profile[:2].mean() > 5 * profile[-2:].mean() + 0.1


def test_thumbnail_keeps_proportions_in_millimetres(tmp_path: Path) -> None:
    classic(tmp_path, rows=32, columns=64, spacing=(2.0, 1.0))
    assert thumbnail(find_series(tmp_path)[0], size=48).shape == (48, 48)
