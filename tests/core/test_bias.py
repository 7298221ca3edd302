"""Bias fields: a planted one is found, units are kept, and nothing is seen where nothing is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from crl_core.errors import Cancelled, CRLError
from crl_core.preprocess.backends import Volume, open_backend, shrunk, subsampled
from crl_core.preprocess.bias import BiasField, estimate_bias, shared_bias
from crl_core.preprocess.itk import SimpleItk
from crl_core.preprocess.mask import head_mask
from crl_core.sequence import PAPER_SEQUENCES
from tests.core.doctor_data import head, scan_of

SHAPE = (64, 72, 20)
AFFINE = np.array([[-2.8, 0, 0, 88], [0, 2.8, 0, -100], [0, 0, 5.0, -48], [0, 0, 0, 1]])
TISSUE = head(6, SHAPE)
FLAT = BiasField(np.zeros(SHAPE, np.float32), AFFINE)


def _field(depth: float = 0.35) -> NDArray[np.float32]:
    """A brightness that rises to one side and falls to the back, over the whole grid."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return np.exp(depth * (x - 0.8 * y * y + 0.3 * z)).astype(np.float32)


def _volume(paper: int, field: NDArray[np.float32] | float = 1.0) -> Volume:
    clean = scan_of(TISSUE, PAPER_SEQUENCES[paper], paper).data
    return Volume(np.asarray(clean * field, dtype=np.float32), AFFINE)


def _estimate(volume: Volume) -> BiasField:
    return estimate_bias(volume, head_mask(volume.data), 2, SimpleItk())


def _error_percent(found: BiasField, planted: NDArray[np.float32]) -> float:
    """Spread of the ratio of two fields over the head; their units do not count."""
    apart = found.log_on(SHAPE, AFFINE) - np.log(planted)
    return 100.0 * float(apart[TISSUE > 0].std())


@pytest.mark.parametrize("paper", [1, 3, 7])
def test_a_planted_field_is_found_in_every_contrast(paper: int) -> None:
    """To 3 %; what the shells of this crude head themselves look like to N4 is taken off."""
    planted = _field()
    assert _error_percent(FLAT, planted) > 14
    with_field, without = (_estimate(_volume(paper, field)) for field in (planted, 1.0))
    alone = BiasField(with_field.log - without.log, with_field.affine)
    assert _error_percent(alone, planted) < 3
    assert _error_percent(with_field, planted) < 9


def test_the_mean_of_the_fields_is_no_worse_than_the_worst() -> None:
    planted = _field()
    fields = [_estimate(_volume(paper, planted)) for paper in (1, 3, 7)]
    errors = [_error_percent(field, planted) for field in fields]
    assert _error_percent(shared_bias(fields), planted) <= max(errors)


def test_a_head_without_a_field_is_left_nearly_alone() -> None:
    assert _error_percent(_estimate(_volume(5)), np.ones(SHAPE, np.float32)) < 6


def test_correcting_keeps_the_unit_of_the_scanner() -> None:
    """Twice the gain gives twice the corrected image: contrasts of a session stay comparable."""
    volume = _volume(7, _field())
    doubled = Volume(2 * volume.data, AFFINE)
    one, two = (_estimate(v).on(SHAPE, AFFINE) for v in (volume, doubled))
    np.testing.assert_allclose(two, one, rtol=2e-3)
    assert np.log(one)[TISSUE > 0].mean() == pytest.approx(0.0, abs=0.05)


def test_the_same_scan_gives_the_same_bytes() -> None:
    volume = _volume(3, _field())
    np.testing.assert_array_equal(_estimate(volume).log, _estimate(volume).log)


def test_a_single_slice_is_corrected_in_its_plane() -> None:
    """Whichever axis of the array the slice lies along."""
    planted = _field()[:, :, 9:10]
    data = _volume(7, _field()).data[:, :, 9:10]
    inside = TISSUE[:, :, 9] > 0
    for axis in range(3):
        volume = Volume(np.moveaxis(data, 2, axis).copy(), np.diag([2.8, 2.8, 2.8, 1.0]))
        mask = head_mask(volume.data, slice_axis=axis)
        found = estimate_bias(volume, mask, axis, SimpleItk())
        log = np.moveaxis(found.log_on(volume.data.shape, volume.affine), axis, 2)
        apart = (log - np.log(planted))[:, :, 0][inside]
        assert apart.std() < 0.07 < np.log(planted)[:, :, 0][inside].std()


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_an_image_without_structure_gets_no_field(value: float) -> None:
    volume = Volume(np.full(SHAPE, value, np.float32), AFFINE)
    assert not _estimate(volume).log.any()
    assert not estimate_bias(volume, np.zeros(SHAPE, bool), 2, SimpleItk()).log.any()


def test_a_field_is_the_same_at_the_same_place_on_any_grid() -> None:
    found = _estimate(_volume(3, _field()))
    fine = AFFINE.copy()
    fine[:3, :3] /= 2
    finer = found.log_on((2 * SHAPE[0], 2 * SHAPE[1], 2 * SHAPE[2]), fine)
    np.testing.assert_allclose(finer[::2, ::2, ::2], found.log_on(SHAPE, AFFINE), atol=2e-4)


def test_a_field_follows_the_head_it_was_found_on() -> None:
    """Moved into the space of a reference, it acts on the same tissue as before."""
    found = _estimate(_volume(3, _field()))
    matrix = np.eye(4)
    matrix[:3, 3] = [6.0, -9.0, 5.0]  # reference to source
    shifted = np.linalg.inv(matrix) @ AFFINE  # where the same voxels lie for the reference
    there = found.moved(matrix, Volume(np.zeros(SHAPE, np.float32), shifted), 2)
    middle = (slice(8, -8), slice(8, -8), slice(2, -2))
    before, after = found.log_on(SHAPE, AFFINE), there.log_on(SHAPE, shifted)
    np.testing.assert_allclose(after[middle], before[middle], atol=5e-3)


def test_n4_is_stopped_when_it_is_no_longer_wanted() -> None:
    volume, asked = _volume(7, _field()), itertools.count()
    with pytest.raises(Cancelled):
        estimate_bias(volume, head_mask(volume.data), 2, SimpleItk(), lambda: next(asked) > 3)
    assert next(asked) < 60


def test_an_interrupt_from_the_keyboard_is_not_lost_in_the_library() -> None:
    volume = _volume(7, _field())

    def interrupt() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_bias(volume, head_mask(volume.data), 2, SimpleItk(), interrupt)


def test_a_library_that_is_missing_is_named() -> None:
    with pytest.raises(CRLError, match="there is no backend 'elastix'"):
        open_backend("elastix")  # type: ignore[arg-type]
    try:
        import ants  # noqa: F401
    except ImportError:
        with pytest.raises(CRLError, match="needs antspyx, which is not installed"):
            open_backend("ants")
    else:
        assert open_backend("ants").name == "ANTs"


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_kept_voxels_lie_where_they_were(factor: int) -> None:
    index = np.indices((13, 16, 7)).astype(float)
    world = np.tensordot(AFFINE[:3, :3], index, 1) + AFFINE[:3, 3].reshape(3, 1, 1, 1)
    for axis in range(3):
        kept, affine = subsampled(world[axis], AFFINE, np.array([factor, factor, 1]))
        at = np.indices(kept.shape).reshape(3, -1)
        expected = (affine[:3, :3] @ at + affine[:3, 3:])[axis].reshape(kept.shape)
        np.testing.assert_allclose(kept, expected, atol=1e-4)


def test_thick_slices_are_not_merged_when_the_plane_is() -> None:
    small = shrunk(Volume(np.ones((256, 256, 30), np.float32), np.diag([1.0, 1.0, 5.0, 1.0])), 4.0)
    assert small.data.shape == (64, 64, 30)
    assert small.voxel_mm.tolist() == [4.0, 4.0, 5.0]
