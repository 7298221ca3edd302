"""NIfTI files: geometry and numbers survive, damage is refused in one line."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_core.errors import InputError, OutputError
from crl_core.io import atomic_path, load, save
from crl_core.scan import Origin, Scan
from crl_core.sequence import SequenceParameters

AFFINE = np.array([[-0.72, 0, 0, 110], [0, 0.72, 0, -120], [0, 0, 3.0, -40], [0, 0, 0, 1.0]])


def volume(shape: tuple[int, ...] = (7, 6, 5), dtype: Any = np.int16) -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) % 120).astype(dtype)


def make(path: Path, data: np.ndarray, affine: np.ndarray | None = AFFINE, **header: Any) -> Path:
    image = nib.Nifti1Image(data, affine)
    for key, value in header.items():
        image.header[key] = value
    image.to_filename(path)
    return path


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any order and direction of axes, anisotropic voxels, an oblique turn, any origin."""
    order = draw(st.permutations([0, 1, 2]))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    sizes = draw(st.tuples(*[st.floats(0.2, 6.0)] * 3))
    a, b = draw(st.tuples(*[st.floats(-0.6, 0.6)] * 2))
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn_z @ turn_x @ np.eye(3)[:, order] @ np.diag(np.multiply(signs, sizes))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return affine.astype(np.float32).astype(np.float64)


@given(
    affine=affines(),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    ending=st.sampled_from([".nii", ".nii.gz"]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_round_trip_keeps_affine_and_values(
    tmp_path_factory: pytest.TempPathFactory,
    affine: np.ndarray,
    shape: tuple[int, int, int],
    ending: str,
    seed: int,
) -> None:
    data = np.random.default_rng(seed).normal(0, 1e4, shape).astype(np.float32)
    path = tmp_path_factory.mktemp("trip") / f"scan{ending}"
    save(Scan(data, affine, "x"), path)
    back = load(path)
    np.testing.assert_array_equal(back.data, data)
    np.testing.assert_array_equal(back.affine, affine)
    assert back.orientation_stated
    # An independent reader that prefers the qform sees the same place.
    header = nib.load(path).header
    corners = np.array([[0, 0, 0, 1], [*shape, 1]], dtype=float).T
    np.testing.assert_allclose(header.get_qform() @ corners, affine @ corners, atol=0.02)


@given(
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]),
    slope=st.floats(0.001, 50),
    inter=st.floats(-2000, 2000),
    big_endian=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_scaled_types_read_as_slope_times_stored_plus_intercept(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: Any,
    slope: float,
    inter: float,
    big_endian: bool,
) -> None:
    stored = volume(dtype=dtype)
    order = ">" if big_endian else "<"
    header = nib.Nifti1Header(endianness=order)
    header.set_data_shape(stored.shape)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    header.set_sform(AFFINE, code=1)
    header["scl_slope"], header["scl_inter"] = slope, inter
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path_factory.mktemp("scaled") / "a.nii"
    voxels = stored.astype(np.dtype(dtype).newbyteorder(order)).tobytes(order="F")
    path.write_bytes(header.binaryblock + bytes(4) + voxels)
    expected = stored * np.float64(np.float32(slope)) + np.float64(np.float32(inter))
    np.testing.assert_allclose(load(path).data, expected, rtol=1e-6, atol=1e-4)


def test_sheared_affine_is_kept(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[0, 1] = 0.3
    affine = affine.astype(np.float32).astype(np.float64)
    save(Scan(volume().astype(np.float32), affine, "x"), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(load(tmp_path / "a.nii.gz").affine, affine)
    assert nib.load(tmp_path / "a.nii.gz").header["qform_code"] == 0


def test_two_dimensions_become_one_slice(tmp_path: Path) -> None:
    scan = load(make(tmp_path / "a.nii", volume((8, 9))))
    assert scan.shape == (8, 9, 1)
    assert scan.n_slices == 1
    np.testing.assert_array_equal(scan.data[:, :, 0], volume((8, 9)))


def test_four_dimensions_pick_a_volume(tmp_path: Path) -> None:
    data = volume((4, 5, 3, 6))
    path = make(tmp_path / "a.nii.gz", data)
    np.testing.assert_array_equal(load(path, volume=4).data, data[..., 4])
    first = load(path)
    np.testing.assert_array_equal(first.data, data[..., 0])
    assert "Volume 0 of 6" in first.note
    with pytest.raises(InputError, match="has no volume 6: it holds 6"):
        load(path, volume=6)


def test_five_dimensions_count_volumes_in_file_order(tmp_path: Path) -> None:
    data = volume((4, 5, 3, 2, 3))
    path = make(tmp_path / "a.nii", data)
    np.testing.assert_array_equal(load(path, volume=3).data, data[..., 1, 1])


def test_nifti_2_is_read(tmp_path: Path) -> None:
    nib.Nifti2Image(volume(), AFFINE).to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(load(tmp_path / "a.nii.gz").data, volume())


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    plain = make(tmp_path / "a.nii", volume()).read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(plain)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(plain))
    for name in ("plain.nii.gz", "packed.nii"):
        np.testing.assert_array_equal(load(tmp_path / name).data, volume())


def test_not_a_number_becomes_zero_and_is_told(tmp_path: Path) -> None:
    data = volume(dtype=np.float32)
    data[0, 0, 0], data[1, 1, 1] = np.nan, np.inf
    scan = load(make(tmp_path / "a.nii.gz", data))
    assert scan.data[0, 0, 0] == 0
    assert scan.data[1, 1, 1] == 0
    assert np.isfinite(scan.data).all()
    assert "2 voxels that were not a finite number set to 0" in scan.note


def test_unstated_orientation_is_marked_and_stays_unstated(tmp_path: Path) -> None:
    path = make(tmp_path / "a.nii", volume(), None)
    scan = load(path)
    assert not scan.orientation_stated
    save(scan, tmp_path / "b.nii.gz")
    back = load(tmp_path / "b.nii.gz")
    assert not back.orientation_stated
    assert back.same_grid(scan)
    header = nib.load(tmp_path / "b.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (0, 0)


def test_a_guessed_affine_of_our_own_survives(tmp_path: Path) -> None:
    scan = Scan(volume().astype(np.float32), AFFINE, "x", orientation_stated=False)
    save(scan, tmp_path / "a.nii.gz")
    back = load(tmp_path / "a.nii.gz")
    assert back.same_grid(scan)
    assert not back.orientation_stated


def test_microns_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(volume(), np.diag([500.0, 500.0, 3000.0, 1]))
    image.header.set_xyzt_units("micron")
    image.to_filename(tmp_path / "a.nii")
    assert load(tmp_path / "a.nii").voxel_size == pytest.approx((0.5, 0.5, 3.0))


def test_origin_of_given_parameters(tmp_path: Path) -> None:
    scan = load(make(tmp_path / "a.nii", volume()), parameters=SequenceParameters(600, 10))
    assert scan.parameters == SequenceParameters(600, 10)
    assert {o.certainty for o in scan.origins.values()} == {"given"}


# refusals ---------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    assert len(line.removeprefix(f"{path}: ").split(". ")) >= 2, "says what to do as well"
    return line


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.nii.gz")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.nii").touch()
    assert "is empty" in refused(tmp_path / "empty.nii")


@pytest.mark.parametrize("text", [b"hello", b"TR,TE\n" * 400, b"\x1f\x8bnot really compressed"])
def test_text_named_nii(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "notes.nii"
    path.write_bytes(text)
    refused(path)


@pytest.mark.parametrize("cut", [4, 9, 200, 0.5, 0.97])
def test_truncated_compressed_file(tmp_path: Path, cut: float) -> None:
    rng = np.random.default_rng(0)
    path = make(tmp_path / "a.nii.gz", rng.integers(0, 3000, (30, 30, 10), dtype=np.int16))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)] if cut < 1 else whole[: -int(cut)])
    assert "truncated" in refused(path)


def test_truncated_plain_file(tmp_path: Path) -> None:
    path = make(tmp_path / "a.nii", volume())
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in refused(path)


def test_flipped_bit_in_compressed_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = make(tmp_path / "a.nii.gz", rng.integers(0, 3000, (30, 30, 10), dtype=np.int16))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0x10
    path.write_bytes(whole)
    refused(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_gigantic_declared_dimensions(tmp_path: Path, ending: str) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float64)
    header["dim"] = [4, 32767, 32767, 32767, 30000, 1, 1, 1]
    header.set_sform(AFFINE, code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    raw = header.binaryblock + bytes(4) + bytes(5000)
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(raw) if ending.endswith("gz") else raw)
    assert "32767 x 32767 x 32767 x 30000" in refused(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"srow_x": [np.nan, 0, 0, 0]}, "not finite"),
        ({"srow_y": [0, np.inf, 0, 0]}, "not finite"),
        ({"srow_x": [0, 0, 0, 0], "srow_y": [0, 0, 0, 0]}, "voxel size is zero"),
        ({"srow_z": [-0.72, 0, 0, 0], "srow_y": [0, 0.72, 3.0, 0]}, "flat"),
    ],
)
def test_unusable_geometry(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = make(tmp_path / "a.nii", volume())
    raw = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]))
    for key, value in change.items():
        header[key] = value
    raw[:348] = header.binaryblock
    path.write_bytes(raw)
    assert words in refused(path)


def test_all_nan_complex_and_colour(tmp_path: Path) -> None:
    nothing = np.full((3, 3, 3), np.nan, np.float32)
    assert "no finite number" in refused(make(tmp_path / "a.nii", nothing))
    complex_data = np.ones((3, 3, 3), np.complex64)
    assert "complex" in refused(make(tmp_path / "b.nii", complex_data))
    colour = np.zeros((3, 3, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "colours" in refused(make(tmp_path / "c.nii", colour))


@given(position=st.integers(0, 347), value=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_any_damaged_header_byte_reads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = make(tmp_path_factory.mktemp("damaged") / "a.nii", volume())
    raw = bytearray(path.read_bytes())
    raw[position] = value
    path.write_bytes(raw)
    try:
        scan = load(path)
    except InputError:
        refused(path)
    else:
        assert np.isfinite(scan.data).all()
        assert np.isfinite(scan.affine).all()


# writing ----------------------------------------------------------------------------------------


def test_existing_file_is_kept_unless_allowed(tmp_path: Path) -> None:
    scan = Scan(volume().astype(np.float32), AFFINE, "x", SequenceParameters(600, 10))
    save(scan, tmp_path / "a.nii.gz")
    before = (tmp_path / "a.nii.gz").read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        save(scan, tmp_path / "a.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    save(Scan(scan.data + 1, AFFINE, "x"), tmp_path / "a.nii.gz", overwrite=True)
    assert load(tmp_path / "a.nii.gz").parameters is None, "the old sidecar is gone"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.nii.gz"]


def test_only_a_sidecar_in_the_way_stops_the_image_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(OutputError, match="already exists"):
        save(Scan(volume().astype(np.float32), AFFINE, "x"), tmp_path / "a.nii.gz")
    assert not (tmp_path / "a.nii.gz").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with atomic_path(target, overwrite=True) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_disk_that_refuses_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="cannot be written"),
        atomic_path(tmp_path / "file" / "inside.txt") as temporary,
    ):
        temporary.write_text("x")


def test_a_name_that_is_no_image_is_refused(tmp_path: Path) -> None:
    scan = Scan(volume().astype(np.float32), AFFINE, "x")
    with pytest.raises(OutputError, match=r"\.nii"):
        save(scan, tmp_path / "a.png")


def test_names_paths_and_notes_stay_out_of_the_files(tmp_path: Path) -> None:
    origin = Origin("BIDS sidecar DoeJane.json")
    scan = Scan(
        volume().astype(np.float32),
        AFFINE,
        "DoeJane",
        SequenceParameters(600, 10),
        dict.fromkeys(("tr", "te", "ti"), origin),
        Path("/scans/DoeJane.nii.gz"),
        note="of DoeJane",
    )
    save(scan, tmp_path / "a.nii")
    for path in tmp_path.iterdir():
        assert b"DoeJane" not in path.read_bytes()
