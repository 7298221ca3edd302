"""Digital subjects: the truth they are made from can be found in them again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from crl_core.physics.epg import EchoTrain, epg_signal
from crl_core.physics.realism import IDEAL, Realism
from crl_core.physics.signal import fse_signal
from crl_core.physics.subjects import DigitalSubject
from crl_core.physics.tissues import labels_to_tissues, tissue_index, usual_table
from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters

WHITE, FLUID = "white matter", "ventricular fluid"


def deep(labels: NDArray[np.int16], planes: int = 24) -> NDArray[np.int16]:
    """The tiny head, enlarged three times and many planes deep: 120 x 144 voxels of 1 mm."""
    return np.repeat(labels[:, :, :1].repeat(3, axis=0).repeat(3, axis=1), planes, axis=2)


@pytest.fixture(scope="module")
def big() -> NDArray[np.int16]:
    from tests.conftest import tiny_labels

    return deep(tiny_labels())


def subject(labels: NDArray[np.int16], realism: Realism = IDEAL, seed: int = 1, **more):
    made = DigitalSubject.from_tissues(
        labels_to_tissues(labels), np.eye(4), seed, realism=realism, **more
    )
    return replace(made, table=usual_table())


def inside(labels: NDArray[np.int16], label: int, margin: int = 3) -> NDArray[np.bool_]:
    """Voxels whose neighbours in the plane are all of one label."""
    from scipy import ndimage

    return ndimage.binary_erosion(labels[:, :, 0] == label, iterations=margin)


@pytest.mark.parametrize("number", [1, 5, 7, 9])
@pytest.mark.parametrize("engine", ["closed", "epg"])
def test_without_realism_the_image_is_the_signal_equation(big, number: int, engine) -> None:
    p = PAPER_SEQUENCES[number]
    (volume,) = subject(big, engine=engine).scan([p], [5], 5, gain=1.0)
    for name, label, margin in ((WHITE, 2, 8), (FLUID, 4, 4)):
        pd, t1, t2 = usual_table()[tissue_index(name)]
        truth = float(fse_signal(pd, t1, t2, p))
        found = volume[inside(big, label, margin), 0]
        assert found.mean() == pytest.approx(truth, rel=0.02, abs=0.004)


def test_a_lower_angle_shows_as_the_phase_graph_says(big) -> None:
    p = replace(PAPER_SEQUENCES[7], echo_train_length=16)
    low = replace(IDEAL, refocusing=110.0)
    (volume,) = subject(big, low).scan([p], [5], 5, gain=1.0)
    pd, t1, t2 = usual_table()[tissue_index(WHITE)]
    truth = float(epg_signal(pd, t1, t2, p, EchoTrain.of(p, 110.0)))
    found = float(volume[inside(big, 2, 8), 0].mean())
    assert found == pytest.approx(truth, rel=0.02)
    assert found > 1.08 * float(fse_signal(pd, t1, t2, p))


def test_the_transmit_field_is_shared_by_all_contrasts(big) -> None:
    realism = replace(IDEAL, refocusing=140.0, transmit=0.15)
    one = subject(big, realism)
    flat = subject(big, replace(realism, transmit=0.0))
    sequences = [PAPER_SEQUENCES[n] for n in (2, 5)]
    shaded, plain = (s.scan(sequences, [5], 3, gain=1.0) for s in (one, flat))
    where = inside(big, 2, 5)
    ratios = [a[where, 0] / b[where, 0] for a, b in zip(shaded, plain, strict=True)]
    assert ratios[0].std() > 0.0015
    assert np.corrcoef(*ratios)[0, 1] > 0.9
    found = one.maps([5], 3).b1[where, 0]
    assert np.corrcoef(ratios[1], found)[0, 1] > 0.9
    assert found.std() > 0.005


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(labels) -> None:
    def make(seed: int) -> bytes:
        made = DigitalSubject.from_labels(labels, np.eye(4), seed)
        return made.scan([PAPER_SEQUENCES[7]], [0, 2], 2)[0].tobytes()

    assert make(5) == make(5)
    assert make(5) != make(6)


def test_a_contrast_does_not_depend_on_which_others_are_taken(big) -> None:
    made = subject(big, Realism(noise=0.01, motion=0.4))
    five, seven = (PAPER_SEQUENCES[n] for n in (5, 7))
    alone = made.scan([five], [2, 9], 4)[0]
    both = made.scan([five, seven], [2, 9], 4)[0]
    np.testing.assert_array_equal(alone, both)


def test_contrasts_of_a_subject_share_the_coil(labels) -> None:
    shaded = subject(labels, replace(IDEAL, bias=0.9))
    flat = subject(labels, IDEAL)
    sequences = [PAPER_SEQUENCES[n] for n in (5, 7)]
    bright = labels[:, :, 0] > 0
    pairs = zip(shaded.scan(sequences, [2], 1), flat.scan(sequences, [2], 1), strict=True)
    first, second = (s[bright, 0] / np.maximum(p[bright, 0], 1e-6) for s, p in pairs)
    # Blur and noise are off, so the ratio is the coil profile alone, the same in both.
    assert first.std() > 0.05
    np.testing.assert_allclose(first, second, rtol=1e-3)
    profile = shaded.maps([2], 1).receive[bright, 0]
    np.testing.assert_allclose(first, profile, rtol=1e-3)


def test_texture_runs_on_from_slice_to_slice(big) -> None:
    """Neighbouring slices of 1 mm look alike, distant ones do not."""
    made = subject(big, replace(IDEAL, texture=0.1))
    (volume,) = made.scan([PAPER_SEQUENCES[7]], [4, 5, 20], 1)
    where = inside(big, 2, 4)
    near, far = (np.corrcoef(volume[where, 0], volume[where, k])[0, 1] for k in (1, 2))
    assert near > 0.8
    assert far < 0.6


def test_a_thick_slice_holds_two_tissues_in_the_share_of_its_profile(labels) -> None:
    plane = np.full((40, 40, 24), 2, np.int16)
    plane[:, :, 12:] = 4
    p = PAPER_SEQUENCES[5]
    (volume,) = subject(plane).scan([p], [2, 9, 10, 17], 5, gain=1.0)
    white, fluid = volume[20, 20, 0], volume[20, 20, 3]
    shares = [(volume[20, 20, k] - white) / (fluid - white) for k in (1, 2)]
    assert fluid > 1.1 * white
    assert shares[0] == pytest.approx(0.4, abs=0.05)
    assert shares[1] == pytest.approx(0.6, abs=0.05)


def test_the_noise_belongs_to_the_session_and_to_the_voxel(big) -> None:
    noisy = replace(IDEAL, noise=0.02)
    air = np.s_[:8, :8]

    def level(number: int, thickness: int, in_plane: float) -> float:
        made = subject(big, noisy)
        volumes = made.scan([PAPER_SEQUENCES[number]], [2, 8], thickness, 1.0, in_plane_mm=in_plane)
        return float(volumes[0][air].mean())

    base = level(5, 5, 1.0)
    assert base == pytest.approx(0.02 * np.sqrt(np.pi / 2), rel=0.2)
    assert level(9, 5, 1.0) == pytest.approx(base, rel=0.12)  # a darker contrast, as noisy
    assert level(5, 2, 1.0) == pytest.approx(2.5 * base, rel=0.15)
    assert level(5, 5, 2.0) == pytest.approx(base / 4, rel=0.25)


def test_another_pixel_size_shows_the_same_head(big) -> None:
    made = subject(big)
    (fine,), (coarse,) = (
        made.scan([PAPER_SEQUENCES[5]], [5], 5, in_plane_mm=mm) for mm in (1.0, 2.0)
    )
    assert fine.shape[:2] == (120, 144)
    assert coarse.shape[:2] == (60, 72)
    binned = fine[:, :, 0].reshape(60, 2, 72, 2).mean(axis=(1, 3))
    assert np.corrcoef(binned.ravel(), coarse[:, :, 0].ravel())[0, 1] > 0.98


def test_the_true_maps_are_what_the_images_were_made_from(big) -> None:
    made = subject(big, replace(IDEAL, texture=0.05))
    maps = made.maps([5], 5)
    assert maps.pd.shape == (120, 144, 1)
    for name, label, margin in ((WHITE, 2, 6), (FLUID, 4, 3)):
        pd, t1, t2 = usual_table()[tissue_index(name)]
        where = inside(big, label, margin)
        assert maps.t1[where, 0].mean() == pytest.approx(t1, rel=0.03)
        assert maps.t2[where, 0].mean() == pytest.approx(t2, rel=0.03)
        assert maps.pd[where, 0].mean() == pytest.approx(pd, rel=0.02)
    assert maps.t1[0, 0, 0] == maps.pd[0, 0, 0] == 0
    # The oracle: the signal equation on the true maps gives the image inside tissue.
    p = replace(PAPER_SEQUENCES[7], echo_spacing=10.42, echo_train_length=16)
    image = replace(made, engine="closed").scan([p], [5], 5, gain=1.0)[0][:, :, 0]
    where = inside(big, 2, 4)
    oracle = fse_signal(*(m[:, :, 0][where] for m in (maps.pd, maps.t1, maps.t2)), p)
    assert np.corrcoef(oracle, image[where])[0, 1] > 0.8
    assert np.abs(oracle - image[where]).mean() < 0.03 * oracle.mean()


def test_inclusions_show_where_the_truth_says(big) -> None:
    found = None
    for seed in range(6):
        made = subject(big, IDEAL, seed, lesions=["ms"])
        maps = made.maps([6, 11], 5)
        if (maps.inclusions > 0).sum() > 15:
            found = made, maps
            break
    assert found is not None
    made, maps = found
    (flair,) = made.scan([PRESETS["T2-FLAIR"]], [6, 11], 5)
    there = maps.inclusions == tissue_index("white matter lesion")
    white = np.repeat(inside(big, 2, 4)[:, :, None], 2, axis=2) & (maps.inclusions == 0)
    assert flair[there].mean() > 1.15 * flair[white].mean()
    assert maps.t2[there].mean() > 1.2 * maps.t2[white].mean()
    assert set(np.unique(maps.inclusions).tolist()) == {0, tissue_index("white matter lesion")}


def test_contrasts_are_out_of_register_by_less_than_half_a_voxel(big) -> None:
    """Found again by correlating edges of two contrasts of the same weighting."""
    moving, still = (subject(big, replace(IDEAL, motion=m)) for m in (0.5, 0.0))
    p = PAPER_SEQUENCES[5]
    volumes = moving.scan([p] * 6, [5], 5, gain=1.0)
    (reference,) = still.scan([p], [5], 5, gain=1.0)
    slope = np.gradient(reference[:, :, 0])
    shifts = []
    for volume in volumes:
        change = volume[:, :, 0] - reference[:, :, 0]
        shifts += [abs(float((change * s).sum() / (s * s).sum())) for s in slope]
    assert 0.05 < max(shifts) < 0.6


def test_a_repetition_too_short_is_refused(labels) -> None:
    from crl_core.errors import ParameterError

    with pytest.raises(ParameterError, match="too short"):
        subject(labels).scan([SequenceParameters(500, 100, 450)], [0], 2)
