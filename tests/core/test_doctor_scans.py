"""The data doctor on grids, intensities, copies and the dataset as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from crl_core.doctor import check_dataset, is_prepared
from crl_core.errors import Cancelled, InputError
from crl_core.io.bids import sidecar_path, write_dataset_description, write_json
from tests.core.doctor_data import (
    AFFINE,
    edit,
    found,
    image_of,
    make_dataset,
    only,
    replace_voxels,
    snapshot,
    voxels_of,
)

Voxels = NDArray[np.float32]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("made") / "set")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "set")


# intensities ------------------------------------------------------------------------------------


def clipped(data: Voxels) -> Voxels:
    return np.minimum(data, np.percentile(data, 97))


def eight_bit(data: Voxels) -> Voxels:
    return np.round(data / data.max() * 200)


def negative(data: Voxels) -> Voxels:
    return data - np.float32(0.2) * data.max()


def not_finite(data: Voxels) -> Voxels:
    data[20:23, 20:23, 4] = np.nan
    return data


def per_slice(data: Voxels) -> Voxels:
    low, high = data.min(axis=(0, 1)), data.max(axis=(0, 1))
    return (data - low) / (high - low)


def nothing(data: Voxels) -> Voxels:
    return np.zeros_like(data)


def labels(data: Voxels) -> Voxels:
    return np.digitize(data, np.linspace(0, data.max(), 6)).astype(np.float32)


def lost_slice(data: Voxels) -> Voxels:
    data[:, :, 6] = 0
    return data


def dark_slice(data: Voxels) -> Voxels:
    data[:, :, 6] *= np.float32(0.02)
    return data


def repeated_slice(data: Voxels) -> Voxels:
    data[:, :, 6] = data[:, :, 5]
    return data


@pytest.mark.parametrize(
    ("change", "severity", "code", "words"),
    [
        (clipped, "warning", "clipped", "of the head lies at the maximum"),
        (eight_bit, "warning", "eight-bit", "different values: it was stored with 8 bits"),
        (negative, "warning", "negative", "% of its voxels are negative"),
        (not_finite, "warning", "not-finite", "9 voxels are not a finite number"),
        (per_slice, "warning", "scaled-per-slice", "every slice reaches the same maximum, 1"),
        (nothing, "error", "empty", "it holds nothing but zeros"),
        (labels, "error", "labels", "different values, like a segmentation"),
        (lost_slice, "error", "slice-empty", "slice 6 (counted from 0) is empty although"),
        (dark_slice, "warning", "slice-dark", "slice 6 (counted from 0) is nearly without signal"),
        (repeated_slice, "warning", "slice-repeated", "slice 6 (counted from 0) is equal to the"),
    ],
)
def test_spoilt_voxels_are_named(
    root: Path, change: Callable[[Voxels], Voxels], severity: str, code: str, words: str
) -> None:
    image = image_of(root, 2, 7)
    replace_voxels(image, change(voxels_of(image)))
    report = check_dataset(root)
    assert [(f.severity, f.code) for f in report.findings] == [(severity, code)]
    finding = only(report, code)
    assert finding.file == image.relative_to(root).as_posix()
    assert words in finding.problem


def test_empty_slices_at_the_ends_are_no_loss(root: Path) -> None:
    for key in (1, 5, 7, 9):
        image = image_of(root, 2, key)
        data = voxels_of(image)
        data[:, :, :2] = 0
        replace_voxels(image, data)
    assert check_dataset(root).findings == ()


def test_integers_as_scanners_store_them_are_fine(root: Path) -> None:
    image = image_of(root, 2, 7)
    replace_voxels(image, np.round(voxels_of(image)).astype(np.int16))
    assert check_dataset(root).findings == ()


def test_a_negative_scale_in_the_header_is_told(root: Path) -> None:
    image = image_of(root, 2, 7)
    data = np.round(voxels_of(image)).astype(np.int16)
    replace_voxels(image, -data)
    raw = nib.load(image)
    raw.header.set_slope_inter(-1.0, 0.0)
    raw.to_filename(image)
    codes = [f.code for f in check_dataset(root).findings]
    assert codes == ["slope"]


def test_a_damaged_image_is_an_error_and_the_rest_is_checked(root: Path) -> None:
    image = image_of(root, 1, 5)
    image.write_bytes(image.read_bytes()[:2000])
    edit(image_of(root, 3, 7), {"EchoTime": 104.2})
    report = check_dataset(root)
    assert [(f.code, f.subject) for f in report.errors] == [
        ("damaged", "sub-01"),
        ("milliseconds", "sub-03"),
    ]
    assert "truncated" in only(report, "damaged").problem
    row = report.subjects[1]
    assert (row.shape, row.verdict) == (None, "damaged")
    assert row.tr.ms == 8000, "its sidecar can still be read"


# copies -----------------------------------------------------------------------------------------


def test_one_scan_under_two_settings_is_an_error(root: Path) -> None:
    shutil.copy(image_of(root, 1, 5), image_of(root, 1, 7))
    finding = only(check_dataset(root), "copy")
    assert finding.severity == "error"
    assert "equal those of sub-01/anat/sub-01_acq-paper5_PDw.nii.gz" in finding.problem
    assert "TR, TE or TI differ" in finding.problem


def test_one_scan_in_two_subjects_is_a_warning(root: Path) -> None:
    shutil.copy(image_of(root, 1, 5), image_of(root, 3, 5))
    finding = only(check_dataset(root), "copy-across-subjects")
    assert (finding.severity, finding.subject) == ("warning", "sub-03")
    assert "leaks from training into testing" in finding.problem


# grids ------------------------------------------------------------------------------------------


def test_grids_that_differ_are_mended_by_prepare(root: Path) -> None:
    image = image_of(root, 2, 7)
    affine = AFFINE.copy()
    affine[:3, 3] += 2.0
    replace_voxels(image, voxels_of(image), affine)
    finding = only(check_dataset(root), "grid")
    assert finding.severity == "warning"
    assert finding.problem == "the same voxels as the 3 other scans, but in another place"
    assert finding.mend == f"crl prepare {root} -o {root}_prepared"


def test_commands_work_from_inside_the_dataset(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    edit(image_of(root, 1, 5), {"EchoTime": 10.42})
    image = image_of(root, 2, 7)
    replace_voxels(image, voxels_of(image)[1:])
    report = check_dataset(".")
    assert only(report, "milliseconds").mend.startswith("crl mend . --milliseconds sub-01/anat/")
    assert only(report, "grid").mend == f"crl prepare . -o {root}_prepared"


def test_a_missing_slice_is_told_by_the_others(root: Path) -> None:
    image = image_of(root, 2, 7)
    replace_voxels(image, voxels_of(image)[:, :, :-1])
    finding = only(check_dataset(root), "slices")
    assert finding.problem == "13 slices, 14 in the 3 other scans"


def test_other_voxels_than_the_other_subjects(root: Path) -> None:
    for key in (1, 5, 7, 9):
        image = image_of(root, 2, key)
        replace_voxels(image, voxels_of(image), AFFINE @ np.diag([1.3, 1.3, 1, 1]))
    report = check_dataset(root)
    assert {(f.code, f.subject) for f in report.findings} == {("voxel-size", "sub-02")}
    assert "3.9 x 3.9 x 6 mm, 3 x 3 x 6 mm in the other scans" in report.findings[0].problem


def test_a_short_slab_is_told(root: Path) -> None:
    for key in (1, 5, 7, 9):
        image = image_of(root, 2, key)
        replace_voxels(image, voxels_of(image)[:, :, 4:10])
    report = check_dataset(root)
    assert {(f.code, f.subject) for f in report.findings} == {("coverage", "sub-02")}
    assert "cover 36 mm, 84 mm in the other scans named" in report.findings[0].problem


def test_scans_far_apart_are_told(root: Path) -> None:
    image = image_of(root, 2, 7)
    affine = AFFINE.copy()
    affine[2, 3] += 300.0
    replace_voxels(image, voxels_of(image), affine)
    assert "mm apart from that of the 3 other scans" in only(check_dataset(root), "apart").problem


def test_volumes_and_single_slices(root: Path) -> None:
    image = image_of(root, 1, 5)
    replace_voxels(image, np.stack([voxels_of(image)] * 3, axis=3))
    assert "holds 3 volumes, of which the first" in only(check_dataset(root), "volumes").problem
    for key in (1, 5, 7, 9):
        image = image_of(root, 1, key)
        replace_voxels(image, voxels_of(image)[:, :, 5:6])
    codes = set(found(root))
    assert ("note", "single-slice") in codes
    assert not [code for severity, code in codes if severity == "error"]


def test_an_orientation_nobody_states(root: Path) -> None:
    image = image_of(root, 2, 7)
    old = nib.load(image)
    old.set_sform(None, code="unknown")
    old.set_qform(None, code="unknown")
    old.to_filename(image)
    finding = only(check_dataset(root), "orientation-unknown")
    assert finding.severity == "warning"
    assert "left and right are a guess" in finding.problem


def test_qform_and_sform_that_disagree(root: Path) -> None:
    image = image_of(root, 2, 7)
    old = nib.load(image)
    affine = AFFINE.copy()
    affine[:3, 3] += 7.0
    old.header.set_qform(affine, code="scanner")
    old.to_filename(image)
    finding = only(check_dataset(root), "qform-sform")
    assert "lie up to 12.1 mm apart; the sform is used" in finding.problem


def test_the_whole_dataset_may_lie_in_any_orientation(root: Path) -> None:
    """Sagittal, in LPI order: nothing of this is a mistake."""
    for image in root.rglob("*.nii.gz"):
        turned = nib.as_closest_canonical(nib.load(image))
        flipped = turned.slicer[::-1, ::-1, ::-1]
        replace_voxels(
            image,
            np.transpose(np.asarray(flipped.dataobj), (2, 0, 1)),
            flipped.affine[:, [2, 0, 1, 3]],
        )
    assert check_dataset(root).findings == ()


def test_one_subject_in_another_orientation_is_a_warning(root: Path) -> None:
    for key in (1, 5, 7, 9):
        image = image_of(root, 2, key)
        flipped = nib.load(image).slicer[::-1]
        replace_voxels(image, np.asarray(flipped.dataobj), flipped.affine)
    report = check_dataset(root)
    assert {(f.severity, f.code, f.subject) for f in report.findings} == {
        ("warning", "orientation", "sub-02")
    }
    assert "axes run LAS, those of the other scans named" in report.findings[0].problem


# the dataset ------------------------------------------------------------------------------------


def test_files_at_the_top(root: Path) -> None:
    (root / "dataset_description.json").unlink()
    (root / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\nsub-09\n")
    report = check_dataset(root, quick=True)
    assert [(f.code, f.problem) for f in report.findings] == [
        ("description", "dataset_description.json is missing"),
        ("participants", "sub-03 not listed but have a folder"),
        ("participants", "sub-09 listed but have no folder"),
    ]


def test_subjects_with_too_little(root: Path) -> None:
    for key in (1, 5, 7):
        image_of(root, 3, key).unlink()
        sidecar_path(image_of(root, 3, key)).unlink()
    (root / "sub-04").mkdir()
    report = check_dataset(root, quick=True)
    assert only(report, "too-few").problem == "1 usable scan; training needs two of a subject"
    assert only(report, "sequence-missing").problem == (
        "it lacks paper1 T1w, paper5 PDw, paper7 T2w, which most other subjects have"
    )
    assert only(report, "no-images").subject == "sub-04"
    assert report.errors == ()


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "set", subjects=2, sequences=(7,))
    assert ("error", "nothing-usable") in found(root, quick=True)


def test_synthetic_images_are_noted(root: Path) -> None:
    edit(image_of(root, 1, 7), {"Synthetic": True})
    assert found(root, quick=True) == [("note", "synthetic")]


def test_sessions_are_subjects_of_their_own(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_dataset_description(root, "test")
    for session in ("1", "2"):
        folder = root / "sub-01" / f"ses-{session}" / "anat"
        folder.mkdir(parents=True)
        for path in (made / f"sub-0{session}" / "anat").iterdir():
            name = path.name.replace(f"sub-0{session}", f"sub-01_ses-{session}")
            shutil.copy(path, folder / name)
    report = check_dataset(root)
    assert report.labels == ("sub-01_ses-1", "sub-01_ses-2")
    assert report.findings == ()


def test_only_our_own_derivatives_count_as_prepared(root: Path) -> None:
    assert not is_prepared(root)
    about = {"Name": "x", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    write_json(root / "dataset_description.json", about, overwrite=True)
    assert not is_prepared(root)
    write_dataset_description(root, "x", extra={"DatasetType": "derivative"}, overwrite=True)
    assert is_prepared(root)
    assert check_dataset(root, quick=True).prepared


def test_what_is_no_dataset_gets_one_helpful_line(tmp_path: Path, made: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        check_dataset(tmp_path / "none")
    loose = tmp_path / "loose"
    loose.mkdir()
    with pytest.raises(InputError, match="holds no sub-"):
        check_dataset(loose)
    shutil.copy(image_of(made, 1, 5), loose / "scan.nii.gz")
    with pytest.raises(InputError, match="but not as sub-01/anat"):
        check_dataset(loose)
    dicom = tmp_path / "dicom"
    dicom.mkdir()
    (dicom / "IM1").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 100)
    with pytest.raises(InputError, match=r"holds DICOM files.*crl inspect"):
        check_dataset(dicom)


def test_progress_and_cancelling(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_dataset(root, progress=lambda done, total: seen.append((done, total)), quick=True)
    assert seen == [(n, 12) for n in range(1, 13)]
    with pytest.raises(Cancelled):
        check_dataset(root, cancelled=lambda: True)


def test_looking_changes_nothing(root: Path) -> None:
    edit(image_of(root, 1, 7), {"EchoTime": 104.2})
    before = snapshot(root)
    check_dataset(root)
    assert snapshot(root) == before
