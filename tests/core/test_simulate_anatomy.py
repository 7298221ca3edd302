"""Label maps in, and what is filled into them: nothing known is changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import io as scipy_io

from crl_core import io
from crl_core.errors import InputError
from crl_core.physics.anatomy import brain_mask, detailed, refined
from crl_core.physics.labels import (
    BRAINWEB,
    BRAINWEB_GREYS,
    WHOLE_HEAD,
    LabelMap,
    cropped,
    read_label_map,
    read_meaning,
    recognise,
    to_ras,
    to_tissues,
)
from crl_core.physics.lesions import Inclusions, add_inclusions, add_mass, add_ms
from crl_core.physics.tissues import tissue_index
from crl_core.scan import Scan


def head(size: int = 96) -> NDArray[np.int32]:
    """A head of balls at 2 mm: skin, soft tissue, bone, fluid, two hemispheres, two ventricles."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    labels = np.zeros(r.shape, np.int32)
    shells = ((0.95, 511), (0.91, 507), (0.75, 515), (0.70, 24))
    for edge, label in shells:
        labels[r < edge] = label
    for side, (grey, white, ventricle) in ((-1, (3, 2, 4)), (1, (42, 41, 43))):
        half = np.sqrt((x - 0.04 * side) ** 2 + y**2 + z**2)
        mine = (x * side > 0.03) & (half < 0.64)
        labels[mine] = grey
        labels[mine & (half < 0.56)] = white
        labels[((x - 0.16 * side) / 0.08) ** 2 + (y / 0.2) ** 2 + (z / 0.14) ** 2 < 1] = ventricle
    labels[48, 90, 20] = 0
    labels[48, 48, 82] = 0  # a speck of nothing inside the bone
    return labels


HEAD = head()


def as_map(labels: NDArray[np.int32] = HEAD, voxel: float = 2.0) -> LabelMap:
    affine = np.diag([voxel, voxel, voxel, 1.0])
    return LabelMap(labels, affine, to_tissues(labels), WHOLE_HEAD)


DETAILED = detailed(as_map(), np.random.default_rng(1))


# reading -----------------------------------------------------------------------------------------


def test_turning_to_ras_keeps_world_coordinates() -> None:
    volume = np.arange(24).reshape(2, 3, 4)
    affine = np.array([[0, 0, -2.0, 9], [-3, 0, 0, 5], [0, 4, 0, -1], [0, 0, 0, 1]])
    turned, new = to_ras(volume, affine)
    assert (np.diag(new[:3, :3]) > 0).all()
    for index in ((0, 0, 0), (1, 2, 3), (1, 0, 2)):
        world = affine @ [*index, 1]
        there = np.rint(np.linalg.inv(new) @ world)[:3].astype(int)
        assert turned[tuple(there)] == volume[index]


@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3))
@settings(deadline=None, max_examples=24)
def test_any_order_and_direction_of_axes_becomes_the_same_map(order, signs) -> None:
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 50, size=(4, 5, 6))
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        step[old, new] = sign
        step[old, 3] = 0 if sign > 0 else volume.shape[old] - 1
    moved = volume.transpose(order)[tuple(slice(None, None, s) for s in signs)]
    turned, back = to_ras(moved, affine @ step)
    np.testing.assert_array_equal(turned, volume)
    np.testing.assert_allclose(back, affine)


def test_the_numbering_is_recognised_by_the_labels_themselves() -> None:
    assert recognise(np.array([0, 1, 2, 3, 7])) is BRAINWEB
    assert recognise(np.array([0, 2, 3, 4])) is WHOLE_HEAD  # FreeSurfer has no 1
    assert recognise(np.array([0, 23, 46, 70, 255])) is BRAINWEB_GREYS
    assert recognise(np.array([0, 2, 41, 507])) is WHOLE_HEAD


def test_a_brainweb_volume_in_a_matlab_file_is_read_with_a_note(tmp_path: Path) -> None:
    labels = np.zeros((40, 30, 20), np.uint8)  # front to back, left to right, top to bottom
    labels[5:35, 5:25, 2:18] = 7
    labels[8:32, 8:22, 4:16] = 1
    labels[10:30, 10:20, 5:15] = 2
    labels[12:28, 11:19, 6:14] = 3
    labels[6, 6, 3] = 4
    path = tmp_path / "phantom.mat"
    scipy_io.savemat(path, {"Anatomy": labels, "more": np.zeros((3, 3))})
    found = read_label_map(path)
    assert found.scheme is BRAINWEB
    assert found.tissues.shape == (30, 40, 20)
    assert found.tissues[15, 20, 10] == tissue_index("white matter")
    # The lone voxel at the front, the left edge and the top ends there in RAS too.
    assert found.tissues[6, 40 - 1 - 6, 20 - 1 - 3] == tissue_index("fat")
    assert any("1 mm assumed" in note for note in found.notes)
    assert any("left is not stated" in note for note in found.notes)


def test_a_matlab_slice_takes_the_axial_one(tmp_path: Path) -> None:
    plane = np.zeros((60, 50), np.int32)
    plane[10:50, 10:40] = 23
    plane[15:45, 15:35] = 46
    plane[20:40, 20:30] = 70
    path = tmp_path / "slices.mat"
    scipy_io.savemat(path, {"coronal": np.ones((90, 90), np.int32), "axial": plane})
    found = read_label_map(path)
    assert found.scheme is BRAINWEB_GREYS
    assert found.tissues.shape == (50, 60, 1)
    assert np.linalg.norm(found.affine[:3, 0]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"words": np.array(["a", "b"], dtype=object)}, "no numeric array"),
        ({"small": np.ones((4, 4))}, "no numeric array"),
    ],
)
def test_matlab_files_without_a_map_are_refused(tmp_path: Path, content, message) -> None:
    path = tmp_path / "other.mat"
    scipy_io.savemat(path, content)
    with pytest.raises(InputError, match=rf"other\.mat.*{message}"):
        read_label_map(path)


@pytest.mark.parametrize("damage", [b"", b"MATLAB 5.0 MAT-file" + bytes(300), b"\x89HDF\r\n" * 99])
def test_damaged_matlab_files_are_refused_in_one_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "broken.mat"
    path.write_bytes(damage)
    with pytest.raises(InputError) as refused:
        read_label_map(path)
    assert "broken.mat" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_table_of_the_users_own_gives_labels_their_meaning(tmp_path: Path) -> None:
    table = tmp_path / "map.json"
    table.write_text(json.dumps({"11": "white matter", "12": "cerebrospinal fluid", "0": "air"}))
    volume = np.zeros((8, 8, 8), np.float32)
    volume[2:6], volume[6:] = 11, 12
    path = tmp_path / "own.nii.gz"
    io.save(Scan(volume, np.eye(4), "own"), path)
    found = read_label_map(path, read_meaning(table))
    assert set(np.unique(found.tissues).tolist()) == {
        0, tissue_index("white matter"), tissue_index("cerebrospinal fluid")
    }  # fmt: skip
    assert not found.soft.any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"1": "brain"}, "'brain' is no tissue"),
        ({"one": "white matter"}, "'one' is no label"),
        ({"-1": "white matter"}, "'-1' is no label"),
        ({}, "names no label"),
        ({"1": 7}, "no tissue"),
    ],
)
def test_wrong_tables_are_refused_with_the_entry(tmp_path: Path, content, message) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_meaning(path)


def test_a_map_is_cut_to_its_head_and_stays_in_place() -> None:
    found = as_map()
    tight = cropped(found, margin=1)
    assert tight.tissues.shape[0] < found.tissues.shape[0]
    index = np.argwhere(tight.labels == 4)[0]
    world = tight.affine @ [*index, 1]
    there = np.rint(np.linalg.inv(found.affine) @ world)[:3].astype(int)
    assert found.labels[tuple(there)] == 4


# detail ------------------------------------------------------------------------------------------


def test_only_soft_tissue_fluid_and_specks_are_changed() -> None:
    before = to_tissues(HEAD)
    changed = before != DETAILED
    allowed = {tissue_index(n) for n in ("air", "fat", "cerebrospinal fluid")}
    assert set(np.unique(before[changed]).tolist()) <= allowed
    assert (DETAILED[HEAD == 24] == tissue_index("cerebrospinal fluid")).mean() > 0.85


def test_specks_inside_are_filled_and_air_outside_is_not() -> None:
    assert DETAILED[48, 48, 82] == tissue_index("compact bone")
    assert DETAILED[0, 0, 0] == 0
    outside = np.indices(HEAD.shape) - 47.5
    assert not DETAILED[np.sqrt((outside**2).sum(axis=0)) > 47].any()


def test_fat_lies_under_the_skin_and_muscle_deeper_and_lower() -> None:
    soft = HEAD == 507
    fat, muscle = (tissue_index(n) == DETAILED for n in ("fat", "muscle"))
    assert soft[fat].all()
    assert soft[muscle].all()
    r = np.sqrt(((np.indices(HEAD.shape) - 47.5) ** 2).sum(axis=0))
    top, bottom = np.s_[:, :, 75:], np.s_[:, :, :25]
    assert np.median(r[bottom][fat[bottom]]) > np.median(r[bottom][muscle[bottom]]) + 1
    assert muscle[top].sum() == 0
    assert muscle[bottom].sum() > 0.2 * soft[bottom].sum()


def test_a_membrane_parts_the_hemispheres_within_the_fluid() -> None:
    membrane = (tissue_index("dura and fascia") == DETAILED) & (HEAD == 24)
    where = np.argwhere(membrane)
    inner = where[np.linalg.norm(where - 47.5, axis=1) < 20]
    assert len(inner) > 100
    assert np.abs(inner[:, 0] - 47.5).max() < 3


def test_vessels_wander_in_the_fluid_only() -> None:
    vessels = np.isin(DETAILED, [tissue_index("arterial blood"), tissue_index("venous blood")])
    assert vessels.sum() > 50
    assert (HEAD[vessels] == 24).all()
    other = detailed(as_map(), np.random.default_rng(2))
    assert not np.array_equal(other, DETAILED)
    again = detailed(as_map(), np.random.default_rng(1))
    np.testing.assert_array_equal(again, DETAILED)


def test_the_fine_grid_keeps_volumes_and_smooths_borders() -> None:
    fine = refined(DETAILED, np.random.default_rng(0))
    assert fine.shape == (192, 192, 96)
    assert set(np.unique(fine).tolist()) <= set(np.unique(DETAILED).tolist())
    for name in ("white matter", "compact bone", "cerebrospinal fluid", "ventricular fluid"):
        row = tissue_index(name)
        coarse = np.count_nonzero(row == DETAILED)
        assert np.count_nonzero(fine == row) / 4 == pytest.approx(coarse, rel=0.06), name
    # A staircase has more border than the smooth outline: count changes along diagonals.
    plain = DETAILED.repeat(2, axis=0).repeat(2, axis=1)[:, :, 48] > 0
    smooth = fine[:, :, 48] > 0
    corners = [
        np.count_nonzero(m[1:-1, 1:-1] & ~m[:-2, 1:-1] & ~m[1:-1, :-2]) for m in (plain, smooth)
    ]
    assert corners[1] > 0
    assert smooth.sum() == pytest.approx(plain.sum(), rel=0.01)


# inclusions --------------------------------------------------------------------------------------

VOXEL = (2.0, 2.0, 2.0)


def test_ms_lesions_lie_in_white_matter_and_cluster_around_the_ventricles() -> None:
    found = Inclusions.none(DETAILED.shape)
    add_ms(np.random.default_rng(3), DETAILED, VOXEL, found, count=60)
    there = found.kind > 0
    white = tissue_index("white matter") == DETAILED
    assert set(np.unique(found.kind[there]).tolist()) == {tissue_index("white matter lesion")}
    assert white[there].all()
    from scipy import ndimage

    away = ndimage.distance_transform_edt(tissue_index("ventricular fluid") != DETAILED, sampling=2)
    near = (away < 8) & white
    density = [there[m].mean() for m in (near, white & ~near)]
    assert density[0] > 2 * density[1]


def test_lesions_have_extent_in_all_three_directions_and_soft_rims() -> None:
    found = Inclusions.none(DETAILED.shape)
    add_ms(np.random.default_rng(4), DETAILED, VOXEL, found, count=25)
    from scipy import ndimage

    parts, count = ndimage.label(found.weight > 0.5)
    sizes = [tuple(s.stop - s.start for s in box) for box in ndimage.find_objects(parts)]
    assert count > 8
    assert sum(min(size) >= 2 for size in sizes) > 0.5 * count
    mean = np.array(sizes, float).mean(axis=0)
    assert mean.max() < 2.0 * mean.min()
    soft = (found.weight > 0) & (found.weight < 1)
    assert soft.sum() > 0.3 * (found.weight > 0).sum()


def test_a_tumour_is_uneven_has_a_core_and_oedema_that_spares_the_cortex() -> None:
    for seed in range(40):  # the first large enough for a core
        found = Inclusions.none(DETAILED.shape)
        add_mass(np.random.default_rng(seed), DETAILED, VOXEL, found)
        if (found.kind == tissue_index("necrosis")).sum() > 60:
            break
    tumour, core, oedema = (found.kind == tissue_index(n) for n in ("glioma", "necrosis", "oedema"))
    assert tumour.sum() > 200
    assert core.sum() < tumour.sum() + core.sum()
    assert (DETAILED[oedema] == tissue_index("white matter")).all()
    middle = np.argwhere(tumour | core).mean(axis=0)

    def far(mask: NDArray[np.bool_]) -> float:
        return float(np.linalg.norm(np.argwhere(mask) - middle, axis=1).mean())

    assert far(core) < far(tumour) < far(oedema)
    assert found.weight[tumour].std() > 0.03
    assert brain_mask(DETAILED)[tumour].all()


def test_each_kind_asked_for_is_there_and_no_other() -> None:
    names = {"ms": "white matter lesion", "oedema": "oedema", "tumour": "glioma"}
    for kind, name in names.items():
        found = add_inclusions(np.random.default_rng(5), DETAILED, VOXEL, [kind])
        rows = set(np.unique(found.kind).tolist())
        assert tissue_index(name) in rows
        if kind != "tumour":
            assert rows == {0, tissue_index(name)}
    assert not add_inclusions(np.random.default_rng(5), DETAILED, VOXEL, []).any


def test_shapes_do_not_depend_on_the_grid() -> None:
    """The same draw on a map of half the voxel size has about the same volume in mm^3."""
    fine = DETAILED.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    volumes = []
    for tissues, mm in ((DETAILED, 2.0), (fine, 1.0)):
        total = 0.0
        for seed in range(4):
            found = Inclusions.none(tissues.shape)
            add_ms(np.random.default_rng(seed), tissues, (mm,) * 3, found, count=20)
            total += float(found.weight.sum()) * mm**3
        volumes.append(total)
    assert volumes[0] == pytest.approx(volumes[1], rel=0.35)
