"""Where DICOM is found: folders with other things in them, single files, zip archives."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RLELossless,
    generate_uid,
)

from crl_core.errors import Cancelled, InputError
from crl_core.io import load
from crl_core.io.dicom import find_series, is_dicom
from tests.core.dicom.writing import classic, enhanced, volume

EXPECTED = volume(36, 40, 6).T


def other_object(path: Path, sop_class: UID) -> Path:
    """Write a DICOM object that holds no image."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Modality = "SR"
    dataset.save_as(path, enforce_file_format=True)
    return path


def zipped(folder: Path, target: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return target


def test_nested_folder_with_other_files(tmp_path: Path) -> None:
    classic(tmp_path / "DICOM" / "PA000" / "ST000" / "SE000")
    other_object(tmp_path / "DICOMDIR", MediaStorageDirectoryStorage)
    other_object(tmp_path / "DICOM" / "report", BasicTextSRStorage)
    (tmp_path / "DICOM" / "autorun.inf").write_text("[autorun]\n")
    (tmp_path / "DICOM" / "VERSION").write_bytes(b"")
    (tmp_path / "DICOM" / "._IM0001").write_bytes(b"\0\5\x16\7" + bytes(200))
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), tmp_path / "other.nii")
    if os.name == "posix":
        os.mkfifo(tmp_path / "DICOM" / "pipe")
        (tmp_path / "DICOM" / "loop").symlink_to(tmp_path / "DICOM", target_is_directory=True)
    assert is_dicom(tmp_path)
    scan = load(tmp_path)
    assert np.array_equal(scan.data, EXPECTED)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_zip_archive(tmp_path: Path, method: int) -> None:
    classic(tmp_path / "in" / "a" / "b")
    path = zipped(tmp_path / "in", tmp_path / "scans.zip", method)
    assert is_dicom(path)
    scan = load(path)
    assert np.array_equal(scan.data, EXPECTED)
    assert scan.path == path
    assert set(os.listdir(tmp_path)) == {"in", "scans.zip"}


def test_enhanced_file_in_a_zip_under_any_name(tmp_path: Path) -> None:
    """Names inside are not used: one that leads outside does no harm."""
    path = enhanced(tmp_path / "a.dcm", orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.write(path, "../../outside.dcm")
    assert np.array_equal(load(archive).data, load(path).data)
    assert not (tmp_path.parent / "outside.dcm").exists()


def test_zip_without_dicom(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    assert not is_dicom(tmp_path / "a.zip")
    with pytest.raises(InputError, match="neither a NIfTI nor a DICOM"):
        load(tmp_path / "a.zip")


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    """An archive of a few kilobytes whose members would unpack to 30 GiB."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(10):
            archive.writestr(f"{number}", b"\0" * 128 + b"DICM" + bytes(2**20))
    data = bytearray(path.read_bytes())
    for at in (i for i in range(len(data)) if data[i : i + 4] == b"PK\1\2"):
        data[at + 24 : at + 28] = (3 * 2**30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"promises 30 GiB in 10 files"):
        find_series(path)


def test_damaged_and_encrypted_archives(tmp_path: Path) -> None:
    classic(tmp_path / "in")
    path = zipped(tmp_path / "in", tmp_path / "a.zip", zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="damaged zip archive"):
        find_series(tmp_path / "cut.zip")
    # One bit in the pixels of a slice: the checksum of the archive tells.
    at = data.find(volume(36, 40, 6)[3].tobytes()[:64])
    data[at + 10] ^= 1
    (tmp_path / "bit.zip").write_bytes(data)
    with pytest.raises(InputError, match="1 slice is missing; 1 of the files here are damaged"):
        load(tmp_path / "bit.zip")
    data = bytearray(path.read_bytes())
    for at in (i for i in range(len(data) - 4) if data[i : i + 4] in (b"PK\1\2", b"PK\3\4")):
        data[at + (8 if data[at + 2] == 1 else 6)] |= 1  # marked as encrypted
    (tmp_path / "secret.zip").write_bytes(data)
    with pytest.raises(InputError):
        load(tmp_path / "secret.zip")


def test_files_without_preamble_or_meta_group(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        for path in classic(folder, syntax=syntax, ImageType=None):
            data = path.read_bytes()
            meta = 132 + 12 + int.from_bytes(data[140:144], "little")
            path.write_bytes(data[meta:])
        assert is_dicom(folder)
        assert np.array_equal(load(folder).data, EXPECTED)
    for path in classic(folder):
        path.write_bytes(path.read_bytes()[132:])
    assert np.array_equal(load(folder).data, EXPECTED)


def test_deflated_file(tmp_path: Path) -> None:
    enhanced(tmp_path / "a", syntax=DeflatedExplicitVRLittleEndian)
    assert np.array_equal(load(tmp_path / "a").data, EXPECTED)


def test_only_other_objects_are_named(tmp_path: Path) -> None:
    other_object(tmp_path / "a", BasicTextSRStorage)
    with pytest.raises(InputError, match=r"no DICOM images, only other objects \(1 x Basic Text"):
        load(tmp_path)
    path = other_object(tmp_path / "DICOMDIR", MediaStorageDirectoryStorage)
    with pytest.raises(InputError, match="Name the folder that the directory file lies in"):
        load(path)


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_series(tmp_path / "nothing")
    with pytest.raises(InputError, match="is a folder that holds no DICOM images"):
        load(tmp_path)
    assert not is_dicom(tmp_path / "nothing")
    assert not is_dicom(tmp_path)


def test_progress_and_cancel(tmp_path: Path) -> None:
    classic(tmp_path, slices=8)
    seen: list[tuple[int, int]] = []
    find_series(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 8) for number in range(1, 9)]
    seen.clear()
    with pytest.raises(Cancelled):
        find_series(
            tmp_path,
            progress=lambda done, total: seen.append((done, total)),
            cancelled=lambda: len(seen) >= 3,
        )
    assert len(seen) == 3


def test_nothing_that_names_the_patient_comes_out(tmp_path: Path) -> None:
    """The name of a patient in the description of a series is taken out of it."""
    classic(tmp_path, SeriesDescription="t2 tse DOE jane", StudyDescription="Jane Doe")
    (series,) = find_series(tmp_path)
    assert series.description == "t2 tse"
    scan = load(tmp_path)
    told = f"{series!r} {scan.name} {scan.note} {scan.origins}"
    assert not any(word in told.lower() for word in ("doe", "jane", "secret42"))


def test_refusals_name_what_the_user_named(tmp_path: Path) -> None:
    """Files inside a folder or an archive may be called after a person."""
    folder = tmp_path / "in"
    paths = classic(folder, name="DOE_JANE_", syntax=RLELossless)
    paths[2].write_bytes(paths[2].read_bytes()[:-400])
    (tmp_path / "cut").mkdir()
    for number, place in enumerate((folder, tmp_path / "cut", zipped(folder, tmp_path / "a.zip"))):
        if number == 1:
            (place / "DOE").write_bytes(paths[0].read_bytes()[:600])
        with pytest.raises(InputError) as caught:
            load(place)
        assert str(caught.value).startswith(f"{place}: ")
        assert "DOE" not in str(caught.value)


def test_a_scan_without_description_is_called_by_its_number(tmp_path: Path) -> None:
    classic(tmp_path, SeriesDescription=None)
    assert load(tmp_path).name == "series 5"
    classic(tmp_path, SeriesDescription=None, SeriesNumber=None)
    assert load(tmp_path).name == "series x"
