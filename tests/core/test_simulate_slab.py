"""The signal of many voxels at once equals the signal of each, worked out one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from crl_core.physics.acquisition import group_planes
from crl_core.physics.epg import epg_signal
from crl_core.physics.lesions import Inclusions
from crl_core.physics.quick import coil_profile, draw_slice
from crl_core.physics.realism import IDEAL, Realism
from crl_core.physics.signal import fse_signal
from crl_core.physics.slab import SequenceSignal, Voxels, make_voxels, order
from crl_core.physics.tissues import (
    GROUPS,
    labels_to_tissues,
    tissue_groups,
    tissue_index,
    tissue_names,
    usual_table,
)
from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters

TABLE = usual_table()
SEQUENCES = {**{str(n): p for n, p in PAPER_SEQUENCES.items()}, **PRESETS}


def every_tissue(repeat: int = 300) -> NDArray[np.uint8]:
    rows = np.arange(1, len(TABLE), dtype=np.uint8)
    return np.repeat(rows, repeat).reshape(len(rows), 15, repeat // 15)


def rows_of(voxels: Voxels) -> NDArray[np.intp]:
    return np.repeat(np.array(order()), np.diff(voxels.edges))


def textured(b1: bool, seed: int = 0) -> Voxels:
    rng = np.random.default_rng(seed)
    slab = every_tissue()
    water, iron = (rng.normal(0, s, slab.shape).astype(np.float32) for s in (0.07, 0.035))
    field = rng.uniform(0.78, 1.12, slab.shape).astype(np.float32)
    return make_voxels(slab, TABLE, water=water, iron=iron, b1=field if b1 else None)


@pytest.mark.parametrize("name", ["1", "5", "7", "9", "T1w"])
def test_with_ideal_refocusing_it_is_the_signal_equation(name: str) -> None:
    p = replace(SEQUENCES[name], echo_spacing=10.42, echo_train_length=12)
    voxels = textured(b1=False)
    found = SequenceSignal(p, TABLE, IDEAL, engine="closed").of(voxels)
    t2 = voxels.t2
    expected = fse_signal(voxels.pd, voxels.t1, t2, p, signed=True)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("angle", [180, 150, 120])
@pytest.mark.parametrize("name", ["1", "2", "4", "7", "9", "T1w", "STIR"])
def test_below_180_degrees_it_follows_the_phase_graph(name: str, angle: float) -> None:
    """In every voxel with its own T1, T2 and transmit field, as a fraction of water's signal."""
    p = replace(SEQUENCES[name], echo_train_length=4 if name == "T1w" else 16)
    realism = replace(IDEAL, refocusing=angle, inversion=0.95)
    voxels = textured(b1=True)
    sequence = SequenceSignal(p, TABLE, realism)
    exact = epg_signal(
        voxels.pd, voxels.t1, voxels.t2, p, sequence.train, b1=1 + voxels.b1, signed=True
    )
    off = sequence.of(voxels) - exact
    row = rows_of(voxels)
    brain = np.isin(row, [tissue_index(n) for n in ("white matter", "cortical grey matter")])
    assert np.sqrt((off[brain] ** 2).mean()) < 0.0025
    visible = TABLE[row, 2] > 8  # bone gives nothing
    assert np.abs(off[visible]).max() < 0.02
    assert np.sqrt((off[visible] ** 2).mean()) < 0.004


def test_one_field_for_all_is_cheaper_and_as_good() -> None:
    p = replace(PAPER_SEQUENCES[7], echo_train_length=16)
    realism = replace(IDEAL, refocusing=130)
    voxels = textured(b1=False)
    sequence = SequenceSignal(p, TABLE, realism, varied=False)
    exact = epg_signal(voxels.pd, voxels.t1, voxels.t2, p, sequence.train, signed=True)
    visible = TABLE[rows_of(voxels), 2] > 8
    assert np.abs(sequence.of(voxels) - exact)[visible].max() < 0.008


def test_voxels_are_sorted_by_kind_and_put_back_in_place() -> None:
    rng = np.random.default_rng(1)
    slab = rng.integers(0, len(TABLE), size=(3, 9, 7), dtype=np.uint8)
    voxels = make_voxels(slab, TABLE)
    assert len(voxels.pd) == np.count_nonzero(slab)
    back = voxels.spread(rows_of(voxels).astype(np.float32), 0, len(voxels.pd))
    np.testing.assert_array_equal(back, slab)
    groups = np.array([GROUPS.index(g) for g in tissue_groups()])
    for group in GROUPS:
        low, high = voxels.group(group)
        assert set(groups[rows_of(voxels)[low:high]]) <= {GROUPS.index(group)}


def test_texture_moves_all_three_but_hardly_in_fluid() -> None:
    slab = np.full((1, 20, 20), tissue_index("white matter"), np.uint8)
    slab[:, 10:] = tissue_index("cerebrospinal fluid")
    water = np.full((20, 20), 0.1, np.float32)
    voxels = make_voxels(slab, TABLE, water=water)
    row = rows_of(voxels)
    white, fluid = (row == tissue_index(n) for n in ("white matter", "cerebrospinal fluid"))
    assert voxels.t1[white] / TABLE[row[white], 1] == pytest.approx(np.exp(0.1), rel=1e-5)
    assert voxels.t2[white] / TABLE[row[white], 2] == pytest.approx(np.exp(0.08), rel=1e-5)
    assert voxels.pd[white] / TABLE[row[white], 0] == pytest.approx(1.033, rel=1e-5)
    assert np.all(voxels.t1[fluid] / TABLE[row[fluid], 1] < 1.02)


def test_the_rim_of_an_inclusion_lies_between_the_tissues() -> None:
    slab = np.full((1, 4, 4), tissue_index("white matter"), np.uint8)
    found = Inclusions.none(slab.shape)
    weight = np.zeros(slab.shape, np.float32)
    weight[0, 0, 0], weight[0, 0, 1] = 1.0, 0.5
    found.put((slice(None),) * 3, weight, "white matter lesion")
    voxels = make_voxels(slab, TABLE, inclusions=found)
    t2 = voxels.spread(voxels.t2, 0, len(voxels.t2))[0]
    white, lesion = (
        TABLE[tissue_index("white matter"), 2],
        TABLE[tissue_index("white matter lesion"), 2],
    )
    assert t2[0, 0] == pytest.approx(lesion)
    assert t2[0, 1] == pytest.approx(np.sqrt(white * lesion), rel=1e-5)
    assert t2[1, 1] == pytest.approx(white)


def test_nulled_and_inverted_tissue_cancel_inside_a_voxel() -> None:
    """Half fluid, half white matter at a TI between their nulls: signs differ, signals subtract."""
    slab = np.full((2, 8, 8), tissue_index("white matter"), np.uint8)
    slab[1] = tissue_index("cerebrospinal fluid")
    p = SequenceParameters(8000, 10, 1200)
    rng = np.random.default_rng(0)

    def middle(tissues: NDArray[np.uint8]) -> float:
        return float(draw_slice(rng, tissues, TABLE, IDEAL).acquire(rng, p)[4, 4])

    pure = [middle(np.repeat(slab[k : k + 1], 2, 0)) for k in (0, 1)]
    assert middle(slab) == pytest.approx(abs(pure[0] - pure[1]) / 2, rel=1e-4)
    assert middle(slab) < 0.8 * sum(pure) / 2


def test_blood_leaves_the_slice_before_a_late_echo() -> None:
    slab = every_tissue()
    voxels = make_voxels(slab, TABLE)
    row = rows_of(voxels)
    flowing = replace(IDEAL, artery_speed=400.0, vein_speed=100.0)

    def mean(p: SequenceParameters, realism: Realism, name: str) -> float:
        signal = SequenceSignal(p, TABLE, realism, varied=False).of(voxels)
        return float(np.abs(signal[row == tissue_index(name)]).mean())

    early, late = PAPER_SEQUENCES[5], PAPER_SEQUENCES[7]
    for name in ("arterial blood", "venous blood"):
        assert mean(late, flowing, name) < 0.05 * mean(late, IDEAL, name)
        assert 0 < mean(early, flowing, name) < mean(early, IDEAL, name)
    assert mean(early, flowing, "arterial blood") < mean(early, flowing, "venous blood")
    assert mean(late, flowing, "white matter") == mean(late, IDEAL, "white matter")


def test_suppression_darkens_fat_alone_and_a_single_echo_darkens_it_too() -> None:
    voxels = make_voxels(every_tissue(), TABLE)
    row = rows_of(voxels)
    fat = row == tissue_index("fat")
    plain = PAPER_SEQUENCES[7]
    realism = replace(IDEAL, fat_left=0.1)

    def signal(p: SequenceParameters) -> NDArray[np.float32]:
        return np.asarray(SequenceSignal(p, TABLE, realism, varied=False).of(voxels))

    suppressed = signal(replace(plain, fat_suppression=True))
    np.testing.assert_allclose(suppressed[fat], 0.1 * signal(plain)[fat], rtol=1e-5)
    others = ~fat & (row != tissue_index("bone marrow"))
    np.testing.assert_array_equal(suppressed[others], signal(plain)[others])
    single = signal(replace(plain, echo_spacing=plain.te, echo_train_length=1))
    train = signal(replace(plain, echo_spacing=plain.te / 10, echo_train_length=10))
    assert single[fat].mean() < 0.6 * train[fat].mean()


def test_torch_and_numpy_agree() -> None:
    """The path a GPU takes, on the processor."""
    voxels = textured(b1=True, seed=3)
    p = replace(PAPER_SEQUENCES[9], echo_train_length=16)
    sequence = SequenceSignal(p, TABLE, replace(IDEAL, refocusing=140))
    here = sequence.of(voxels)
    moved = voxels.on("cpu")
    there = sequence.of(moved)
    np.testing.assert_allclose(there.numpy(), here, atol=2e-6)
    profile = np.full(voxels.shape[0], 1 / voxels.shape[0], np.float32)
    for group, plane in group_planes(moved, there, profile).items():
        np.testing.assert_allclose(
            plane.numpy(), group_planes(voxels, here, profile)[group], atol=2e-6
        )


def test_noise_leaves_the_rician_floor_in_air_whatever_the_sequence(
    labels: NDArray[np.int16],
) -> None:
    """The noise is the session's: air looks the same in a bright and in a dark image."""
    slab = np.moveaxis(labels_to_tissues(labels), 2, 0)
    realism = replace(IDEAL, noise=0.02)
    for number in (5, 9):
        rng = np.random.default_rng(3)
        noisy = draw_slice(rng, slab, TABLE, realism).acquire(rng, PAPER_SEQUENCES[number])
        air = noisy[(slab == 0).all(axis=0)]
        assert air.mean() == pytest.approx(0.02 * np.sqrt(np.pi / 2), rel=0.05)


def test_coil_profiles_are_smooth_and_of_the_depth_asked_for() -> None:
    profile = coil_profile(np.random.default_rng(0), (60, 50), 0.4)
    assert profile.mean() == pytest.approx(1.0, rel=1e-5)
    assert np.ptp(np.log(profile)) == pytest.approx(0.4, rel=1e-4)
    assert np.abs(np.diff(profile, axis=0)).max() < 0.05


def test_every_tissue_belongs_to_one_group() -> None:
    assert sorted(order()) == list(range(len(tissue_names())))
