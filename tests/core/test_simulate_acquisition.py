"""From signal to image: each effect of the acquisition, found again where it was put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from crl_core.physics.acquisition import (
    Displacement,
    Matrix,
    acquire,
    decay_over_kspace,
    slice_profile,
)
from crl_core.physics.epg import EchoTrain
from crl_core.physics.fields import Coils, SmoothVolume, TransmitField, grid_axes, smooth_field
from crl_core.physics.realism import IDEAL, Realism
from crl_core.physics.slab import SequenceSignal
from crl_core.physics.tissues import usual_table
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

FINE = Matrix((160, 128), (80, 64))
# One echo of the whole k-space: nothing decays along it.
PLAIN = SequenceSignal(
    SequenceParameters(5000, 50, echo_spacing=50, echo_train_length=1), usual_table(), IDEAL
)


def disc(radius: float = 20.0, centre: tuple[float, float] = (80.0, 64.0)) -> NDArray[np.float32]:
    x, y = np.ogrid[:160, :128]
    far = np.hypot(x - centre[0] + 0.5, y - centre[1] + 0.5)
    return np.clip(radius + 0.5 - far, 0, 1).astype(np.float32)


def image(planes, realism: Realism = IDEAL, sequence=PLAIN, channels: int = 1, **options):
    flat = np.ones((channels, *FINE.image), np.complex64)
    noise = options.pop("noise", None)
    return acquire(planes, sequence, FINE, realism, flat, noise, **options)


def middle_of_mass(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    weight = np.clip(picture - 0.05 * picture.max(), 0, None)
    axes = np.indices(picture.shape)
    return np.array([(a * weight).sum() / weight.sum() for a in axes])


def test_the_image_shows_the_plane_at_its_place_and_brightness() -> None:
    plane = disc(centre=(100, 50))
    found = image({"solid": plane})
    binned = plane.reshape(80, 2, 64, 2).mean(axis=(1, 3))
    assert found.shape == (80, 64)
    inside = disc(14, centre=(100, 50)).reshape(80, 2, 64, 2).mean(axis=(1, 3)) > 0.99
    assert np.abs(found - binned)[inside].max() < 0.04  # a little ringing
    np.testing.assert_allclose(middle_of_mass(found), middle_of_mass(binned), atol=0.05)
    assert found.sum() == pytest.approx(binned.sum(), rel=0.05)  # ringing is folded up


def test_a_displacement_is_what_was_asked_for() -> None:
    where = Displacement(shift=(0.5, -0.35))
    still, moved = image({"solid": disc()}), image({"solid": disc()}, where=where)
    np.testing.assert_allclose(
        middle_of_mass(moved) - middle_of_mass(still), (0.5, -0.35), atol=0.02
    )


def test_a_rotation_turns_about_the_middle_and_keeps_the_sum() -> None:
    bar = np.zeros((160, 128), np.float32)
    bar[30:130, 60:68] = 1
    turned = image({"solid": bar}, where=Displacement(angle=0.1))
    x, y = np.indices(turned.shape) - middle_of_mass(turned)[:, None, None]
    weight = np.clip(turned - 0.1, 0, None)
    angle = 0.5 * np.arctan2(2 * (weight * x * y).sum(), (weight * (x**2 - y**2)).sum())
    assert abs(angle) == pytest.approx(0.1, abs=0.01)
    assert turned.sum() == pytest.approx(image({"solid": bar}).sum(), rel=0.03)
    np.testing.assert_allclose(
        middle_of_mass(turned), middle_of_mass(image({"solid": bar})), atol=0.1
    )


def test_drawn_displacements_stay_within_half_a_voxel() -> None:
    drawn = [Displacement.draw(np.random.default_rng(s), 0.5, 1.0) for s in range(200)]
    largest = max(max(abs(d.shift[0]), abs(d.shift[1]), abs(d.through)) for d in drawn)
    assert 0.45 < largest <= 0.5
    assert max(abs(d.angle) for d in drawn) * 90 <= 0.5


def test_fat_alone_is_displaced_along_the_readout() -> None:
    shifted = replace(IDEAL, fat_shift=1.5)
    still = middle_of_mass(image({"fat": disc()}))
    moved = middle_of_mass(image({"fat": disc()}, shifted))
    np.testing.assert_allclose(moved - still, (0.0, 1.5), atol=0.05)
    np.testing.assert_allclose(middle_of_mass(image({"solid": disc()}, shifted)), still, atol=1e-3)


def test_ghosts_come_from_what_pulsates_and_lie_along_the_phase_axis() -> None:
    realism = replace(IDEAL, ghost=0.05)
    small = disc(8.0)
    plain, ghosted = image({"fluid": small}), image({"fluid": small}, realism, beat=(0.25, 0.0))
    extra = ghosted - plain
    quarter = 80 // 4
    copies = extra[np.ix_([40 - quarter, 40 + quarter], range(28, 36))]
    assert copies.mean() == pytest.approx(0.05, rel=0.15)
    np.testing.assert_allclose(image({"solid": small}, realism), image({"solid": small}), atol=1e-6)
    blood = image({"blood": small}, realism) - plain
    assert blood[40 - quarter, 32] == pytest.approx(0.15, rel=0.2)


def test_the_decay_along_the_train_blurs_short_echo_times_and_sharpens_long_ones() -> None:
    train = EchoTrain(10.0, 16)
    early = decay_over_kspace(train, 10.0, "solid", 64)
    late = decay_over_kspace(train, 160.0, "solid", 64)
    middle = decay_over_kspace(train, 80.0, "solid", 64)
    assert early[32] == late[32] == middle[32] == pytest.approx(1.0)
    assert early[0] < 0.3
    assert early[-1] < 0.3
    assert late[0] > 3
    assert middle[0] > 1 > middle[-1]
    assert decay_over_kspace(train, 80.0, "fluid", 64).min() > 0.9
    assert np.ptp(decay_over_kspace(EchoTrain(10.0, 1), 10.0, "solid", 64)) == 0

    def edge(te: float, length: int) -> float:
        p = SequenceParameters(5000, te, echo_spacing=10, echo_train_length=length)
        sequence = SequenceSignal(p, usual_table(), IDEAL)
        profile = image({"solid": disc(40)}, sequence=sequence)[:, 32]
        return float(np.abs(np.diff(profile / profile[35:45].mean())).max())

    assert edge(10, 16) < 0.75 * edge(10, 1)
    assert edge(160, 16) > edge(160, 17) * 0.9


def test_only_the_phase_axis_is_blurred_by_the_train() -> None:
    p = SequenceParameters(5000, 10, echo_spacing=10, echo_train_length=16)
    found = image({"solid": disc(25)}, sequence=SequenceSignal(p, usual_table(), IDEAL))
    along, across = (np.abs(np.diff(found, axis=a)).max() for a in (0, 1))
    assert along < 0.8 * across


def test_noise_is_rician_with_one_channel_and_chi_with_several() -> None:
    rng = np.random.default_rng(1)
    sigma = 0.05
    for channels in (1, 8):
        parts = rng.standard_normal((2, channels, *FINE.image), dtype=np.float32) * sigma
        found = image({"solid": disc()}, channels=channels, noise=parts[0] + 1j * parts[1])
        air = found[:10]
        # The filter against ringing takes part of the noise with it.
        quiet = 0.85
        mean = sigma * np.sqrt(np.pi / 2) if channels == 1 else sigma * 3.938
        assert mean * quiet * 0.9 < air.mean() < mean * 1.02
        if channels == 1:
            assert air.std() / air.mean() == pytest.approx(0.5227, abs=0.05)
        else:
            assert air.std() / air.mean() == pytest.approx(0.1757, abs=0.03)


def test_slices_are_neither_boxes_nor_wider_than_named() -> None:
    z = np.linspace(-5, 5, 2001)
    weight = slice_profile(z.astype(np.float32), 5.0)
    assert weight.sum() == pytest.approx(1, rel=1e-4)
    half = z[weight > 0.5 * weight.max()]
    assert np.ptp(half) == pytest.approx(5.0, abs=0.02)
    shoulder = z[(weight < 0.9 * weight.max()) & (weight > 0.1 * weight.max()) & (z > 0)]
    assert 0.8 < np.ptp(shoulder) < 2.0


def test_torch_makes_the_same_image() -> None:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((2, 3, *FINE.image), dtype=np.float32) * np.float32(0.02)
    coils = (rng.uniform(0.8, 1.2, (3, *FINE.image)) * np.exp(1j)).astype(np.complex64)
    planes = {"solid": disc(), "fluid": disc(8.0), "fat": disc(5.0, (40, 30))}
    realism = replace(IDEAL, ghost=0.02, fat_shift=1.0, blur=0.4)
    sequence = SequenceSignal(
        replace(PAPER_SEQUENCES[7], echo_train_length=16), usual_table(), IDEAL
    )
    where = Displacement((0.3, 0.1), 0.0, 0.01)
    grain = (noise[0] + 1j * noise[1]).astype(np.complex64)
    here = acquire(planes, sequence, FINE, realism, coils, grain, where=where)
    there = acquire(
        {k: torch.from_numpy(v) for k, v in planes.items()}, sequence, FINE, realism,
        torch.from_numpy(coils), torch.from_numpy(grain), where=where,
    )  # fmt: skip
    np.testing.assert_allclose(there.numpy(), here, atol=3e-6)


def test_smooth_fields_have_unit_variance_and_are_smooth() -> None:
    field = smooth_field(np.random.default_rng(0), (96, 90), (6.0,))
    assert field.shape == (96, 90)
    assert field.std() == pytest.approx(1.0, rel=1e-3)
    assert np.abs(np.diff(field, axis=0)).mean() < 0.25


def test_a_field_in_space_is_the_same_however_it_is_cut() -> None:
    field = SmoothVolume(np.random.default_rng(4), (40, 50, 30), (4.0,))
    x, y, z = grid_axes((40, 50, 30), (1, 1, 1))
    whole = field.at((x, y, z))
    np.testing.assert_allclose(
        field.at((x, y[10:20], z[7:8]))[:, :, 0], whole[:, 10:20, 7], atol=1e-6
    )
    assert whole.std() == pytest.approx(1.0, abs=0.25)
    for axis in range(3):  # as smooth through the slices as within them
        step = np.abs(np.diff(whole, axis=axis)).mean() / whole.std()
        assert 0.1 < step < 0.3


def test_the_transmit_field_is_a_dome() -> None:
    rng = np.random.default_rng(5)
    centre, radii = (80.0, 100.0, 60.0), (75.0, 95.0, 60.0)
    field = TransmitField.draw(rng, centre, radii, 0.12)
    axes = grid_axes((160, 200, 1), (1, 1, 120))
    b1 = field.at(axes)[:, :, 0]
    assert b1[80, 100] > b1[8, 100] + 0.03
    assert 0.75 < b1.min() < b1.max() < 1.15
    flat = TransmitField.draw(rng, centre, radii, 0.0).at(axes)
    assert flat.min() == flat.max() == 1.0


@pytest.mark.parametrize("count", [1, 4, 8, 16])
def test_channels_together_are_near_one_in_the_middle(count: int) -> None:
    centre, radii = (80.0, 100.0, 60.0), (75.0, 95.0, 80.0)
    axes = (*grid_axes((160, 200, 1), (1, 1, 1))[:2], np.array([60.0], np.float32))
    shaded = Coils.draw(np.random.default_rng(3), count, 1.0, centre, radii).at(axes)
    assert shaded.shape == (count, 160, 200)
    total = np.sqrt((np.abs(shaded) ** 2).sum(axis=0))
    assert total[80, 100] == pytest.approx(1.0, abs=0.1)
    if count >= 4:  # surface coils see their own side best
        assert total[6:10, 100].mean() > 1.15 * total[80, 100]
        assert len({int(np.argmax(np.abs(c).max(axis=1))) for c in shaded}) > 1
    flat = Coils.draw(np.random.default_rng(3), count, 0.0, centre, radii).at(axes)
    np.testing.assert_allclose(np.sqrt((np.abs(flat) ** 2).sum(axis=0)), 1.0, atol=1e-5)
