"""BIDS: seconds at the border, milliseconds inside, and datasets in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_core.errors import GridError, InputError
from crl_core.io import bids, load, save
from crl_core.io.timing import read_timing, to_fields
from crl_core.scan import Origin, Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
DATA = np.arange(60, dtype=np.float32).reshape(5, 4, 3)


def image(path: Path, sidecar: dict[str, Any] | None = None, **header: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = header.pop("shape", DATA.shape)
    made = nib.Nifti1Image(np.resize(DATA, shape), AFFINE)
    made.header.set_xyzt_units("mm", header.pop("time_unit", "sec"))
    for key, value in header.items():
        made.header[key] = value
    made.to_filename(path)
    if sidecar is not None:
        bids.sidecar_path(path).write_text(json.dumps(sidecar))
    return path


@given(
    tr=st.floats(200, 20_000),
    te=st.floats(5, 150),
    ti=st.one_of(st.just(0.0), st.floats(20, 5000)),
    train=st.one_of(st.none(), st.integers(1, 64)),
    field=st.one_of(st.none(), st.sampled_from([0.064, 1.5, 3.0])),
)
def test_parameters_survive_seconds(
    tr: float, te: float, ti: float, train: int | None, field: float | None
) -> None:
    tr, te, ti = (float(f"{v:.10g}") for v in (tr, te, ti))
    given_ = SequenceParameters(tr, te, ti, echo_train_length=train, field_strength=field)
    fields = json.loads(json.dumps(to_fields(given_)))
    timing = read_timing(fields, nib.Nifti1Header(), path=Path("a.nii"), where="sidecar")
    assert timing.parameters == given_
    assert {o.certainty for o in timing.origins.values()} == {"stated"}


@pytest.mark.parametrize("number", PAPER_SEQUENCES)
def test_save_and_load_keep_the_paper_sequences(tmp_path: Path, number: int) -> None:
    wanted = PAPER_SEQUENCES[number]
    save(Scan(DATA, AFFINE, "x", wanted), tmp_path / "sub-01_acq-x_T2w.nii.gz")
    scan = load(tmp_path / "sub-01_acq-x_T2w.nii.gz")
    assert scan.parameters == wanted
    written = json.loads((tmp_path / "sub-01_acq-x_T2w.json").read_text())
    assert written["RepetitionTime"] == pytest.approx(wanted.tr / 1000, rel=1e-12)
    assert ("InversionTime" in written) == wanted.inverted, "BIDS has no inversion time of 0"


def test_header_alone_gives_the_parameters_back(tmp_path: Path) -> None:
    save(Scan(DATA, AFFINE, "x", PAPER_SEQUENCES[9]), tmp_path / "a.nii.gz")
    (tmp_path / "a.json").unlink()
    scan = load(tmp_path / "a.nii.gz")
    assert scan.parameters == PAPER_SEQUENCES[9]
    assert "header" in scan.origins["te"].where


def test_nominal_values_stay_nominal(tmp_path: Path) -> None:
    origins = {"tr": Origin("protocol"), "te": Origin("assumed", "nominal"), "ti": Origin("p")}
    scan = Scan(DATA, AFFINE, "x", SequenceParameters(600, 15), origins)
    save(scan, tmp_path / "a.nii")
    back = load(tmp_path / "a.nii")
    assert back.nominal
    assert back.origins["te"].certainty == "nominal"
    assert back.origins["tr"].certainty == "stated"


# where values come from -------------------------------------------------------------------------


def test_sidecar_wins_over_header_value_by_value(tmp_path: Path) -> None:
    path = image(tmp_path / "a.nii", {"EchoTime": 0.09}, descrip=b"TE=100;TR=8000;TI=0")
    scan = load(path)
    assert scan.parameters == SequenceParameters(8000, 90)
    assert "a.json" in scan.origins["te"].where
    assert "header" in scan.origins["tr"].where


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"TE=100;TR=8000;TI=0", (8000, 100, 0)),
        (b"TE=1e+02;TR=8000;TI=2500;Time=134838.000", (8000, 100, 2500)),
        (b"3T 2D IR TR=8000ms/TE=98.78ms/TI=2025ms/FA=90deg", (8000, 98.78, 2025)),
        (b"TR = 8 s, TE = 0.1 s, TI = 2 s", (8000, 100, 2000)),
    ],
)
def test_header_text(tmp_path: Path, text: bytes, expected: tuple[float, ...]) -> None:
    scan = load(image(tmp_path / "a.nii", descrip=text))
    assert scan.parameters is not None
    assert scan.parameters.triple == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", [b"TR=8;TE=100;TI=0", b"TR=-1;TE=100;TI=0", b"STR=8000;TE=100;TI=0", b"TR=8000;TI=0"]
)
def test_ambiguous_header_text_is_not_believed(tmp_path: Path, text: bytes) -> None:
    assert load(image(tmp_path / "a.nii", descrip=text)).parameters is None


@pytest.mark.parametrize(
    ("shape", "unit", "step", "expected"),
    [
        ((5, 4, 3, 2), "sec", 2.5, 2500.0),
        ((5, 4, 3, 2), "msec", 2500, 2500.0),
        ((5, 4, 3), "sec", 2.5, None),
        ((5, 4, 3, 2), "unknown", 2.5, None),
        ((5, 4, 3, 2), "sec", 1.0, None),
        ((5, 4, 3, 2), "sec", 2500, None),
    ],
)
def test_time_step_counts_only_where_credible(
    tmp_path: Path, shape: tuple[int, ...], unit: str, step: float, expected: float | None
) -> None:
    pixdim = [1, 1, 1, 3, step, 0, 0, 0]
    path = image(tmp_path / "a.nii", {"EchoTime": 0.01}, shape=shape, time_unit=unit, pixdim=pixdim)
    parameters = load(path).parameters
    assert (None if parameters is None else parameters.tr) == expected


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [("RepetitionTime", 8000, "8 "), ("EchoTime", 100, "0.1 "), ("InversionTime", 2025, "2.025 ")],
)
def test_milliseconds_in_a_sidecar_are_refused(
    tmp_path: Path, field: str, value: float, right: str
) -> None:
    fields = {"RepetitionTime": 8.0, "EchoTime": 0.1, "InversionTime": 2.0, field: value}
    path = image(tmp_path / "a.nii", fields)
    with pytest.raises(InputError, match=rf"{field} {value}.*Write {right}if .* ms was meant"):
        load(path)
    assert load(path, parameters=SequenceParameters(8000, 100)).parameters is not None


@pytest.mark.parametrize("value", [-1.0, 0, float("nan"), float("inf")])
def test_placeholders_of_converters_count_as_absent(tmp_path: Path, value: float) -> None:
    scan = load(image(tmp_path / "a.nii", {"RepetitionTime": value, "EchoTime": 0.1}))
    assert scan.parameters is None
    assert "does not state TR" in scan.note


def test_text_where_a_number_belongs_is_refused(tmp_path: Path) -> None:
    path = image(tmp_path / "a.nii", {"RepetitionTime": "8 s", "EchoTime": 0.1})
    with pytest.raises(InputError, match="not a number"):
        load(path)


def test_one_echo_time_per_volume(tmp_path: Path) -> None:
    fields = {"RepetitionTime": 5, "EchoTime": [0.01, 0.05], "ScanningSequence": "SE"}
    path = image(tmp_path / "a.nii", fields, shape=(5, 4, 3, 2))
    second = load(path, volume=1).parameters
    assert second == SequenceParameters(5000, 50)


@pytest.mark.parametrize("content", ["{", "[1]", '"text"', "\x00\x01", "[" * 100_000])
def test_damaged_sidecar_is_refused(tmp_path: Path, content: str) -> None:
    path = image(tmp_path / "a.nii")
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json.*JSON"):
        load(path)


# inversion --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sub-01_FLAIR", "T2-flair", "stir_tse", "sub-1_acq-ir2_T1w"])
def test_an_inversion_scan_without_its_time_is_not_guessed(tmp_path: Path, name: str) -> None:
    scan = load(image(tmp_path / f"{name}.nii", {"RepetitionTime": 8, "EchoTime": 0.1}))
    assert scan.parameters is None
    assert "does not state TI" in scan.note


def test_inversion_told_by_the_scanning_sequence(tmp_path: Path) -> None:
    fields = {"RepetitionTime": 8, "EchoTime": 0.1}
    unknown = image(tmp_path / "a.nii", fields | {"ScanningSequence": "SE\\IR"})
    assert load(unknown).parameters is None
    stated = load(image(tmp_path / "b.nii", fields | {"ScanningSequence": "SE"}))
    assert stated.parameters == SequenceParameters(8000, 100)
    assert not stated.nominal
    assumed = load(image(tmp_path / "c.nii", fields))
    assert assumed.parameters == SequenceParameters(8000, 100)
    assert assumed.nominal, "no word on inversion is an assumption"


# datasets ---------------------------------------------------------------------------------------


def test_scan_names_hold_no_person() -> None:
    assert bids.scan_name("sub-DoeJane_ses-2_acq-PD_T2w.nii.gz") == "PD T2w"
    assert bids.scan_name("sub-DoeJane_T1w.nii") == "T1w"
    assert bids.scan_name("brain.nii.gz") == "brain"


def dataset(root: Path) -> Path:
    bids.write_dataset_description(root, "Digital subjects")
    for subject in ("01", "02"):
        for name, suffix in (("PD", "PDw"), ("T2-FLAIR", "FLAIR")):
            path = bids.image_path(root, subject, name, suffix)
            save(Scan(DATA, AFFINE, name, PAPER_SEQUENCES[9 if suffix == "FLAIR" else 5]), path)
    bids.write_participants(
        root, [{"participant_id": "sub-01", "age": 30}, {"participant_id": "sub-02"}]
    )
    return root


def test_dataset_round_trip(tmp_path: Path) -> None:
    root = dataset(tmp_path / "set")
    image(root / "sub-01" / "anat" / "sub-01_dseg.nii.gz")
    (root / "derivatives").mkdir()
    assert [f.label for f in bids.find_subjects(root)] == ["sub-01", "sub-02"]
    subject = bids.load_subject(root, "01")
    assert subject.name == "sub-01"
    assert [s.name for s in subject.scans] == ["PD PDw", "T2FLAIR FLAIR"]
    assert [s.parameters for s in subject.scans] == [PAPER_SEQUENCES[5], PAPER_SEQUENCES[9]]
    description = json.loads((root / "dataset_description.json").read_text())
    assert description["Name"] == "Digital subjects"
    assert description["BIDSVersion"]
    table = (root / "participants.tsv").read_text().splitlines()
    assert table == ["participant_id\tage", "sub-01\t30", "sub-02\tn/a"]


def test_sessions_are_subjects_of_their_own(tmp_path: Path) -> None:
    for session in ("1", "2"):
        image(tmp_path / f"sub-A/ses-{session}/anat/sub-A_ses-{session}_T1w.nii.gz")
    assert [f.label for f in bids.find_subjects(tmp_path)] == ["sub-A_ses-1", "sub-A_ses-2"]
    assert len(bids.load_subject(tmp_path, "A_ses-2").scans) == 1


def test_sidecars_are_inherited_and_the_closest_wins(tmp_path: Path) -> None:
    bids.write_dataset_description(tmp_path, "x")
    fields = {"RepetitionTime": 8, "EchoTime": 0.01, "ScanningSequence": "SE"}
    (tmp_path / "T2w.json").write_text(json.dumps(fields))
    (tmp_path / "acq-other_T2w.json").write_text(json.dumps({"RepetitionTime": 3}))
    path = image(tmp_path / "sub-01/anat/sub-01_acq-a_T2w.nii.gz", {"EchoTime": 0.1})
    assert load(path).parameters == SequenceParameters(8000, 100)
    (tmp_path / "dataset_description.json").unlink()
    assert load(path).parameters is None, "outside a dataset nothing is inherited"


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no sub-"):
        bids.find_subjects(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        bids.find_subjects(tmp_path / "none")
    with pytest.raises(InputError, match="has no subject '07'"):
        bids.load_subject(dataset(tmp_path), "07")


def test_scans_on_different_grids_are_no_subject(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    image(root / "sub-01/anat/sub-01_acq-odd_T1w.nii.gz", shape=(9, 9, 9))
    with pytest.raises(GridError, match="another grid"):
        bids.load_subject(root, "sub-01")
