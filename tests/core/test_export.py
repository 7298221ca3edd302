"""Synthesised images on disk: exact, marked, and free of what may name a person."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crl_core.card import Card
from crl_core.errors import GridError, OutputError, ParameterError
from crl_core.io import ImageFile, load
from crl_core.io.export import save_synthetic
from crl_core.io.inspect import describe
from crl_core.scan import IntensityScale, Origin, Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.trust import TrainingCoverage

AFFINE = np.array([[0, 0, 3.0, -40], [-0.72, 0, 0, 110], [0, 0.72, 0, -120], [0, 0, 0, 1.0]])
AFFINE = AFFINE.astype(np.float32).astype(np.float64)
SCALE = IntensityScale(0.0, 731.25, IntensityScale.ROBUST)
INSIDE = PAPER_SEQUENCES[9]
OUTSIDE = SequenceParameters(300, 200)
CARD = Card(
    name="crl-test",
    preset="crl-small",
    architecture={"kind": "plus"},
    intensity_rule="robust",
    in_plane_mm=1.0,
    coverage=TrainingCoverage(tuple(PAPER_SEQUENCES[n] for n in (1, 5, 9))),
    training={},
    metrics={},
    sha256="ab" * 32,
)


def source() -> Scan:
    origins = {
        "tr": Origin("BIDS sidecar DoeJane_1961.json"),
        "te": Origin("BIDS sidecar DoeJane_1961.json", "nominal"),
        "ti": Origin("BIDS sidecar DoeJane_1961.json"),
    }
    return Scan(
        np.ones((5, 4, 3), np.float32),
        AFFINE,
        "DoeJane",
        SequenceParameters(600, 15),
        origins,
        Path("/home/doejane/DoeJane_1961.nii.gz"),
        note="Patient DoeJane",
    )


def render() -> np.ndarray:
    """Values outside 0 to 1 and without a short decimal form."""
    return np.random.default_rng(1).normal(0.4, 0.9, (5, 4, 3)).astype(np.float32)


def test_array_and_grid_are_exact(tmp_path: Path) -> None:
    array = render()
    save_synthetic(array, source(), tmp_path / "out.nii.gz", INSIDE, CARD, SCALE)
    image = nib.load(tmp_path / "out.nii.gz")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)
    np.testing.assert_array_equal(image.affine, AFFINE)


def test_source_units(tmp_path: Path) -> None:
    array = render()
    save_synthetic(array, source(), tmp_path / "out.nii", INSIDE, CARD, SCALE, "source")
    np.testing.assert_array_equal(load(tmp_path / "out.nii").data, SCALE.to_source(array))
    fields = json.loads((tmp_path / "out.json").read_text())
    assert fields["Intensity"]["Units"] == "source"
    with pytest.raises(ParameterError, match="no units"):
        save_synthetic(array, source(), tmp_path / "b.nii", INSIDE, CARD, SCALE, "percent")  # type: ignore[arg-type]


def test_read_back_it_is_synthetic_and_has_its_parameters(tmp_path: Path) -> None:
    path = tmp_path / "out.nii.gz"
    save_synthetic(render(), source(), path, INSIDE, CARD, SCALE)
    scan = load(path)
    assert scan.parameters == INSIDE
    assert not scan.nominal
    assert scan.note.startswith("SYNTHETIC")
    assert describe(path)["synthetic"] is True
    (tmp_path / "out.json").unlink()
    assert ImageFile.read(path).synthetic, "the header alone says so too"
    assert load(path).parameters == INSIDE


def test_sidecar_tells_how_it_was_made(tmp_path: Path) -> None:
    other = Scan(np.ones((5, 4, 3), np.float32), AFFINE, "x", PAPER_SEQUENCES[1])
    scans = [source(), other]
    save_synthetic(render(), scans[0], tmp_path / "o.nii", INSIDE, CARD, SCALE, sources=scans)
    fields = json.loads((tmp_path / "o.json").read_text())
    assert fields["Synthetic"] is True
    assert fields["Model"] == {"Name": "crl-test", "Preset": "crl-small", "SHA256": "ab" * 32}
    assert fields["RepetitionTime"] == 8
    first, second = fields["SourceParameters"]
    assert (first["RepetitionTime"], first["EchoTime"]) == (0.6, 0.015)
    assert first["CRLParameterCertainty"] == {"TE": "nominal"}
    assert second["InversionTime"] == 1.055
    assert fields["Intensity"]["Scale"] == 731.25
    assert fields["TrainingCoverage"]["Verdict"] == "inside"


def test_outside_the_training_coverage_it_says_extrapolating(tmp_path: Path) -> None:
    save_synthetic(render(), source(), tmp_path / "o.nii", OUTSIDE, CARD, SCALE)
    coverage = json.loads((tmp_path / "o.json").read_text())["TrainingCoverage"]
    assert coverage["Verdict"] == "extrapolating"
    assert coverage["Sentence"] == CARD.coverage.sentence(OUTSIDE)


def test_nothing_names_the_source(tmp_path: Path) -> None:
    save_synthetic(render(), source(), tmp_path / "o.nii", INSIDE, CARD, SCALE)
    for path in tmp_path.iterdir():
        content = path.read_bytes().lower()
        for word in (b"doe", b"jane", b"1961", b"patient"):
            assert word not in content


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="does not fit"):
        save_synthetic(render()[:4], source(), tmp_path / "o.nii", INSIDE, CARD, SCALE)
    save_synthetic(render(), source(), tmp_path / "o.nii", INSIDE, CARD, SCALE)
    with pytest.raises(OutputError, match="already exists"):
        save_synthetic(render(), source(), tmp_path / "o.nii", INSIDE, CARD, SCALE)
    save_synthetic(render() + 1, source(), tmp_path / "o.nii", OUTSIDE, CARD, SCALE, overwrite=True)
    assert load(tmp_path / "o.nii").parameters == OUTSIDE
