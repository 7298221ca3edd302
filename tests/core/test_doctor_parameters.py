"""The data doctor on TR, TE and TI: units, missing values, contradictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crl_core.doctor import check_dataset
from crl_core.doctor.units import scaled, suspected
from crl_core.io.bids import sidecar_path
from crl_core.io.timing import to_fields
from crl_core.sequence import TE_RANGE, TI_RANGE, TR_RANGE, SequenceParameters
from tests.core.doctor_data import edit, forget_header, found, image_of, make_dataset, only

TIMES = ("RepetitionTime", "EchoTime", "InversionTime")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("made") / "set")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "set")


def test_a_clean_dataset_stays_clean(root: Path) -> None:
    report = check_dataset(root)
    assert report.findings == ()
    assert {row.verdict for row in report.subjects} == {"ok"}
    assert report.labels == ("sub-01", "sub-02", "sub-03")
    flair = report.subjects[3]
    assert (flair.tr.ms, flair.te.ms, flair.ti.ms) == (8000, 98.78, 2025)
    assert flair.tr.certainty == "stated"
    assert "sub-01_acq-paper9_FLAIR.json" in flair.tr.where
    assert (flair.suffix, flair.orientation, flair.slices) == ("FLAIR", "RAS", 14)
    assert check_dataset(root, quick=True).findings == ()


# units ------------------------------------------------------------------------------------------


@st.composite
def sidecars(draw: Callable[..., Any]) -> dict[str, Any]:
    """Return the sidecar of any fast spin echo scan this program is for, in seconds."""
    ti = draw(st.one_of(st.just(0.0), st.floats(*TI_RANGE)))
    te = draw(st.floats(*TE_RANGE))
    tr = draw(st.floats(max(TR_RANGE[0], ti + te), TR_RANGE[1]))
    fields = to_fields(SequenceParameters(tr, te, ti, echo_spacing=draw(st.floats(4, 40))))
    if draw(st.booleans()):
        del fields["ScanningSequence"]
    return fields


@given(sidecars(), st.sets(st.sampled_from(TIMES)))
def test_seconds_are_told_from_milliseconds_and_from_thousandths(
    fields: dict[str, Any], wrong: set[str]
) -> None:
    wrong &= fields.keys()
    assert {suspected(key, fields) for key in TIMES} == {""}
    in_ms = fields | {key: scaled(fields[key], 1000.0) for key in wrong}
    assert {key for key in TIMES if suspected(key, in_ms) == "milliseconds"} == wrong
    once_too_often = fields | {key: scaled(fields[key], 0.001) for key in wrong}
    if "ScanningSequence" not in fields and wrong == {"RepetitionTime"}:
        # Nothing but a longer TE or TI tells a TR of a few ms from that of a gradient echo.
        others = (fields["EchoTime"], fields.get("InversionTime", 0.0))
        assume(once_too_often["RepetitionTime"] <= max(others))
    assert {key for key in TIMES if suspected(key, once_too_often) == "thousandth"} == wrong


@pytest.mark.parametrize(
    "fields",
    [
        {"RepetitionTime": 0.0081, "EchoTime": 0.0037},
        {"RepetitionTime": 2.3, "EchoTime": 0.00298, "InversionTime": 0.9},
        {"RepetitionTime": 0.02, "EchoTime": 0.00005, "ScanningSequence": "GR"},
    ],
)
def test_times_of_gradient_echo_are_no_slip_of_units(fields: dict[str, Any]) -> None:
    assert [suspected(key, fields) for key in TIMES] == ["", "", ""]


def test_a_list_of_echo_times_is_judged_as_one() -> None:
    assert suspected("EchoTime", {"EchoTime": [10.4, 99.0]}) == "milliseconds"
    assert suspected("EchoTime", {"EchoTime": [0.0104, 0.099]}) == ""
    assert scaled([10.4, 99.0], 0.001) == [0.0104, 0.099]


@pytest.mark.parametrize(
    ("key", "changes", "code"),
    [
        (7, {"EchoTime": 104.2}, "milliseconds"),
        (5, {"RepetitionTime": 8000}, "milliseconds"),
        (9, {"InversionTime": 2025}, "milliseconds"),
        (9, {"RepetitionTime": 8000, "EchoTime": 98.78, "InversionTime": 2025}, "milliseconds"),
        (7, {"EchoTime": 0.0001042}, "thousandth"),
        (5, {"RepetitionTime": 0.008}, "thousandth"),
        (
            9,
            {"RepetitionTime": 0.008, "EchoTime": 9.878e-5, "InversionTime": 0.002025},
            "thousandth",
        ),
    ],
)
def test_a_wrong_unit_is_named_with_its_mend(
    root: Path, key: int, changes: dict[str, float], code: str
) -> None:
    image = image_of(root, 2, key)
    edit(image, changes)
    report = check_dataset(root, quick=True)
    finding = only(report, code)
    assert [f.code for f in report.findings] == [code], "no second finding for one mistake"
    assert (finding.severity, finding.subject) == ("error", "sub-02")
    assert finding.file == image.relative_to(root).as_posix()
    assert all(f"{name} {json.dumps(value)}" in finding.problem for name, value in changes.items())
    assert finding.mend == f"crl mend {root} --{code} {finding.file}"
    row = next(r for r in report.subjects if r.file == finding.file)
    assert row.verdict == code


def test_a_shared_sidecar_is_named_once(root: Path) -> None:
    for subject in (1, 2, 3):
        edit(image_of(root, subject, 7), drop=["EchoTime"])
        forget_header(image_of(root, subject, 7))
    (root / "acq-paper7_T2w.json").write_text(json.dumps({"EchoTime": 104.2}))
    finding = only(check_dataset(root, quick=True), "milliseconds")
    assert (finding.file, finding.subject) == ("acq-paper7_T2w.json", "")
    assert finding.mend.endswith("--milliseconds acq-paper7_T2w.json")


# missing and damaged ----------------------------------------------------------------------------


def test_a_missing_sidecar_is_an_error_even_where_the_header_knows(root: Path) -> None:
    sidecar_path(image_of(root, 1, 7)).unlink()
    finding = only(check_dataset(root, quick=True), "sidecar-missing")
    assert finding.severity == "error"
    assert finding.mend.endswith("paper7_T2w.nii.gz=8142,104.2,0")
    assert finding.action is not None
    assert finding.action.sure


def test_numbers_of_other_subjects_are_proposed_but_never_taken_unasked(root: Path) -> None:
    image = image_of(root, 1, 9)
    sidecar_path(image).unlink()
    forget_header(image)
    finding = only(check_dataset(root, quick=True), "sidecar-missing")
    assert "the values of 2 other scans named paper9 FLAIR" in finding.problem
    assert finding.mend.endswith("=8000,98.78,2025")
    assert finding.action is not None
    assert not finding.action.sure


def test_where_nobody_knows_the_number_the_command_leaves_a_gap(root: Path) -> None:
    for subject in (1, 2, 3):
        edit(image_of(root, subject, 9), drop=["InversionTime"])
        forget_header(image_of(root, subject, 9))
    report = check_dataset(root, quick=True)
    missing = [f for f in report.errors if f.code == "missing"]
    assert [f.subject for f in missing] == ["sub-01", "sub-02", "sub-03"]
    assert "states TI, although its name or sequence says inversion recovery" in missing[0].problem
    assert missing[0].mend.endswith("=8000,98.78,TI")


def test_a_plain_spin_echo_needs_no_ti(root: Path) -> None:
    image = image_of(root, 1, 7)
    forget_header(image)
    edit(image, drop=["ScanningSequence"])
    assert check_dataset(root, quick=True).findings == ()


def test_without_any_sidecar_headers_that_say_all_are_enough(root: Path) -> None:
    for path in root.rglob("sub-*.json"):
        path.unlink()
    assert set(found(root, quick=True)) == {("warning", "sidecar-missing")}


@pytest.mark.parametrize("text", ['{"EchoTime": 0.1', "[1, 2]", "\x00\xff"])
def test_a_damaged_sidecar_is_an_error(root: Path, text: str) -> None:
    sidecar_path(image_of(root, 3, 5)).write_text(text, encoding="latin-1")
    finding = only(check_dataset(root, quick=True), "sidecar-damaged")
    assert (finding.severity, finding.subject) == ("error", "sub-03")
    assert finding.mend.endswith("=8000,10.42,0")


def test_a_value_that_is_no_number_is_an_error(root: Path) -> None:
    edit(image_of(root, 3, 5), {"EchoTime": "10.42 ms"})
    finding = only(check_dataset(root, quick=True), "unusable-value")
    assert "'10.42 ms', which is not a number" in finding.problem
    assert finding.mend.endswith("=8000,10.42,0")


# contradictions ---------------------------------------------------------------------------------


def test_a_tr_too_short_is_impossible(root: Path) -> None:
    image = image_of(root, 2, 9)
    edit(image, {"RepetitionTime": 2.0})
    forget_header(image)
    report = check_dataset(root, quick=True)
    finding = only(report, "impossible")
    assert finding.severity == "error"
    assert finding.problem == "TR 2000 ms cannot hold TI 2025 and TE 98.78 ms"


def test_a_header_that_says_otherwise_is_a_warning(root: Path) -> None:
    image = image_of(root, 2, 7)
    old = nib.load(image)
    old.header["descrip"] = b"TE=80;TR=8142"
    old.to_filename(image)
    finding = only(check_dataset(root, quick=True), "header-disagrees")
    assert finding.severity == "warning"
    assert "TE 104.2 ms, the NIfTI header 80 ms" in finding.problem
    assert finding.mend.endswith("paper7_T2w.nii.gz=8142,80,0")


def test_one_subject_off_from_the_others_is_a_warning(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "set", subjects=4, sequences=(5, 7))
    image = image_of(root, 4, 7)
    edit(image, {"EchoTime": 0.0104})
    forget_header(image)
    finding = only(check_dataset(root, quick=True), "outlier")
    assert "TE 10.4 ms, but 104.2 ms in the 3 other scans named paper7 T2w" in finding.problem
    assert finding.mend.endswith("paper7_T2w.nii.gz=8142,104.2,0")


def test_nominal_values_are_noted(root: Path) -> None:
    edit(image_of(root, 2, 7), {"CRLParameterCertainty": {"TE": "nominal"}})
    finding = only(check_dataset(root, quick=True), "nominal")
    assert (finding.severity, finding.subject) == ("note", "sub-02")
    assert check_dataset(root, quick=True).errors == ()


def test_gradient_echo_is_a_warning(root: Path) -> None:
    image = image_of(root, 2, 5)
    forget_header(image)
    edit(image, {"ScanningSequence": "GR", "RepetitionTime": 0.5, "EchoTime": 0.004})
    codes = [f.code for f in check_dataset(root, quick=True).findings]
    assert "gradient-echo" in codes
    assert "thousandth" not in codes
