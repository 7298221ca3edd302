"""What all tests share: few threads, no screen, and small data with structure in them."""

from __future__ import annotations

import os

# Before numpy, torch and Qt are imported: they read these once.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
os.environ.setdefault("MKL_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from crl_core.io import save
from crl_core.io.bids import image_path, write_dataset_description
from crl_core.physics.signal import fse_signal
from crl_core.physics.tissues import labels_to_tissues, usual_table
from crl_core.scan import Origin, Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

AIR, WHITE, GREY, FLUID, FAT, BONE = 0, 2, 3, 4, 507, 515
"""Labels of the tiny head, in the numbering of the label maps that ``crl simulate`` reads."""


def tiny_labels(shape: tuple[int, int, int] = (40, 48, 6)) -> NDArray[np.int16]:
    """Return nested ellipses: fat, bone, fluid, grey and white matter, and two ventricles.

    Nothing is symmetric from front to back, so that a flip or a transpose shows.
    """
    x, y = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    egg = np.hypot(x / 0.85, (y + 0.05) / 0.92) * (1.0 + 0.08 * y)
    plane = np.full(shape[:2], AIR, dtype=np.int16)
    for edge, label in ((1.0, FAT), (0.92, BONE), (0.82, FLUID), (0.78, GREY), (0.64, WHITE)):
        plane[egg < edge] = label
    for side in (-1, 1):
        plane[np.hypot((x - 0.15 * side) / 0.1, (y - 0.1) / 0.3) < 1] = FLUID
    return np.repeat(plane[:, :, np.newaxis], shape[2], axis=2)


def tiny_scan(parameters: SequenceParameters, seed: int = 0, gain: float = 1000.0) -> Scan:
    """Return the tiny head as one sequence shows it, with 1 % noise, 1 x 1 x 5 mm."""
    table = usual_table()
    pd, t1, t2 = (table[:, k][labels_to_tissues(tiny_labels())] for k in range(3))
    rng = np.random.default_rng(seed)
    # Air has no relaxation times; ones keep the exponentials finite and PD 0 the signal zero.
    clean = fse_signal(pd, np.maximum(t1, 1.0), np.maximum(t2, 1.0), parameters)
    noise = rng.normal(0.0, 0.01, (2, *clean.shape))
    data = gain * np.hypot(clean + noise[0], noise[1])
    origins = dict.fromkeys(("tr", "te", "ti"), Origin("made for a test"))
    return Scan(
        data.astype(np.float32), np.diag([1.0, 1.0, 5.0, 1.0]), "tiny head", parameters, origins
    )


@pytest.fixture
def labels() -> NDArray[np.int16]:
    """A head of nested ellipses, (40, 48, 6), as labels."""
    return tiny_labels()


@pytest.fixture
def scan() -> Scan:
    """The tiny head T2-weighted (sequence 7 of the paper), six slices of 5 mm."""
    return tiny_scan(PAPER_SEQUENCES[7])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A BIDS dataset of three subjects with sequences 1, 5 and 7 of the paper."""
    return make_dataset(tmp_path / "dataset")


def make_dataset(root: Path) -> Path:
    """Write three tiny heads of three scans each."""
    write_dataset_description(root, "Tiny heads for tests")
    for number in (1, 2, 3):
        for key, suffix in ((1, "T1w"), (5, "PDw"), (7, "T2w")):
            path = image_path(root, f"{number:02d}", f"paper{key}", suffix)
            save(tiny_scan(PAPER_SEQUENCES[key], seed=10 * number + key), path)
    return root
