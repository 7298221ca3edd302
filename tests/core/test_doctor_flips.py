"""The data doctor on scans that are mirrored against the others of the same head."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crl_core.doctor import check_dataset
from crl_core.doctor.alignment import CLEAR, HYPOTHESES, Small, compare, rotation
from crl_core.io import save
from crl_core.sequence import PAPER_SEQUENCES
from tests.conftest import tiny_scan
from tests.core.doctor_data import (
    AFFINE,
    head,
    image_of,
    make_dataset,
    only,
    replace_voxels,
    scan_of,
    voxels_of,
)

PLANTS = {
    "data mirrored, affine kept": "x",
    "affine negated, origin moved along": "affine and origin",
    "affine negated, origin kept": "affine",
    "front and back exchanged": "y",
    "top and bottom exchanged": "z",
    "LPS taken for RAS": "xy",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("made") / "set", subjects=1)


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "set")


def plant(image: Path, how: str) -> None:
    data, affine = voxels_of(image), AFFINE.copy()
    if how.startswith("affine"):
        if how == "affine and origin":
            affine[:3, 3] += affine[:3, 0] * (data.shape[0] - 1)
        affine[:, 0] *= -1
    else:
        data = np.flip(data, ["xyz".index(axis) for axis in how])
    replace_voxels(image, data, affine)


@pytest.mark.parametrize("how", PLANTS.values(), ids=PLANTS.keys())
@pytest.mark.parametrize("key", [1, 7])
def test_the_odd_one_out_is_named(root: Path, key: int, how: str) -> None:
    image = image_of(root, 1, key)
    plant(image, how)
    report = check_dataset(root)
    finding = only(report, "flip")
    assert len(report.errors) == 1
    assert finding.file == image.relative_to(root).as_posix()
    assert "against 3 other scans of the subject" in finding.problem
    axes = "x" if how.startswith("affine") else how
    for axis, words in (("x", "left to right"), ("y", "front to back"), ("z", "top to bottom")):
        assert (words in finding.problem) == (axis in axes)
    assert finding.action is not None
    assert finding.action.kind == ("geometry" if how.startswith("affine") else "flip")
    assert finding.action.sure


def test_two_scans_disagree_as_a_pair(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "set", subjects=3, sequences=(5, 7))
    plant(image_of(root, 2, 7), "x")
    finding = only(check_dataset(root), "flip-pair")
    assert finding.severity == "error"
    assert "it and paper5 PDw are mirrored left to right against each other" in finding.problem
    assert "paper5_PDw.nii.gz:x" in finding.problem
    assert finding.mend.endswith("paper7_T2w.nii.gz:x")
    assert finding.action is not None
    assert not finding.action.sure


def test_axes_of_the_other_subjects_settle_a_pair(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "set", subjects=3, sequences=(5, 7))
    image = image_of(root, 2, 5)
    plant(image, "affine and origin")
    finding = only(check_dataset(root), "flip")
    assert finding.file == image.relative_to(root).as_posix()


def test_two_of_four_against_two_is_a_pair_too(root: Path) -> None:
    for key in (1, 9):
        plant(image_of(root, 1, key), "x")
    assert only(check_dataset(root), "flip-pair").subject == "sub-01"


def test_a_head_without_sides_raises_no_alarm(tmp_path: Path) -> None:
    for key, suffix in ((1, "T1w"), (5, "PDw"), (7, "T2w")):
        scan = tiny_scan(PAPER_SEQUENCES[key], seed=key)
        folder = tmp_path / "sub-01" / "anat"
        save(scan, folder / f"sub-01_acq-paper{key}_{suffix}.nii.gz")
    codes = {f.code for f in check_dataset(tmp_path).findings}
    assert codes <= {"description", "flip-unclear"}


@pytest.mark.parametrize("seed", range(4))
def test_a_head_that_moved_between_scans_is_told_right(seed: int) -> None:
    """Up to 6 degrees and 6 mm, and every way of mirroring."""
    rng = np.random.default_rng(seed)
    fixed = scan_of(head(seed), PAPER_SEQUENCES[5], seed)
    moving = scan_of(head(seed), PAPER_SEQUENCES[9], seed + 50)
    affine = AFFINE.copy()
    turn = np.eye(4)
    turn[:3, :3] = rotation(np.radians(rng.uniform(-6, 6, 3)))
    turn[:3, 3] = rng.uniform(-6, 6, 3)
    affine = turn @ affine
    small = Small.of(fixed.data, AFFINE)
    assert small is not None
    for signs in (HYPOTHESES[0], HYPOTHESES[4], HYPOTHESES[1 + seed]):
        axes = [axis for axis, sign in enumerate(signs) if sign < 0]
        other = Small.of(np.flip(moving.data, axes), affine)
        assert other is not None
        verdict = compare(small, other)
        assert verdict.signs == signs
        assert verdict.margin >= CLEAR


def test_noise_says_nothing() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.rayleigh(1.0, (40, 40, 12)).astype(np.float32) for _ in range(2)]
    small = [Small.of(data, AFFINE) for data in noise]
    assert all(one is not None for one in small)
    assert compare(small[0], small[1]).margin < CLEAR
