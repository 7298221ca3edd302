"""TR, TE and TI from the right place, to the last digit, and what else the header tells."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from crl_core.io import load
from crl_core.io.dicom import Series, find_series
from tests.core.dicom.writing import classic, enhanced, one


def only(path: Path) -> Series:
    (series,) = find_series(path)
    return series


def decimals(low: float, high: float) -> st.SearchStrategy[str]:
    """Return decimal strings as headers hold them: at most sixteen characters."""
    return st.floats(low, high).map(lambda v: f"{v:.15g}"[:16].rstrip("."))


@settings(max_examples=40)
@given(tr=decimals(20, 30_000), te=decimals(1, 900), ti=decimals(1, 9_000))
def test_classic_times_read_back_to_the_last_digit(tr: str, te: str, ti: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        times = {"RepetitionTime": tr, "EchoTime": te, "InversionTime": ti}
        (path,) = classic(Path(folder), slices=1, ScanningSequence=["SE", "IR"], **times)
        parameters = load(path).parameters
    assert parameters is not None
    assert parameters.triple == (float(tr), float(te), float(ti))


@settings(max_examples=40)
@given(tr=st.floats(20, 30_000), te=st.floats(1, 900), ti=st.floats(1, 9_000))
def test_enhanced_times_read_back_to_the_last_digit(tr: float, te: float, ti: float) -> None:
    repetition = f"{tr:.14g}"[:16].rstrip(".")
    groups = {
        "MRTimingAndRelatedParametersSequence": one(RepetitionTime=repetition),
        "MRModifierSequence": one(InversionRecovery="YES", InversionTimes=[ti]),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = enhanced(Path(folder) / "a", slices=3, echoes=[te], shared=groups)
        parameters = load(path).parameters
    assert parameters is not None
    assert parameters.triple == (float(repetition), te, ti)


def test_origins_name_the_element(tmp_path: Path) -> None:
    classic(tmp_path / "c", InversionTime="2025", ScanningSequence=["SE", "IR"])
    origins = only(tmp_path / "c").timing.origins
    assert {n: o.where for n, o in origins.items()} == {
        "tr": "DICOM (0018,0080) RepetitionTime",
        "te": "DICOM (0018,0081) EchoTime",
        "ti": "DICOM (0018,0082) InversionTime",
    }
    enhanced(tmp_path / "e" / "a")
    origins = only(tmp_path / "e").timing.origins
    assert origins["te"].where == "DICOM functional group MREchoSequence, EffectiveEchoTime"
    assert "InversionRecovery NO" in origins["ti"].where
    assert {o.certainty for o in origins.values()} == {"stated"}


@pytest.mark.parametrize("bad", ["-1", "0", "1.8e308", "1.7E+38", "99999999", "junk"])
def test_placeholders_count_as_not_stated(tmp_path: Path, bad: str) -> None:
    data = {"RepetitionTime": "1", "EchoTime": "2"}
    (path,) = classic(tmp_path, slices=1, **data)
    raw = path.read_bytes()
    for name, value in (("RepetitionTime", b"1 "), ("EchoTime", b"2 ")):
        tag = {"RepetitionTime": b"\x18\x00\x80\x00", "EchoTime": b"\x18\x00\x81\x00"}[name]
        text = bad.encode().ljust(len(bad) + len(bad) % 2)
        old = tag + b"DS" + len(value).to_bytes(2, "little") + value
        assert raw.count(old) == 1
        raw = raw.replace(old, tag + b"DS" + len(text).to_bytes(2, "little") + text)
    path.write_bytes(raw)
    series = only(path)
    assert not {"tr", "te"} & series.timing.values.keys()
    scan = load(path)
    assert scan.parameters is None
    assert "does not state TR and TE" in scan.note


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), 1.7976931348623157e308])
def test_placeholders_in_functional_groups_fall_back(tmp_path: Path, bad: float) -> None:
    """Philips writes 0 and the largest double; the top level or the next element then counts."""
    groups = {"MRModifierSequence": one(InversionRecovery="YES", InversionTimes=[0.0, bad])}
    enhanced(tmp_path / "a", echoes=[bad], shared=groups, EchoTime="98.5", InversionTime="2400")
    series = only(tmp_path / "a")
    assert series.timing.values["te"] == 98.5
    assert series.timing.origins["te"].where == "DICOM (0018,0081) EchoTime"
    assert series.timing.values["ti"] == 2400


def test_two_inversion_times_are_not_one(tmp_path: Path) -> None:
    """Double inversion recovery has no single TI; it is left unknown."""
    groups = {"MRModifierSequence": one(InversionRecovery="YES", InversionTimes=[3000.0, 450.0])}
    enhanced(tmp_path / "a", shared=groups)
    assert "ti" not in only(tmp_path / "a").timing.values


@pytest.mark.parametrize(
    ("elements", "value", "certainty"),
    [
        ({"ScanningSequence": "SE"}, 0.0, "stated"),
        ({"ScanningSequence": "SE", "InversionTime": "0"}, 0.0, "stated"),
        ({"ScanningSequence": None}, 0.0, "nominal"),
        ({"ScanningSequence": ["SE", "IR"]}, None, None),
        ({"ScanningSequence": ["SE", "IR"], "InversionTime": "0"}, None, None),
        ({"ScanningSequence": "SE", "SeriesDescription": "t2_tirm_tra FLAIR"}, None, None),
        ({"ScanningSequence": "SE", "SequenceName": "*tir2d1_15"}, None, None),
    ],
)
def test_no_inversion_time(
    tmp_path: Path, elements: dict[str, Any], value: float | None, certainty: str | None
) -> None:
    """Zero where a plain spin echo is certain, unknown where an inversion is likely."""
    classic(tmp_path, **elements)
    timing = only(tmp_path).timing
    assert timing.values.get("ti") == value
    origin = timing.origins.get("ti")
    assert (None if origin is None else origin.certainty) == certainty


KINDS = [
    ({"ScanningSequence": "SE", "SequenceVariant": "SK"}, "fast spin echo", True),
    ({"SequenceVariant": "NONE", "EchoTrainLength": "9"}, "fast spin echo", True),
    ({"SequenceVariant": "NONE", "EchoTrainLength": "1"}, "spin echo", False),
    ({"SequenceVariant": "NONE", "EchoTrainLength": None}, "spin echo", None),
    (
        {"ScanningSequence": ["SE", "IR"], "InversionTime": "2000"},
        "inversion recovery fast spin echo",
        True,
    ),
    (
        {"ScanningSequence": "IR", "SequenceVariant": "NONE", "EchoTrainLength": "1"},
        "inversion recovery",
        False,
    ),
    ({"ScanningSequence": "GR", "SequenceVariant": ["SP", "SK"]}, "gradient echo", False),
    ({"ScanningSequence": ["GR", "IR"], "InversionTime": "900"}, "gradient echo", False),
    ({"ScanningSequence": ["SE", "EP"], "EchoTrainLength": "64"}, "echo planar", False),
    ({"ScanningSequence": "RM", "SequenceName": "*spc3d1rr"}, "fast spin echo", True),
    ({"ScanningSequence": "RM", "SequenceName": "*tfl3d1_ns"}, "gradient echo", False),
    ({"ScanningSequence": "RM", "SeriesDescription": "scan"}, "unknown", None),
    ({"ScanningSequence": None, "SeriesDescription": "Ax T2 FSE"}, "fast spin echo", True),
]


@pytest.mark.parametrize(("elements", "kind", "fast"), KINDS)
def test_kind_of_sequence(
    tmp_path: Path, elements: dict[str, Any], kind: str, fast: bool | None
) -> None:
    classic(tmp_path, **{"SeriesDescription": "scan", **elements})
    series = only(tmp_path)
    assert (series.kind, series.fast_spin_echo) == (kind, fast)


@pytest.mark.parametrize(
    ("elements", "groups", "kind"),
    [
        ({"EchoPulseSequence": "SPIN"}, {}, "fast spin echo"),
        ({"EchoPulseSequence": "GRADIENT"}, {}, "gradient echo"),
        ({"EchoPulseSequence": "SPIN", "EchoPlanarPulseSequence": "YES"}, {}, "echo planar"),
        ({"PulseSequenceName": "TSE"}, {"RFEchoTrainLength": 0}, "fast spin echo"),
        ({"EchoPulseSequence": "SPIN"}, {"RFEchoTrainLength": 1}, "spin echo"),
        ({"EchoPulseSequence": "SPIN"}, {"RFEchoTrainLength": 1, "EchoTrainLength": "80"},
         "fast spin echo"),
    ],
)  # fmt: skip
def test_kind_of_enhanced_sequence(
    tmp_path: Path, elements: dict[str, Any], groups: dict[str, Any], kind: str
) -> None:
    timing = {"RepetitionTime": "3000", "RFEchoTrainLength": 12, **groups}
    shared = {"MRTimingAndRelatedParametersSequence": one(**timing)}
    enhanced(tmp_path / "a", shared=shared, SeriesDescription="scan", **elements)
    assert only(tmp_path / "a").kind == kind


def test_conventional_dual_spin_echo_is_not_fast(tmp_path: Path) -> None:
    """Two echoes in the train and two images of each place: no echo is left for k-space."""
    train = {"SequenceVariant": "NONE", "EchoTrainLength": "2", "SeriesDescription": "PD T2"}
    classic(tmp_path / "a", EchoTime="20", name="a", **train)
    classic(tmp_path / "b", EchoTime="80", name="b", **train)
    found = find_series(tmp_path)
    assert [series.kind for series in found] == ["spin echo", "spin echo"]


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"ScanOptions": ["FS", "SAT1"]}, True),
        ({"ScanOptions": "SAT1", "Manufacturer": "SIEMENS"}, False),
        ({"ScanOptions": "FAST_GEMS", "Manufacturer": "GE MEDICAL SYSTEMS"}, None),
        ({}, None),
    ],
)
def test_fat_suppression(tmp_path: Path, elements: dict[str, Any], expected: bool | None) -> None:
    classic(tmp_path, **elements)
    assert only(tmp_path).timing.extras.get("fat_suppression") is expected


def test_fat_suppression_of_enhanced(tmp_path: Path) -> None:
    for number, (word, expected) in enumerate((("FAT", True), ("NONE", False))):
        group = one(InversionRecovery="NO", SpectrallySelectedSuppression=word)
        path = enhanced(tmp_path / f"{number}", shared={"MRModifierSequence": group})
        assert only(path).timing.extras["fat_suppression"] is expected


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"MagneticFieldStrength": "3"}, 3.0),
        ({"MagneticFieldStrength": "15000"}, 1.5),
        ({"MagneticFieldStrength": "0.55"}, 0.55),
        ({"ImagingFrequency": "123.2"}, 3.0),
        ({"MagneticFieldStrength": "0", "ImagingFrequency": "63.87"}, 1.5),
        ({}, None),
    ],
)
def test_field_strength(tmp_path: Path, elements: dict[str, Any], expected: float | None) -> None:
    classic(tmp_path, **elements)
    assert only(tmp_path).timing.extras.get("field_strength") == expected


def philips_private(delay: float, kind: str) -> dict[str, Any]:
    """Return private elements of Philips for each slice."""

    def add(dataset: Dataset) -> None:
        block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
        block.add_new(0x1B, "FL", delay)
        block.add_new(0x1C, "CS", kind)
        block.add_new(0x21, "CS", "Y")
        block.add_new(0x85, "DS", "1.5")
        other = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        other.add_new(0x30, "FL", [519.5225830078125, 0.0])

    return {"add": add}


@pytest.mark.parametrize(("kind", "expected"), [("INV", 2400.0), ("SPIR", 0.0)])
def test_private_elements_of_philips(tmp_path: Path, kind: str, expected: float) -> None:
    (path,) = classic(tmp_path, slices=1, RepetitionTime="-1", Manufacturer="Philips")
    from pydicom import dcmread

    dataset = dcmread(path)
    philips_private(2400.0, kind)["add"](dataset)
    dataset.save_as(path)
    timing = only(path).timing
    assert timing.values["tr"] == 519.5226
    assert "private (2005,1030) of Philips" in timing.origins["tr"].where
    assert timing.values["ti"] == expected
    assert timing.extras["fat_suppression"] is True
    assert timing.extras["field_strength"] == 1.5


PROTOCOL = b"""some text before
### ASCCONV BEGIN object=MrProtDataImpl ###
lContrasts\t = \t1
alTR[0]\t = \t8000000
alTE[0]\t = \t98780
alTE[1]\t = \t2000
alTI[0]\t = \t2025000
sPrepPulses.ucInversion\t = \t%s
sPrepPulses.ucFatSat\t = \t1
sFastImaging.lTurboFactor\t = \t18
sFastImaging.lEchoSpacing\t = \t10420
### ASCCONV END ###
"""


def csa_header(**tags: list[str]) -> bytes:
    """Return a CSA header of the second kind, as nibabel's documentation describes it."""
    data = b"SV10\x04\x03\x02\x01" + len(tags).to_bytes(4, "little") + b"M\0\0\0"
    for name, items in tags.items():
        data += name.encode().ljust(64, b"\0") + len(items).to_bytes(4, "little") + b"UN\0\0"
        data += bytes(4) + len(items).to_bytes(4, "little") + b"M\0\0\0"
        for item in items:
            text = item.encode() + b"\0"
            data += np.array([0, len(text), 77, 0], "<i4").tobytes()
            data += text.ljust(-(-len(text) // 4) * 4, b"\0")
    return data


@pytest.mark.parametrize(
    ("switch", "scanning", "expected"),
    [(b"0x2", "SE", 2025.0), (b"4", "SE", 0.0), (b"1", ["SE", "IR"], 2025.0), (b"1", "SE", 0.0)],
)
def test_protocol_of_siemens(
    tmp_path: Path, switch: bytes, scanning: str | list[str], expected: float
) -> None:
    """Where the standard elements are gone; inversion times of the list may not be played out."""
    from pydicom import dcmread

    gone = {"RepetitionTime": None, "EchoTime": None, "EchoTrainLength": None}
    words = {"Manufacturer": "SIEMENS", "SeriesDescription": "scan"}
    (path,) = classic(tmp_path, slices=1, ScanningSequence=scanning, **gone, **words)
    dataset = dcmread(path)
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    text = (PROTOCOL % switch).decode()
    block.add_new(0x20, "OB", csa_header(MrPhoenixProtocol=[text]))
    dataset.save_as(path)
    timing = only(path).timing
    assert timing.values == {"tr": 8000.0, "te": 98.78, "ti": expected}
    assert timing.origins["te"].where == "Siemens protocol in the DICOM header, alTE[0]"
    assert timing.extras["echo_train_length"] == 18
    assert timing.extras["echo_spacing"] == 10.42
    assert timing.extras["fat_suppression"] is True


def test_converted_objects_keep_classic_elements(tmp_path: Path) -> None:
    """Legacy converted objects hold TE and TI in sequences of unassigned attributes."""
    shared = {
        "MRTimingAndRelatedParametersSequence": Items([]),
        "MRModifierSequence": Items([]),
        "UnassignedSharedConvertedAttributesSequence": one(
            RepetitionTime="7000", ScanningSequence=["SE", "IR"]
        ),
    }

    def own(_slice: int, _echo: int) -> dict[str, Items]:
        unassigned = one(EchoTime="93", InversionTime="2210")
        name = "UnassignedPerFrameConvertedAttributesSequence"
        return {"MREchoSequence": Items([]), name: unassigned}

    enhanced(tmp_path / "a", shared=shared, own=own)
    series = only(tmp_path / "a")
    assert series.timing.values == {"tr": 7000.0, "te": 93.0, "ti": 2210.0}
    assert series.kind == "inversion recovery fast spin echo"


def test_times_that_differ_between_slices(tmp_path: Path) -> None:
    """A gated scan has its own TR for each slice: the median, and a note that says so."""
    classic(tmp_path, slices=5, each=lambda k: {"RepetitionTime": str(4000 + 100 * k)})
    series = only(tmp_path)
    assert series.timing.values["tr"] == 4200
    assert "median of 4000 to 4400 ms" in series.timing.origins["tr"].where
    assert "TR differs between slices" in load(tmp_path).note
