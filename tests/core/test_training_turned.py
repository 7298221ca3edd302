"""Files that lie otherwise train and judge the same network."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from crl_core.models import build_model
from crl_core.scan import Scan, Subject
from crl_core.sequence import PAPER_SEQUENCES
from crl_core.training.config import TrainingConfig
from crl_core.training.files import SubjectSampler
from crl_core.training.validation import Judge
from tests.conftest import tiny_scan

TINY = {"widths": [6, 8], "code_width": 8, "residual_width": 4, "atoms": 36, "entries": 40}
CONFIG = TrainingConfig(architecture=TINY, crop=40, contrasts=3, batch=4)
LIES = [
    (axes, flips) for axes in itertools.permutations(range(3)) for flips in ((-1, 1, 1), (1, -1, 1))
]


def head() -> list[Scan]:
    return [tiny_scan(PAPER_SEQUENCES[n], seed=n) for n in (5, 7, 9)]


def moved(scan: Scan, axes: tuple[int, ...], flips: tuple[int, ...]) -> Scan:
    """Return the same head with its voxels in another order."""
    far = np.eye(4)
    for axis, (flip, size) in enumerate(zip(flips, scan.shape, strict=True)):
        far[axis, axis], far[axis, 3] = flip, 0 if flip > 0 else size - 1
    data = scan.data[tuple(slice(None, None, f) for f in flips)].transpose(axes)
    affine = scan.affine @ far @ np.eye(4)[[*axes, 3]].T
    return replace(scan, data=np.ascontiguousarray(data), affine=affine)


def sampler(scans: list[Scan], config: TrainingConfig = CONFIG) -> SubjectSampler:
    return SubjectSampler([Subject("sub-01", tuple(scans))], config)


@pytest.mark.parametrize(("axes", "flips"), LIES)
def test_crops_are_those_of_the_same_head_in_the_usual_order(
    axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    usual = sampler(head()).batch(3, 0.5)
    found = sampler([moved(s, axes, flips) for s in head()]).batch(3, 0.5)
    np.testing.assert_allclose(found.images, usual.images, atol=1e-5)
    np.testing.assert_array_equal(found.mask, usual.mask)


def test_scores_and_pictures_do_not_depend_on_how_a_file_lies() -> None:
    torch.manual_seed(3)
    model = build_model("crl-plus", **TINY).eval()
    for weight in model.parameters():
        weight.data.add_(0.1 * torch.randn_like(weight))
    axes, flips = (1, 0, 2), (1, -1, 1)
    usual = Judge(sampler(head()), unseen=True)
    other = Judge(sampler([moved(s, axes, flips) for s in head()]), unseen=True)
    # Pictures lie as their files do.
    as_moved = usual.slices[0].images[:, :, ::-1].swapaxes(-1, -2)
    np.testing.assert_allclose(other.slices[0].images, as_moved, atol=1e-5)
    for one, same in zip(usual.scores(model), other.scores(model), strict=True):
        assert one.keys() == same.keys()
        for name, value in one.items():
            assert same[name] == pytest.approx(value, rel=1e-3), name


def test_crops_are_mostly_upright_where_the_network_knows_up_and_any_way_elsewhere() -> None:
    plain = head()
    whole = replace(CONFIG, batch=40)
    upright = sampler(plain, whole).subjects[0]
    found = sampler(plain, whole).batch(1, 0.5)
    other = replace(whole, preset="crl-small", architecture={"features": 8, "blocks": 1})
    free = sampler(plain, other).batch(1, 0.5)

    def share(batch_mask: np.ndarray) -> float:
        masks = [np.pad(m, 0) for m in upright.mask]
        windows = {m[r : r + 40, c : c + 40].tobytes() for m in masks
                   for r in range(m.shape[0] - 39) for c in range(m.shape[1] - 39)}  # fmt: skip
        return float(np.mean([m.tobytes() in windows for m in batch_mask]))

    assert share(found.mask) > 0.6
    assert share(free.mask) < 0.5
