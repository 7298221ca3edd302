"""The command line on DICOM: what is listed, what is chosen, what is synthesised."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import UID

from crl_core.card import Card
from crl_core.checkpoint import save_checkpoint
from crl_core.cli import main
from crl_core.io import load
from crl_core.models import build_model, preset_config
from crl_core.sequence import PAPER_SEQUENCES
from crl_core.trust import TrainingCoverage
from tests.core.dicom.writing import classic, volume

SMALL = {"widths": [8, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def crl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command in this process; returns exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with a T1w and a T2w scan, a map, and a scan without times."""
    folder = tmp_path / "study"
    series: list[tuple[int, dict[str, Any]]] = [
        (3, {"SeriesDescription": "T1 TSE", "RepetitionTime": "600", "EchoTime": "10"}),
        (5, {"SeriesDescription": "T2 TSE", "MagneticFieldStrength": "1.5", "ScanOptions": "FS"}),
        (7, {"SeriesDescription": "ADC", "ImageType": ["DERIVED", "PRIMARY", "ADC"]}),
        (9, {"SeriesDescription": "old", "RepetitionTime": None, "EchoTime": None}),
    ]
    for number, elements in series:
        uid = {"SeriesNumber": number, "SeriesInstanceUID": UID(f"1.2.3.{number}")}
        classic(folder, name=f"{number}-", slices=3, **uid, **elements)
    return folder


def test_a_folder_with_several_scans_is_listed(crl: Run, study: Path) -> None:
    code, out, _ = crl("inspect", study, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["kind"] == "dicom"
    assert found["format"] == "DICOM"
    assert [found[f"{n}_time_ms"] for n in ("repetition", "echo", "inversion")] == [None] * 3
    listed = {entry["key"]: entry for entry in found["series"]}
    assert list(listed) == ["3", "5", "7", "9"]
    second = listed["5"]
    assert (second["repetition_time_ms"], second["echo_time_ms"]) == (8000, 99.98)
    assert second["echo_time_ms_origin"] == "DICOM (0018,0081) EchoTime"
    assert second["inversion_time_ms_certainty"] == "stated"
    assert second["sequence_type"] == "fast spin echo"
    assert second["fast_spin_echo"] is True
    assert second["echo_train_length"] == 16
    assert second["fat_suppression"] is True
    assert second["field_strength_t"] == 1.5
    assert second["echo_spacing_ms"] is None
    assert second["manufacturer"] == "Made for a test"
    assert second["shape"] == [36, 40, 3]
    assert second["refusal"] == ""
    assert listed["7"]["refusal"] == "a computed map (ADC)"
    assert listed["9"]["repetition_time_ms"] is None


def test_the_list_as_text(crl: Run, study: Path) -> None:
    code, out, _ = crl("inspect", study)
    assert code == 0
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert (
        "T2 TSE; fast spin echo; TR 8000 TE 99.98 TI 0 ms; axial, 36 x 40 x 3" in lines["series 5"]
    )
    assert "cannot be used: a computed map (ADC)" in lines["series 7"]
    assert "TR unknown TE unknown" in lines["series 9"]


def test_one_of_several(crl: Run, study: Path) -> None:
    code, out, _ = crl("inspect", study, "--series", "3", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["kind"], found["key"], found["name"]) == ("scan", "3", "T1 TSE")
    assert found["repetition_time_ms"] == 600
    assert found["orientation"] == "LPS"
    assert found["intensity_range"] == [volume(36, 40, 3).min(), volume(36, 40, 3).max()]
    assert [entry["key"] for entry in found["series"]] == ["3", "5", "7", "9"]
    code, _, err = crl("inspect", study, "--series", "4")
    assert code == 1
    assert err.count("\n") == 1
    assert "holds no series '4'" in err
    code, _, err = crl("inspect", study, "--series", "7")
    assert (code, err.count("\n")) == (1, 1)
    assert "series 7 cannot be used: a computed map (ADC)" in err


def test_series_of_what_is_no_dicom(crl: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)), path)
    code, _, err = crl("inspect", path, "--series", "3")
    assert code == 1
    assert "holds no series to choose" in err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    card = Card(
        name="tiny",
        preset="crl-plus",
        architecture=preset_config("crl-plus") | SMALL,
        intensity_rule="robust",
        in_plane_mm=None,
        coverage=TrainingCoverage(tuple(PAPER_SEQUENCES[n] for n in (1, 5, 7, 9))),
        training={},
        metrics={},
    )
    save_checkpoint(path, build_model("crl-plus", **SMALL), card)
    return path


def test_synthesis_from_two_scans_of_one_folder(
    crl: Run, study: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.nii.gz"
    keys = ["--series", "3", "--series", "5"]
    target = ["--tr", 6777, "--te", 62, "--checkpoint", checkpoint, "-o", out]
    code, _, err = crl("synth", study, study, *keys, *target)
    assert code == 0, err
    made, source = load(out), load(study, series="3")
    assert made.synthetic
    assert made.same_grid(source)
    told = json.loads((tmp_path / "out.json").read_text())
    assert "Doe" not in json.dumps(told)


def test_synthesis_asks_which_scan(crl: Run, study: Path, checkpoint: Path, tmp_path: Path) -> None:
    target = ["--tr", 6777, "--te", 62, "--checkpoint", checkpoint, "-o", tmp_path / "o.nii.gz"]
    code, _, err = crl("synth", study, *target)
    assert code == 1
    assert "holds 3 scans. Choose one with --series: 3 (T1 TSE), 5 (T2 TSE), 9 (old)" in err
    assert crl("synth", study, "--series", "3", "--series", "5", *target)[0] == 2
    code, _, err = crl("synth", study, "--series", "9", *target)
    assert (code, err.count("\n")) == (1, 1)
    assert "TR, TE and TI of this scan are not known" in err
    given = ["--source-params", "5000,90,0"]
    assert crl("synth", study, "--series", "9", *given, *target)[0] == 0
