"""Small BIDS datasets of lopsided heads, and ways to plant mistakes in them."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from crl_core.cli import main
from crl_core.doctor import Finding, Report, check_dataset
from crl_core.io import save
from crl_core.io.bids import (
    image_path,
    sidecar_path,
    write_dataset_description,
    write_participants,
)
from crl_core.physics.signal import fse_signal
from crl_core.scan import Origin, Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

SUFFIX = {1: "T1w", 5: "PDw", 7: "T2w", 9: "FLAIR"}
"""The sequences of the paper that the datasets hold, with their BIDS suffix."""

AFFINE = np.array([[3.0, 0, 0, -84], [0, 3.0, 0, -96], [0, 0, 6.0, -40], [0, 0, 0, 1]])
SHAPE = (56, 64, 14)

_PD = np.array([0.0, 0.90, 0.10, 1.00, 0.82, 0.70, 0.90])
_T1 = np.array([1.0, 380.0, 400.0, 4200.0, 1500.0, 850.0, 1200.0])
_T2 = np.array([1.0, 70.0, 2.0, 1800.0, 95.0, 72.0, 150.0])
"""Air, scalp, bone, fluid, grey and white matter, lesion: round numbers, times in ms."""


def head(seed: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[np.intp]:
    """Return a head as rows of the table above: tilted, lopsided, one lesion on the left."""
    rng = np.random.default_rng([99, seed])
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    turn, lean = rng.uniform(-0.12, 0.12, 2)
    x = grid[0] + turn * grid[1] + lean * grid[2]
    y, z = grid[1] - turn * grid[0], grid[2] + 0.3
    egg = np.sqrt((x / 0.8) ** 2 + (y / 0.92) ** 2 + (0.7 * z) ** 2) * (1 + 0.1 * y)
    wave = 0.03 * np.sin(9 * y + 4 * z + rng.uniform(0, 6)) + 0.02 * np.sin(11 * x + 2)
    tissue = np.zeros(shape, dtype=np.intp)
    for row, edge in ((1, 1.0), (2, 0.92), (3, 0.84)):
        tissue[egg < edge] = row
    tissue[egg + wave < 0.78] = 4
    tissue[egg + 2 * wave + 0.03 * np.sign(x) < 0.62] = 5
    for side, size in ((-1, 1.3), (1, 0.9)):
        tissue[np.hypot((x - 0.16 * side) / (0.1 * size), (y - 0.1) / (0.34 * size)) < 1] = 3
        eye = (x - 0.35 * side) ** 2 + (y - 0.85) ** 2 + (z + 0.6) ** 2
        tissue[eye < 0.025] = 3
    tissue[(x + 0.38) ** 2 + (y + 0.3) ** 2 + (z / 2) ** 2 < 0.02] = 6
    return tissue


def scan_of(tissue: NDArray[np.intp], parameters: SequenceParameters, seed: int) -> Scan:
    """Return what a sequence shows of a head, with a coil profile and 1.5 % noise."""
    rng = np.random.default_rng([98, seed])
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, n) for n in tissue.shape), indexing="ij")
    clean = fse_signal(_PD[tissue], _T1[tissue], _T2[tissue], parameters)
    clean = clean * (1 + 0.1 * x - 0.08 * y)
    noise = rng.normal(0, 0.015 * float(clean.max()), (2, *clean.shape))
    data = 800 * np.hypot(clean + noise[0], noise[1])
    origins = dict.fromkeys(("tr", "te", "ti"), Origin("made for a test"))
    return Scan(data.astype(np.float32), AFFINE, "head", parameters, origins)


def make_dataset(root: Path, subjects: int = 3, sequences: Sequence[int] = (1, 5, 7, 9)) -> Path:
    """Write a dataset in which nothing is wrong."""
    write_dataset_description(root, "Lopsided heads for tests")
    rows = []
    for number in range(1, subjects + 1):
        tissue = head(number)
        for key in sequences:
            scan = scan_of(tissue, PAPER_SEQUENCES[key], 10 * number + key)
            save(scan, image_of(root, number, key))
        rows.append({"participant_id": f"sub-{number:02d}"})
    write_participants(root, rows)
    return root


def image_of(root: Path, subject: int, key: int) -> Path:
    """Return the path of one scan."""
    return image_path(root, f"{subject:02d}", f"paper{key}", SUFFIX[key])


def edit(
    image: Path, changes: Mapping[str, Any] | None = None, *, drop: Sequence[str] = ()
) -> None:
    """Change fields of a sidecar."""
    path = sidecar_path(image)
    fields = json.loads(path.read_text()) | dict(changes or {})
    path.write_text(json.dumps({k: v for k, v in fields.items() if k not in drop}))


def replace_voxels(image: Path, data: NDArray[Any], affine: NDArray[Any] | None = None) -> None:
    """Write other voxels or another affine into an image; the header's text goes."""
    old = nib.load(image)
    new = nib.Nifti1Image(data, old.affine if affine is None else affine)
    new.header.set_xyzt_units("mm", "sec")
    new.set_sform(new.affine, code="aligned")
    new.set_qform(new.affine, code="aligned")
    new.to_filename(image)


def voxels_of(image: Path) -> NDArray[np.float32]:
    """Return the voxels of an image as float32."""
    return np.asarray(nib.load(image).dataobj, dtype=np.float32)


def forget_header(image: Path) -> None:
    """Take TR, TE and TI out of the header of an image."""
    replace_voxels(image, voxels_of(image))


def found(root: Path, **words: Any) -> list[tuple[str, str]]:
    """Return severity and code of all findings of a dataset, in order, each once."""
    report = check_dataset(root, **words)
    return list(dict.fromkeys((f.severity, f.code) for f in report.findings))


def only(report: Report, code: str) -> Finding:
    """Return the one finding with a code."""
    matching = [f for f in report.findings if f.code == code]
    assert len(matching) == 1, [(f.code, str(f)) for f in report.findings]
    return matching[0]


def snapshot(root: Path) -> dict[str, bytes]:
    """Return all files below a folder with their bytes."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def crl(*words: object) -> tuple[int, str, str]:
    """Run the command in this process; return exit code, stdout and stderr."""
    out, err, hook = io.StringIO(), io.StringIO(), sys.excepthook
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
    finally:
        sys.excepthook = hook
    code = left.value.code
    return (0 if code is None else int(code)), out.getvalue(), err.getvalue()


def printed_mends(text: str) -> list[list[str]]:
    """Return the words of every ``crl mend`` line in a printed report, without the ``--all``."""
    lines = [shlex.split(line) for line in text.splitlines() if line.strip().startswith("crl mend")]
    return [words[1:] for words in lines if "--all" not in words]
