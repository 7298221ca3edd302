"""The head mask follows the head, whatever the contrast."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crl_core import demo
from crl_core.physics.subjects import DigitalSubject, Realism
from crl_core.preprocess.mask import head_mask, otsu_threshold
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("number", [1, 3, 5, 7, 9])
def test_the_head_is_found_in_every_contrast(labels: NDArray[np.int16], number: int) -> None:
    big = labels.repeat(3, axis=0).repeat(3, axis=1)
    subject = DigitalSubject.from_labels(big, np.eye(4), 1, realism=Realism(noise=0.01, lesions=0))
    data = subject.scan([PAPER_SEQUENCES[number]], [0, 2], 2)[0]
    truth = (big > 0)[:, :, ::2][:, :, : data.shape[2]]
    mask = head_mask(data)
    assert mask.shape == data.shape
    assert dice(mask, truth) > 0.95


def test_the_real_slice_has_one_head_whatever_the_echo_time() -> None:
    """At TE 250 ms the brain is nearly dark; the mask must not shrink to the ventricles."""
    masks = [s.mask for s in demo.real_slice() if s.parameters and not s.parameters.inverted]
    assert len(masks) == 6
    for mask in masks[:5]:
        assert dice(mask, masks[0]) > 0.93
    assert dice(masks[5], masks[0]) > 0.85


def test_holes_are_filled_in_the_plane_of_the_slices(scan: Scan) -> None:
    hollow = scan.data.copy()
    hollow[16:24, 20:30] = 0
    assert head_mask(hollow)[20, 25].all()
    turned = np.moveaxis(hollow, 2, 0)
    assert head_mask(turned, slice_axis=0)[:, 20, 25].all()


def test_an_empty_image_has_an_empty_mask() -> None:
    assert not head_mask(np.zeros((8, 8, 2), np.float32)).any()


def test_otsu_separates_two_clouds() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1, 0.1, 500), rng.normal(4, 0.2, 300)]).astype(np.float32)
    above = values > otsu_threshold(values)
    assert abs(int(above.sum()) - 300) <= 2
    assert above[500:].all()
