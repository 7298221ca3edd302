"""What a folder holds: series told apart, split where it makes sense, refused with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import UID, SecondaryCaptureImageStorage

from crl_core.errors import InputError
from crl_core.io import load
from crl_core.io.dicom import Series, choose_series, find_series, read_series
from tests.core.dicom.writing import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    classic,
    enhanced,
    one,
    volume,
)


def listed(path: Path) -> dict[str, Series]:
    return {series.key: series for series in find_series(path)}


def test_series_are_told_apart_and_sorted_by_number(tmp_path: Path) -> None:
    for number in (11, 3, 7):
        uid = UID(f"1.2.3.4.{number}")
        name = {"SeriesNumber": number, "SeriesInstanceUID": uid, "name": f"s{number}"}
        classic(tmp_path, **name, SeriesDescription=f"scan {number}")
    found = find_series(tmp_path)
    assert [(s.key, s.number, s.description) for s in found] == [
        ("3", 3, "scan 3"),
        ("7", 7, "scan 7"),
        ("11", 11, "scan 11"),
    ]
    with pytest.raises(InputError, match=r"holds 3 scans.*--series: 3 \(scan 3\), 7 \(scan 7\)"):
        load(tmp_path)
    scan = load(tmp_path, series="7")
    assert (scan.name, scan.series, scan.path) == ("scan 7", "7", tmp_path)
    with pytest.raises(InputError, match=r"no series '4'.*3 "):
        load(tmp_path, series="4")


def test_same_number_in_two_studies_gives_two_keys(tmp_path: Path) -> None:
    classic(tmp_path / "a", SeriesInstanceUID=UID("1.2.3.1"))
    classic(tmp_path / "b", SeriesInstanceUID=UID("1.2.3.2"))
    assert sorted(listed(tmp_path)) == ["5", "5-2"]


def test_two_echoes_become_two_scans(tmp_path: Path) -> None:
    classic(tmp_path, EchoTime="12.5", name="a", EchoNumbers="1")
    pixels = volume(36, 40, 6) // 2
    classic(tmp_path, EchoTime="97.1", name="b", EchoNumbers="2", pixels=pixels)
    found = listed(tmp_path)
    assert sorted(found) == ["5e1", "5e2"]
    first, second = (read_series(found[key]) for key in ("5e1", "5e2"))
    assert first.parameters is not None
    assert second.parameters is not None
    assert (first.parameters.te, second.parameters.te) == (12.5, 97.1)
    assert np.array_equal(second.data, pixels.T)
    assert second.name == "T2 TSE tra echo 2"


def test_echoes_of_one_enhanced_file(tmp_path: Path) -> None:
    enhanced(tmp_path / "a", echoes=(10.0, 50.0, 90.0))
    found = listed(tmp_path)
    assert [found[key].timing.values["te"] for key in ("5e1", "5e2", "5e3")] == [10.0, 50.0, 90.0]
    assert np.array_equal(read_series(found["5e3"]).data, (volume(36, 40, 6) >> 2).T)


@pytest.mark.parametrize(
    ("tag", "values", "keys"),
    [
        ("InversionTime", ("400", "2400"), ["5ti1", "5ti2"]),
        ("RepetitionTime", ("600", "4000"), ["5tr1", "5tr2"]),
        ("DiffusionBValue", (0.0, 800.0), ["5b0", "5b800"]),
    ],
)
def test_other_settings_split_too(
    tmp_path: Path, tag: str, values: tuple[Any, Any], keys: list[str]
) -> None:
    for number, value in enumerate(values):
        classic(tmp_path, name=f"{number}", **{tag: value})
    found = listed(tmp_path)
    assert sorted(found) == keys
    assert all(not series.refusal for series in found.values())


def test_magnitude_and_phase(tmp_path: Path) -> None:
    classic(tmp_path, name="m")
    classic(tmp_path, name="p", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"])
    classic(tmp_path, name="r", ImageType=["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"])
    found = listed(tmp_path)
    assert sorted(found) == ["5", "5p", "5r"]
    assert not found["5"].refusal
    assert not found["5r"].refusal
    assert "phase of the signal" in found["5p"].refusal


def test_phase_of_enhanced_objects(tmp_path: Path) -> None:
    for component in ("MAGNITUDE", "PHASE"):
        kind = one(ComplexImageComponent=component, FrameType=["ORIGINAL", "PRIMARY", "T2", "NONE"])
        uid = UID(f"1.2.3.{len(component)}")
        shared = {"MRImageFrameTypeSequence": kind}
        enhanced(tmp_path / component, shared=shared, SeriesInstanceUID=uid)
    assert sorted(bool(series.refusal) for series in find_series(tmp_path)) == [False, True]
    assert load(tmp_path).shape == (36, 40, 6)


def test_repeated_volumes(tmp_path: Path) -> None:
    """Several volumes of one setting: a choice, not several scans."""
    for time in range(3):
        number = {"TemporalPositionIdentifier": time + 1, "AcquisitionNumber": time + 1}
        pixels = volume(36, 40, 6) + 100 * time
        classic(tmp_path, name=f"{9 - time}-", pixels=pixels.astype(np.uint16), **number)
    series = listed(tmp_path)["5"]
    assert series.volumes == 3
    for time in range(3):
        assert np.array_equal(
            read_series(series, volume=time).data, volume(36, 40, 6).T + 100 * time
        )
    assert "Volume 0 of 3" in read_series(series).note
    with pytest.raises(InputError, match="no volume 3"):
        load(tmp_path, volume=3)


def test_copies_of_a_file_are_left_out(tmp_path: Path) -> None:
    for path in classic(tmp_path):
        shutil.copy(path, path.with_name(f"{path.name} (copy)"))
    scan = load(tmp_path)
    assert np.array_equal(scan.data, volume(36, 40, 6).T)
    assert "6 copies of images were left out" in scan.note


def test_an_unfinished_repetition_is_left_out(tmp_path: Path) -> None:
    classic(tmp_path, name="a", TemporalPositionIdentifier=1)
    for path in classic(tmp_path, name="b", TemporalPositionIdentifier=2)[4:]:
        path.unlink()
    scan = load(tmp_path)
    assert scan.shape == (36, 40, 6)
    assert "incomplete and was left out" in scan.note


@pytest.mark.parametrize("lost", [[2], [2, 3]])
def test_missing_slices(tmp_path: Path, lost: list[int]) -> None:
    paths = classic(tmp_path, slices=9)
    for index in lost:
        paths[index].unlink()
    (series,) = find_series(tmp_path)
    gap = 4 * (len(lost) + 1)
    missing = "1 slice is missing" if len(lost) == 1 else "2 slices are missing"
    assert series.refusal == (
        f"gap of {gap} mm after slice 2, where slices lie 4 mm apart: {missing}"
    )


def test_a_damaged_slice_is_named_as_the_cause_of_the_gap(tmp_path: Path) -> None:
    paths = classic(tmp_path, slices=9)
    paths[4].write_bytes(paths[4].read_bytes()[:700])
    (series,) = find_series(tmp_path)
    assert "1 slice is missing; 1 of the files here are damaged" in series.refusal


def test_uneven_spacing(tmp_path: Path) -> None:
    classic(tmp_path, each=lambda k: {"ImagePositionPatient": [0, 0, 3 * k + (0, 1.1)[k % 2]]})
    (series,) = find_series(tmp_path)
    assert series.refusal == "slices are not evenly spaced: 1.9 to 4.1 mm apart"


def test_slices_shifted_sideways(tmp_path: Path) -> None:
    classic(tmp_path, each=lambda k: {"ImagePositionPatient": [0, k, 4 * k]})
    (series,) = find_series(tmp_path)
    assert "shifted sideways" in series.refusal
    assert "14.0 degrees" in series.refusal


def test_a_slice_off_the_line(tmp_path: Path) -> None:
    classic(tmp_path, each=lambda k: {"ImagePositionPatient": [0, 5 * (k == 3), 4 * k]})
    (series,) = find_series(tmp_path)
    assert "beside the line of the others" in series.refusal


def test_localiser(tmp_path: Path) -> None:
    for number, orientation in enumerate((AXIAL, CORONAL, SAGITTAL)):
        classic(tmp_path, slices=3, orientation=orientation, name=f"{number}")
    (series,) = find_series(tmp_path)
    assert series.refusal == "a localiser: slices in 3 orientations"
    with pytest.raises(InputError, match="a localiser: slices in 3 orientations"):
        load(tmp_path)


def test_two_stacks_of_an_enhanced_file(tmp_path: Path) -> None:
    """Two tilted packages, as for spinal discs, open one by one."""
    paths = [enhanced(tmp_path / "one"), enhanced(tmp_path / "two", orientation=CORONAL)]
    first, second = (dcmread(path) for path in paths)
    for dataset, stack in ((first, "1"), (second, "2")):
        orientation = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.PlaneOrientationSequence = orientation
            frame.FrameContentSequence[0].StackID = stack
    first.PerFrameFunctionalGroupsSequence.extend(second.PerFrameFunctionalGroupsSequence)
    first.NumberOfFrames = 12
    first.PixelData += second.PixelData
    paths[1].unlink()
    first.save_as(paths[0])
    found = listed(tmp_path)
    assert sorted(found) == ["5s1", "5s2"]
    assert {series.plane for series in found.values()} == {"axial", "coronal"}


def test_images_of_two_sizes_in_one_series(tmp_path: Path) -> None:
    classic(tmp_path, name="a")
    classic(tmp_path, name="b", columns=48, rows=64, spacing=(0.75, 0.625))
    found = listed(tmp_path)
    assert sorted(found) == ["5m1", "5m2"]
    assert sorted(series.shape for series in found.values()) == [(36, 40, 6), (48, 64, 6)]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "CT"}, "not an MR image (modality CT)"),
        ({"ImageType": ["DERIVED", "PRIMARY", "ADC", "ND"]}, "a computed map (ADC)"),
        ({"ImageType": ["DERIVED", "PRIMARY", "T2 MAP"]}, "a computed map (T2 MAP)"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "a projection through a volume"),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]}, "a synthetic image"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "a screen capture"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "a colour image"),
        ({"ImageOrientationPatient": None}, "does not say where the slices lie"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "an impossible orientation"),
        ({"PixelSpacing": None}, "no pixel spacing"),
    ],
)
def test_images_that_cannot_be_used(tmp_path: Path, elements: dict[str, Any], reason: str) -> None:
    classic(tmp_path, **elements)
    (series,) = find_series(tmp_path)
    assert reason in series.refusal
    assert series.remedy
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert reason in str(caught.value)


def test_ordinary_derived_images_are_no_maps(tmp_path: Path) -> None:
    """Philips calls T1-weighted enhanced images T1; filtered images are called derived."""
    classic(tmp_path / "a", ImageType=["DERIVED", "PRIMARY", "M", "NORM", "FIL"])
    classic(tmp_path / "b", ImageType=["ORIGINAL", "PRIMARY", "T1", "NONE"])
    assert load(tmp_path / "a").shape == load(tmp_path / "b").shape == (36, 40, 6)


def test_the_one_usable_scan_needs_no_choice(tmp_path: Path) -> None:
    classic(tmp_path, name="good")
    other = {"SeriesNumber": 9, "SeriesInstanceUID": UID("1.2.9")}
    classic(tmp_path, name="bad", ImageType=["DERIVED", "PRIMARY", "ADC"], **other)
    found = find_series(tmp_path)
    assert [bool(series.refusal) for series in found] == [False, True]
    assert choose_series(found, None, tmp_path).key == "5"
    with pytest.raises(InputError, match=r"series 9 cannot be used: a computed map \(ADC\)"):
        choose_series(found, "9", tmp_path)


def test_nothing_usable_tells_why(tmp_path: Path) -> None:
    for number, word in ((4, "ADC"), (6, "FA")):
        uid = {"SeriesNumber": number, "SeriesInstanceUID": UID(f"1.2.{number}")}
        classic(tmp_path, name=word, ImageType=["DERIVED", "PRIMARY", word], **uid)
    with pytest.raises(InputError, match=r"2 scans, none of which.*4: .*ADC.*6: .*FA"):
        load(tmp_path)


def test_two_slices_of_a_3d_scan_are_incomplete_and_of_a_2d_scan_are_not(tmp_path: Path) -> None:
    classic(tmp_path / "2d", slices=2)
    assert load(tmp_path / "2d").shape == (36, 40, 2)
    classic(tmp_path / "3d", slices=2, MRAcquisitionType="3D")
    with pytest.raises(InputError, match="incomplete: two slices of a 3-D acquisition"):
        load(tmp_path / "3d")
