"""A newcomer's path: simulate, check, mend what is printed, train; nothing is written too early."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crl_core.checkpoint import load_checkpoint
from crl_core.io.bids import sidecar_path
from tests.core.doctor_data import (
    crl,
    edit,
    head,
    image_of,
    printed_mends,
    replace_voxels,
    snapshot,
    voxels_of,
)

LABELS = np.array([0, 507, 515, 24, 3, 2, 77], dtype=np.int16)
"""What the tissues of the lopsided head are called in label maps."""

SETTINGS = {
    "architecture": {
        "widths": [8, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8,
    },
    "batch": 2,
    "crop": 32,
    "contrasts": 2,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three anatomies as label maps, voxels of 2 mm."""
    folder = tmp_path_factory.mktemp("maps")
    paths = [folder / f"anatomy{n}.nii.gz" for n in (1, 2, 3)]
    for n, path in enumerate(paths):
        labels = LABELS[head(n, (80, 90, 70))]
        nib.Nifti1Image(labels, np.diag([2.0, 2, 2, 1])).to_filename(path)
    return paths


def test_three_mistakes_are_named_mended_and_trained_on(maps: list[Path], tmp_path: Path) -> None:
    root, run = tmp_path / "ten people", tmp_path / "run"
    words = ("--sequences", "paper5,paper7,paper9", "--slices", 10, "--thickness", 6)
    assert crl("simulate", *maps, "-o", root, *words)[0] == 0
    code, out, _ = crl("check", root)
    assert (code, out.splitlines()[-1]) == (
        0,
        "3 subjects, 9 scans: 0 errors, 0 warnings, 0 notes",
    )

    wrong_unit, flipped, bare = (image_of(root, n, key) for n, key in ((1, 7), (2, 5), (3, 9)))
    right = voxels_of(flipped)
    edit(wrong_unit, {"EchoTime": 104.2})
    replace_voxels(flipped, right[::-1])
    sidecar_path(bare).unlink()
    planted = snapshot(tmp_path)

    code, out, _ = crl("check", root)
    assert code == 1
    assert out.splitlines()[-1] == "3 subjects, 9 scans: 3 errors, 0 warnings, 0 notes"
    errors = out.split("\nErrors\n")[1]
    for image, problem in (
        (wrong_unit, "gives EchoTime 104.2, which is milliseconds"),
        (flipped, "it is mirrored left to right against 2 other scans of the subject"),
        (bare, "it has no sidecar"),
    ):
        (line,) = (text for text in errors.splitlines() if f"{image.name}: " in text)
        assert problem in line
    assert snapshot(tmp_path) == planted, "looking writes nothing"

    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    planted = snapshot(tmp_path)
    train = ("train", root, "-o", run, "--config", settings, "--steps", 2, "--workers", 0)
    prepared = tmp_path / "prepared"
    prepare = ("prepare", root, "-o", prepared, "--grid", "48x48", "--jobs", 1)
    for refused in ((*train, "--device", "cpu"), prepare):
        code, printed, err = crl(*refused)
        assert (code, printed) == (1, "")
        assert [image.name in err for image in (wrong_unit, flipped, bare)] == [True] * 3
        assert snapshot(tmp_path) == planted, "what is refused writes nothing"

    mends = printed_mends(out)
    assert len(mends) == 3
    for command in mends:
        assert crl(*command)[0] == 0, command
    np.testing.assert_array_equal(voxels_of(flipped), right)
    code, out, _ = crl("check", root)
    assert (code, out.splitlines()[-1]) == (
        0,
        "3 subjects, 9 scans: 0 errors, 0 warnings, 0 notes",
    )

    code, out, err = crl(*prepare)
    assert code == 0, err
    assert "9 scans of 3 subjects" in out
    marks = [json.loads(p.read_text()) for p in prepared.glob("sub-*/anat/*_desc-preproc_*.json")]
    assert [bool(fields.get("CRLSynthetic")) for fields in marks] == [True] * 9
    code, out, err = crl("train", prepared, *train[2:], "--device", "cpu")
    assert code == 0, err
    assert "Finished after 2 steps" in out
    assert load_checkpoint(run / "model.safetensors").card.coverage is not None
