"""No voxel grows with TE, whatever is carried from the sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_core.scan import FloatArray, Scan
from crl_core.sequence import SequenceParameters
from crl_core.synthesis import Synthesizer
from crl_core.synthesis.echoes import Way, echoes, ways_of
from tests.core.test_synthesizer import checkpoint

TIMES = np.geomspace(6.0, 290.0, 33).tolist()


def rises(curve: FloatArray) -> FloatArray:
    """Return by how much each voxel of (K, ...) rises above what it was at a shorter TE."""
    return np.asarray((curve - np.minimum.accumulate(curve, axis=0)).max(axis=0))


def over_te(s: Synthesizer, tr: float, ti: float, index: int = 2) -> FloatArray:
    shown = [s.render_slice(SequenceParameters(tr, te, ti), index) for te in TIMES]
    return np.stack(shown)


def other_scan(scan: Scan, parameters: SequenceParameters, seed: int) -> Scan:
    """Return a scan of the same head that no signal equation explains."""
    rng = np.random.default_rng(seed)
    unlike = np.exp(rng.normal(0.0, 0.5, scan.data.shape)).astype(np.float32)
    return replace(scan, data=scan.data * unlike, parameters=parameters, name=f"other {seed}")


@pytest.mark.parametrize("te", [10.0, 60.0, 200.0])
@pytest.mark.parametrize("other", [(3000.0, 0.0), (1500.0, 0.0), (8000.0, 2000.0)])
def test_from_one_source_no_voxel_grows_with_te(
    scan: Scan, te: float, other: tuple[float, float]
) -> None:
    source = other_scan(scan, SequenceParameters(3000.0, te), 4)
    s = Synthesizer(checkpoint(), device="cpu")
    s.set_sources([source])
    curve = over_te(s, *other)
    assert rises(curve).max() < 0.01 * np.percentile(curve, 99.5)
    # Without what the source holds there would be nothing to keep from growing.
    raw = s.raw_slice(SequenceParameters(other[0], te, other[1]), 2)
    near = s.render_slice(SequenceParameters(other[0], te, other[1]), 2)
    assert np.abs(raw - near).max() > 0.01


def test_between_two_sources_a_voxel_goes_from_one_to_the_other(scan: Scan) -> None:
    short = other_scan(scan, SequenceParameters(3000.0, 12.0), 5)
    long = other_scan(scan, SequenceParameters(3000.0, 100.0), 6)
    s = Synthesizer(checkpoint(), device="cpu")
    s.set_sources([short, long])
    ends = [s.render_slice(SequenceParameters(3000.0, te), 2) for te in (12.0, 100.0)]
    np.testing.assert_allclose(ends[0], s.scale.to_model(short.slice(2)), atol=1e-5)
    low, high = np.minimum(*ends), np.maximum(*ends)
    between = np.stack([s.render_slice(SequenceParameters(3000.0, te), 2)
                        for te in np.geomspace(12.5, 98.0, 12).tolist()])  # fmt: skip
    assert (between >= low - 1e-5).all()
    assert (between <= high + 1e-5).all()
    falling = ends[0] >= ends[1]
    assert 0.2 < falling.mean() < 1.0
    assert rises(between)[falling].max() < 0.01 * np.percentile(between, 99.5)
    before = np.stack([s.render_slice(SequenceParameters(3000.0, te), 2) for te in (6.0, 9.0)])
    assert (before >= ends[0] - 1e-5).all()
    after = np.stack([s.render_slice(SequenceParameters(3000.0, te), 2) for te in (120.0, 280.0)])
    assert (after <= ends[1] + 1e-5).all()


def test_a_curve_of_one_voxel_is_that_of_the_slices(scan: Scan) -> None:
    s = Synthesizer(checkpoint(), device="cpu")
    s.set_sources([other_scan(scan, SequenceParameters(3000.0, 60.0), 4)])
    shown = [SequenceParameters(2500.0, te) for te in (8.0, 40.0, 60.0, 150.0)]
    shown += [SequenceParameters(600.0, 60.0), SequenceParameters(9000.0, 30.0, 2400.0)]
    points = s.render_points(shown, 2, 5, 6)
    np.testing.assert_allclose(points, [s.render_slice(p, 2)[5, 6] for p in shown], atol=1e-6)


@settings(deadline=None)
@given(
    te=st.floats(5.0, 300.0),
    pins=st.lists(st.floats(5.0, 300.0), max_size=3, unique=True),
    seed=st.integers(0, 99),
)
def test_any_images_settle_between_the_pins(te: float, pins: list[float], seed: int) -> None:
    way = Way.of(te, pins)
    assert way.times[way.at] == te
    assert list(way.times) == sorted(way.times)
    images = torch.rand(len(way.times), 2, 3, generator=torch.Generator().manual_seed(seed))
    found = way.settled(images)
    if te in pins or not pins:
        assert torch.equal(found, images[way.at])
        return
    below, above = way.pinned
    assert {way.times[k] for k in (below, above) if k is not None} <= set(pins)
    if below is not None and above is not None:
        low, high = torch.minimum(images[below], images[above]), torch.maximum(
            images[below], images[above]
        )
        assert ((found >= low) & (found <= high)).all()
    elif above is not None:
        assert (found >= images[above]).all()
        assert (found >= images[way.at]).all()
    elif below is not None:
        assert (found <= images[below]).all()
        assert (found <= images[way.at]).all()


def test_the_image_is_pinned_where_the_sources_are() -> None:
    sources = torch.tensor([[3000.0, 80.0, 0.0], [3000.0, 10.0, 0.0], [600.0, 15.0, 0.0]])
    targets = torch.tensor([[3000.0, 40.0, 0.0], [3000.0, 80.0, 0.0], [3100.0, 40.0, 0.0],
                            [600.0, 90.0, 0.0]])  # fmt: skip
    both, own, near, other = ways_of(targets, sources)
    assert [both.times[k] for k in both.pinned if k is not None] == [10.0, 80.0]
    assert own.times == (80.0,)
    assert sum(k is not None for k in near.pinned) == 1
    assert other.times[0] == 15.0
    assert other.pinned == (0, None)
    assert ways_of(targets, sources[:0])[0].times == (40.0,)
    shown = echoes(targets, [both, own, near, other])
    assert shown.shape[0] == 4
    assert (shown[..., 0] == targets[:, None, 0]).all()
    assert shown[1, :, 1].tolist() == [80.0] * shown.shape[1]
