from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crl_core.errors import Cancelled, InputError
from crl_core.io import save
from crl_core.sequence import SequenceParameters
from crl_viewer.state.offers import Offer, spoken_of, tip_of
from crl_viewer.workers.finding import Found, find, offers_of_person
from tests.viewer.dicom_files import SECRETS, write_series, write_study, zipped
from tests.viewer.fakes import make_scan


class Hears:
    """Keeps what a search tells, and stops it after some files."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.names: list[str] = []
        self.steps: list[tuple[int, int]] = []
        self._stop = stop_after

    def say(self, text: str) -> None:
        self.names.append(text)

    def progress(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def cancelled(self) -> bool:
        return self._stop is not None and len(self.steps) >= self._stop


def look(*paths: Path) -> Found:
    return find(paths, Hears())


def titles(found: Found) -> list[str]:
    return [offer.title for offer in found.offers]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study")


def nifti_file(path: Path, parameters: SequenceParameters | None = None, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(make_scan(path.name, parameters, **how), path)
    return path


# folders, archives, files ---------------------------------------------------------------------


def test_a_folder_gives_every_series_with_what_its_header_says(study: Path) -> None:
    found = look(study)
    assert titles(found) == ["t1_tse", "t2_tse", "flair_tse", "pd_tse"]
    assert found.choice
    t2, flair, gap = found.offers[1:]
    assert t2.fast_spin_echo
    assert t2.timing.values == {"tr": 4500.0, "te": 90.0, "ti": 0.0}
    assert "(0018,0081)" in t2.timing.origins["te"].where
    assert t2.shape == (24, 20, 6)
    assert t2.voxel_size == pytest.approx((2, 2, 4))
    assert "ti" not in flair.timing.values
    assert not gap.usable
    assert "gap" in gap.refusal


def test_an_archive_gives_the_same_as_the_folder_and_is_not_unpacked(
    study: Path, tmp_path: Path
) -> None:
    archive = zipped(study, tmp_path / "study.zip")
    before = sorted(tmp_path.rglob("*"))
    found = look(archive)
    assert titles(found) == titles(look(study))
    scan = found.offers[1].read().scan
    np.testing.assert_array_equal(scan.data, look(study).offers[1].read().scan.data)
    assert scan.path == archive
    assert sorted(tmp_path.rglob("*")) == before


def test_a_slice_opens_the_series_it_belongs_to(tmp_path: Path) -> None:
    files = write_series(tmp_path, 3, "t1_tse", tr=600, te=12)
    write_series(tmp_path, 4, "t2_tse")
    found = look(files[2])
    assert not found.choice
    assert [(o.title, o.shape, o.path) for o in found.offers] == [("t1_tse", (24, 20, 6), files[2])]


def test_several_slices_open_as_they_were_named(tmp_path: Path) -> None:
    files = write_series(tmp_path, 3, "t1_tse")
    write_series(tmp_path, 4, "t2_tse")
    found = look(*files[:4])
    assert [(o.title, o.shape[2]) for o in found.offers] == [("t1_tse", 4)]


def test_the_only_scan_needs_no_choice_and_a_bad_one_is_a_line(tmp_path: Path) -> None:
    write_series(tmp_path / "good", 3, "t1_tse")
    write_series(tmp_path / "bad", 7, "pd_tse", without=(2,))
    found = look(tmp_path / "good", tmp_path / "bad")
    assert titles(found) == ["t1_tse"]
    assert not found.choice
    (line,) = found.refusals
    assert line.startswith(f"{tmp_path / 'bad'}: series 7 (pd_tse): gap")
    assert "\n" not in line


def test_a_folder_of_nifti_files_is_listed_from_headers(tmp_path: Path) -> None:
    nifti_file(tmp_path / "deep" / "t2.nii.gz", SequenceParameters(4500, 90))
    nifti_file(tmp_path / "t1.nii", shape=(20, 24, 3))
    (tmp_path / ".hidden.nii").write_bytes(b"x")
    (tmp_path / "cut.nii").write_bytes(b"\x5c\x01\0\0" + b"\0" * 10)
    by_title = {o.title: o for o in look(tmp_path).offers}
    assert set(by_title) == {"t1", "t2", "cut"}
    assert by_title["t2"].timing.values == {"tr": 4500.0, "te": 90.0, "ti": 0.0}
    assert by_title["t1"].shape == (20, 24, 3)
    assert by_title["t1"].plane == "axial"
    assert not by_title["cut"].usable


def test_dicom_and_nifti_of_one_folder_stand_in_one_list(study: Path) -> None:
    nifti_file(study / "converted.nii.gz", SequenceParameters(600, 12))
    assert titles(look(study)) == ["t1_tse", "t2_tse", "flair_tse", "pd_tse", "converted"]


def test_a_mix_is_listed_in_the_order_it_was_named(study: Path, tmp_path: Path) -> None:
    image = nifti_file(tmp_path / "t1.nii", SequenceParameters(600, 12))
    archive = zipped(study / "2", tmp_path / "one.zip")
    found = look(image, archive, study / "1", tmp_path / "gone")
    assert titles(found) == ["t1", "t2_tse", "t1_tse"]
    assert not found.choice
    assert [line.split(":")[0] for line in found.refusals] == [str(tmp_path / "gone")]


@pytest.mark.parametrize("name", ["notes.txt", "empty_folder", "gone", "broken.zip"])
def test_what_holds_nothing_is_one_line_with_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("nothing but words " * 20)
    (tmp_path / "empty_folder").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + b"\0" * 40)
    found = look(tmp_path / name)
    assert not found.offers
    (line,) = found.refusals
    assert line.startswith(str(tmp_path / name))
    assert "\n" not in line


def test_four_dimensions_and_several_volumes_are_counted_and_read(tmp_path: Path) -> None:
    first = make_scan().data
    path = tmp_path / "four.nii"
    nib.save(nib.Nifti1Image(np.stack([first, first * 2], axis=3), np.diag([1, 1, 4, 1])), path)
    (offer,) = look(path).offers
    assert offer.volumes == 2
    opened = offer.read()
    assert opened.again is not None
    np.testing.assert_allclose(opened.again(1).scan.data, first * 2)
    write_series(tmp_path / "dicom", 8, "t2_tse", volumes=2)
    (series,) = look(tmp_path / "dicom").offers
    assert series.volumes == 2
    opened = series.read()
    assert opened.again is not None
    second = opened.again(1)
    assert second.scan.series == opened.scan.series == "8"
    assert second.scan.data.max() == opened.scan.data.max() + 300


# datasets -------------------------------------------------------------------------------------


def test_a_bids_dataset_is_listed_a_person_at_a_time(tmp_path: Path) -> None:
    root = tmp_path / "bids"
    for who in ("01", "02"):
        nifti_file(
            root / f"sub-{who}" / "anat" / f"sub-{who}_T2w.nii.gz", SequenceParameters(4500, 90)
        )
    later = root / "sub-02" / "ses-b" / "anat" / "sub-02_ses-b_FLAIR.nii.gz"
    nifti_file(later)
    sidecar = later.with_name("sub-02_ses-b_FLAIR.json")
    sidecar.write_text(json.dumps({"RepetitionTime": 9.0, "EchoTrainLength": 16}))
    found = look(root)
    assert not found.offers
    (dataset,) = found.datasets
    assert [p.label for p in dataset.people] == ["sub-01", "sub-02", "sub-02_ses-b"]
    (flair,) = offers_of_person(dataset.people[2], Hears())
    assert flair.title == "FLAIR"
    assert flair.fast_spin_echo
    assert flair.timing.values == {"tr": 9000.0}
    assert "FLAIR.json" in flair.timing.origins["tr"].where


# progress, cancel, pictures -------------------------------------------------------------------


def test_a_search_tells_how_far_it_is_and_stops_when_told(study: Path) -> None:
    hears = Hears()
    find([study], hears)
    assert hears.names == ["study"]
    assert hears.steps[-1][0] == hears.steps[-1][1] > 20
    stopped = Hears(stop_after=5)
    with pytest.raises(Cancelled):
        find([study], stopped)
    assert len(stopped.steps) == 5


@pytest.mark.parametrize("make", ["dicom", "nifti"])
def test_a_picture_is_upright_with_square_pixels(tmp_path: Path, make: str) -> None:
    if make == "dicom":
        write_series(tmp_path / "d", 3, "t2", shape=(24, 20, 6), spacing=(2.0, 4.0, 5.0))
        (offer,) = look(tmp_path / "d").offers
    else:
        scan = make_scan(shape=(24, 20, 6))
        affine = np.diag([-2.0, 4.0, 5.0, 1.0])  # the first columns are the patient's left
        data = np.where(scan.data > 0, 400, 0).astype(np.float32)
        data[:12] *= 0.5
        nib.save(nib.Nifti1Image(data, affine), tmp_path / "t2.nii")
        (offer,) = look(tmp_path / "t2.nii").offers
    picture = offer.thumbnail()
    rows, cols = picture.shape
    assert rows / cols == pytest.approx(20 * 4 / (24 * 2), rel=0.06)
    assert max(rows, cols) <= 96
    assert 0 <= picture.min() < picture.max() <= 1
    # In radiological convention the brighter half, the patient's left, is on the right.
    assert picture[:, cols // 2 :].mean() > picture[:, : cols // 2].mean()


def test_a_damaged_file_has_no_picture(tmp_path: Path) -> None:
    path = nifti_file(tmp_path / "t1.nii.gz", SequenceParameters(600, 12), shape=(64, 64, 20))
    path.write_bytes(path.read_bytes()[:-3000])
    (offer,) = look(path).offers
    with pytest.raises(InputError):
        offer.thumbnail()


# privacy --------------------------------------------------------------------------------------


def said_by(offer: Offer, read: Callable = lambda o: o.read().scan) -> str:
    scan = read(offer)
    return " ".join((spoken_of(offer), tip_of(offer), scan.name, scan.note, repr(scan.origins)))


def test_nothing_that_names_the_patient_comes_out_of_a_header(study: Path) -> None:
    for offer in look(study).offers:
        text = said_by(offer) if offer.usable else f"{spoken_of(offer)} {offer.line}"
        assert not [secret for secret in SECRETS if secret in text]
