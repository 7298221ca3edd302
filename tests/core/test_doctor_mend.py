"""Mends: what is changed, what is kept, and what is refused."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_core.doctor import Mend, check_dataset
from crl_core.doctor.mend import mend_dataset, parse_mend
from crl_core.errors import CRLError, InputError
from crl_core.io import load
from crl_core.io.bids import sidecar_path
from tests.core.doctor_data import (
    AFFINE,
    edit,
    forget_header,
    image_of,
    make_dataset,
    replace_voxels,
    snapshot,
    voxels_of,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("made") / "set", subjects=2)


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "set")


def file_of(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix()


# sidecars ---------------------------------------------------------------------------------------


def test_milliseconds_become_seconds_and_the_rest_stays(root: Path) -> None:
    image = image_of(root, 1, 9)
    edit(image, {"RepetitionTime": 8000, "InversionTime": 2025, "FatSuppression": True})
    before = sidecar_path(image).read_bytes()
    (line,) = mend_dataset(root, [Mend("milliseconds", file_of(image, root))])
    assert "RepetitionTime 8000 is now 8.0" in line
    fields = json.loads(sidecar_path(image).read_text())
    assert (fields["RepetitionTime"], fields["EchoTime"], fields["InversionTime"]) == (
        8.0,
        0.09878,
        2.025,
    )
    assert fields["FatSuppression"] is True
    (note,) = fields["Mended"]
    assert note["Was"] == {"RepetitionTime": 8000, "InversionTime": 2025}
    kept = root / "sourcedata" / "mended" / file_of(sidecar_path(image), root)
    assert kept.read_bytes() == before
    assert load(image).parameters.triple == (8000, 98.78, 2025)


def test_thousandths_and_lists(root: Path) -> None:
    image = image_of(root, 1, 7)
    edit(image, {"EchoTime": [0.0001042, 0.0002], "EchoSpacing": 0.00001042})
    mend_dataset(root, [Mend("thousandth", file_of(image, root))])
    fields = json.loads(sidecar_path(image).read_text())
    assert fields["EchoTime"] == [0.1042, 0.2]
    assert fields["EchoSpacing"] == 0.01042


def test_a_shared_sidecar_is_mended_where_it_lies(root: Path) -> None:
    shared = root / "acq-paper7_T2w.json"
    for subject in (1, 2):
        edit(image_of(root, subject, 7), drop=["EchoTime"])
        forget_header(image_of(root, subject, 7))
    shared.write_text(json.dumps({"EchoTime": 104.2}))
    with pytest.raises(InputError, match=r"comes from acq-paper7_T2w\.json, name that file"):
        mend_dataset(root, [Mend("milliseconds", file_of(image_of(root, 1, 7), root))])
    (finding,) = check_dataset(root, quick=True).errors
    assert finding.action is not None
    mend_dataset(root, [finding.action])
    assert json.loads(shared.read_text())["EchoTime"] == 0.1042
    assert check_dataset(root, quick=True).findings == ()


@settings(max_examples=40)
@given(
    st.floats(200, 20_000),
    st.floats(5, 300),
    st.one_of(st.just(0.0), st.floats(20, 5_000)),
    st.sampled_from(["", "{", '{"InversionTime": 1.5, "FlipAngle": 150}']),
)
def test_given_parameters_are_read_back_to_the_last_digit(
    tmp_path_factory: pytest.TempPathFactory, tr: float, te: float, ti: float, older: str
) -> None:
    root = tmp_path_factory.mktemp("given")
    image = root / "sub-01" / "anat" / "sub-01_T2w.nii.gz"
    image.parent.mkdir(parents=True)
    nib.Nifti1Image(np.ones((3, 3, 2), np.float32), AFFINE).to_filename(image)
    if older:
        sidecar_path(image).write_text(older)
    words = ",".join(f"{value:.9g}" for value in (tr + te + ti, te, ti))
    mend_dataset(root, [parse_mend("params", f"{file_of(image, root)}={words}")])
    scan = load(image)
    assert scan.parameters.triple == tuple(float(word) for word in words.split(","))
    assert scan.origins["tr"].certainty == scan.origins["te"].certainty == "given"
    assert scan.origins["ti"].certainty in ("given", "stated")
    if "FlipAngle" in older:
        assert json.loads(sidecar_path(image).read_text())["FlipAngle"] == 150


# images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["x", "z", "xy"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_flip_turns_the_voxels_and_nothing_else(root: Path, axes: str, compressed: bool) -> None:
    image = image_of(root, 1, 7)
    data = np.round(voxels_of(image) * 10).astype(">i2")
    turned = nib.Nifti1Image(
        np.transpose(data, (2, 0, 1)), AFFINE[:, [2, 0, 1, 3]], nib.Nifti1Header(endianness=">")
    )
    turned.header.set_slope_inter(0.5, -3.0)
    turned.header.set_data_dtype(">i2")
    turned.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"of the scanner"))
    name = image if compressed else image.with_name(image.name.removesuffix(".gz"))
    if not compressed:
        image.unlink()
    turned.to_filename(name)
    before, raw = nib.load(name), name.read_bytes()
    values = np.asarray(before.dataobj)
    mend_dataset(root, [Mend("flip", file_of(name, root), axes)])
    after = nib.load(name)
    array_axes = [{"x": 1, "y": 2, "z": 0}[axis] for axis in axes]
    np.testing.assert_array_equal(np.asarray(after.dataobj), np.flip(values, array_axes))
    old, new = (gzip.decompress(b) if compressed else b for b in (raw, name.read_bytes()))
    start = int(before.header["vox_offset"]) or int(before.dataobj.offset)
    assert new[:start] == old[:start], "header and extension byte for byte"
    assert len(new) == len(old)
    kept = root / "sourcedata" / "mended" / file_of(name, root)
    assert kept.read_bytes() == raw
    mend_dataset(root, [Mend("flip", file_of(name, root), axes)])
    np.testing.assert_array_equal(np.asarray(nib.load(name).dataobj), values)
    assert kept.read_bytes() == raw, "the first original stays"
    assert len(json.loads(sidecar_path(name).read_text())["Mended"]) == 2


def test_geometry_of_another_scan(root: Path) -> None:
    image, other = image_of(root, 1, 7), image_of(root, 1, 5)
    data = voxels_of(image)
    replace_voxels(image, data, np.diag([-2.0, 3, 4, 1]))
    edit(image, {"CRLOrientationStated": False})
    mend_dataset(root, [parse_mend("geometry", f"{file_of(image, root)}={file_of(other, root)}")])
    mended, right = nib.load(image), nib.load(other)
    np.testing.assert_array_equal(mended.affine, right.affine)
    np.testing.assert_array_equal(mended.header.get_qform(), right.header.get_qform())
    np.testing.assert_array_equal(mended.header.get_zooms(), right.header.get_zooms())
    np.testing.assert_array_equal(voxels_of(image), data)
    assert load(image).orientation_stated


def test_what_is_left_out_can_be_put_back(root: Path) -> None:
    image = image_of(root, 1, 7)
    before = snapshot(root)
    for _ in range(2):
        mend_dataset(root, [Mend("leave-out", file_of(image, root))])
        assert not image.exists()
        assert not sidecar_path(image).exists()
        kept = root / "sourcedata" / "mended" / file_of(image, root)
        shutil.copy(kept, image)
        shutil.copy(sidecar_path(kept), sidecar_path(image))
    mended = snapshot(root)
    assert {name: mended[name] for name in before} == before
    assert kept.with_name(f"2_{kept.name}").is_file(), "nothing kept is ever replaced"


# refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("milliseconds", "sub-01/anat/sub-01_acq-paper7_T2w.nii.gz", "no field of it looks like"),
        ("thousandth", "sub-01/anat/sub-01_acq-paper7_T2w.nii.gz", "no field of it looks like"),
        ("flip", "sub-01/anat/none.nii.gz", "does not exist"),
        ("flip", "dataset_description.json", "is no image"),
        ("params", "sub-01/anat/sub-01_acq-paper7_T2w.nii.gz=TR,TE,TI", "a name where a number"),
        ("params", "sub-01/anat/sub-01_acq-paper7_T2w.nii.gz=8000", "is not TR,TE,TI"),
        ("params", "sub-01/anat/sub-01_acq-paper7_T2w.nii.gz=900,100,850", "too short"),
        ("geometry", "sub-01/anat/sub-01_acq-paper7_T2w.nii.gz=none.nii", "does not exist"),
        ("leave-out", "../outside.nii.gz", "is not part of the dataset"),
        ("leave-out", "sourcedata/old.nii.gz", "is not part of the dataset"),
    ],
)
def test_nothing_is_changed_when_one_of_several_makes_no_sense(
    root: Path, kind: str, text: str, words: str
) -> None:
    shutil.copy(image_of(root, 1, 5), root.parent / "outside.nii.gz")
    (root / "sourcedata").mkdir()
    shutil.copy(image_of(root, 1, 5), root / "sourcedata" / "old.nii.gz")
    edit(image_of(root, 1, 5), {"EchoTime": 10.42})
    before = snapshot(root)
    good = Mend("milliseconds", file_of(image_of(root, 1, 5), root))
    with pytest.raises(CRLError, match=words):
        mend_dataset(root, [good, parse_mend(kind, text)])
    assert snapshot(root) == before


def test_forms_of_arguments() -> None:
    assert parse_mend("flip", "a/b.nii.gz") == Mend("flip", "a/b.nii.gz", "x")
    assert parse_mend("flip", "a/b.nii.gz:yz") == Mend("flip", "a/b.nii.gz", "yz")
    assert parse_mend("flip", "C:/a.nii") == Mend("flip", "C:/a.nii", "x")
    for kind, mend in (
        ("params", Mend("params", "a=b.nii", "1,2,3")),
        ("flip", Mend("flip", "a b.nii", "xz")),
        ("geometry", Mend("geometry", "a.nii", "b.nii")),
        ("leave-out", Mend("leave-out", "a.nii")),
    ):
        assert parse_mend(kind, mend.words[1]) == mend
    for kind in ("params", "geometry"):
        with pytest.raises(InputError, match="is not FILE="):
            parse_mend(kind, "a.nii")


def test_a_damaged_image_is_not_flipped(root: Path) -> None:
    image = image_of(root, 1, 7)
    image.write_bytes(image.read_bytes()[:5000])
    spoilt = image.read_bytes()
    with pytest.raises(CRLError, match="truncated"):
        mend_dataset(root, [Mend("flip", file_of(image, root), "x")])
    assert image.read_bytes() == spoilt
