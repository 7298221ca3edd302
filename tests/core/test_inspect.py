"""What `describe` says of scans and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from crl_core.card import Card
from crl_core.checkpoint import save_checkpoint
from crl_core.errors import CheckpointError, InputError
from crl_core.io.inspect import describe
from crl_core.models import build_model, preset_config
from crl_core.sequence import PAPER_SEQUENCES
from crl_core.trust import TrainingCoverage

KEYS = ("repetition_time_ms", "echo_time_ms", "inversion_time_ms")


def image(path: Path, sidecar: dict[str, Any] | None = None, **header: Any) -> Path:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = header.pop("affine", np.diag([-1.0, 1.0, 3.0, 1.0]))
    made = nib.Nifti1Image(data, affine)
    for key, value in header.items():
        made.header[key] = value
    made.to_filename(path)
    if sidecar is not None:
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


def test_scan_with_sidecar(tmp_path: Path) -> None:
    fields = {"RepetitionTime": 8, "EchoTime": 0.09878, "InversionTime": 2.025}
    found = describe(image(tmp_path / "a.nii", fields))
    assert [found[key] for key in KEYS] == [8000, 98.78, 2025]
    assert all("a.json" in found[f"{key}_origin"] for key in KEYS)
    assert all(found[f"{key}_certainty"] == "stated" for key in KEYS)
    assert found["kind"] == "scan"
    assert found["shape"] == [2, 3, 4]
    assert found["voxel_size_mm"] == [1, 1, 3]
    assert found["orientation"] == "LAS"
    assert found["intensity_range"] == [0, 23]
    assert found["synthetic"] is False
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_unknown_is_null_each_on_its_own(tmp_path: Path) -> None:
    found = describe(image(tmp_path / "a.nii"))
    assert all(found[key] is None and found[f"{key}_origin"] is None for key in KEYS)
    partly = describe(image(tmp_path / "b.nii", {"EchoTime": 0.1}, descrip=b"TI=100"))
    assert [partly[key] for key in KEYS] == [None, 100, 100]
    assert partly["repetition_time_ms_origin"] is None
    assert "b.json" in partly["echo_time_ms_origin"]
    assert "header" in partly["inversion_time_ms_origin"]


def test_a_guessed_orientation_has_no_letters(tmp_path: Path) -> None:
    assert describe(image(tmp_path / "a.nii", affine=None))["orientation"] is None


def checkpoint(path: Path) -> Path:
    model = build_model("crl-small")
    card = Card(
        name="tiny",
        preset="crl-small",
        architecture=preset_config("crl-small"),
        intensity_rule="robust",
        in_plane_mm=1.0,
        coverage=TrainingCoverage(tuple(PAPER_SEQUENCES[n] for n in (1, 5, 9))),
        training={"steps": 0},
        metrics={"psnr": 1.5},
    )
    save_checkpoint(path, model, card)
    return path


def test_checkpoint_and_its_card(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "tiny.safetensors")
    found = describe(path)
    assert found["kind"] == "checkpoint"
    assert found["name"] == "tiny"
    assert found["n_parameters"] > 0
    assert found["metrics"] == {"psnr": 1.5}
    assert len(found["sha256"]) == 64
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    beside = describe(path.with_suffix(".json"))
    assert beside["sha256"] == found["sha256"]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        describe(tmp_path / "none.nii")
    with pytest.raises(InputError, match="is a folder"):
        describe(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"\x05\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        describe(tmp_path / "bad.safetensors")
    whole = image(tmp_path / "cut.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:-3])
    with pytest.raises(InputError, match="truncated"):
        describe(tmp_path / "cut.nii")


@pytest.mark.parametrize(
    ("fields", "kind", "fast"),
    [
        ({"ScanningSequence": ["SE", "IR"], "EchoTrainLength": 16},
         "inversion recovery fast spin echo", True),
        ({"ScanningSequence": "SE", "EchoTrainLength": 1}, "spin echo", False),
        ({"ScanningSequence": "SE"}, "spin echo", None),
        ({"ScanningSequence": "GR", "EchoTrainLength": 3}, "gradient echo", False),
        ({"ScanningSequence": "EP\\SE"}, "echo planar", False),
        ({}, None, None),
    ],
)  # fmt: skip
def test_the_kind_of_sequence_a_sidecar_tells_of(
    tmp_path: Path, fields: dict[str, Any], kind: str | None, fast: bool | None
) -> None:
    times = {"RepetitionTime": 8, "EchoTime": 0.1, "Manufacturer": "Acme"}
    found = describe(image(tmp_path / "a.nii", {**times, **fields}))
    assert (found["sequence_type"], found["fast_spin_echo"]) == (kind, fast)
    assert found["manufacturer"] == "Acme"
