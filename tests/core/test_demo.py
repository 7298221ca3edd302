"""The scans that ship with the program."""

from __future__ import annotations

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from crl_core.demo import digital_subject, label_map, lesion_map, real_slice
from crl_core.physics.tissues import LABEL_TISSUES
from crl_core.preprocess.registration import mutual_information
from crl_core.resources import resource, resource_root
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES, PRESETS

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def slices() -> list[Scan]:
    return real_slice()


@pytest.fixture(scope="module")
def volumes() -> list[Scan]:
    return digital_subject()


def test_real_slice_holds_the_published_settings(slices: list[Scan]) -> None:
    settings = [s.parameters.triple for s in slices]
    spin_echo = [(5000.0, te, 0.0) for te in (10, 25, 50, 90, 150, 250)]
    inversion = [(15000.0, 15.0, ti) for ti in (50, 100, 200, 500, 2000, 4000)]
    assert settings == spin_echo + inversion
    assert [s.name for s in slices][::6] == ["SE TE 10", "IR TI 50"]


def test_real_slice_lies_on_one_grid_of_one_slice(slices: list[Scan]) -> None:
    assert all(s.same_grid(slices[0]) for s in slices)
    assert slices[0].shape == (256, 192, 1)
    assert slices[0].slice_axis == 2
    assert slices[0].voxel_size == pytest.approx((1, 1, 5))


def test_real_slice_claims_no_left_and_right(slices: list[Scan]) -> None:
    assert not any(s.orientation_stated for s in slices)
    assert all("Pixel size assumed" in s.note for s in slices)


def test_real_slice_stands_with_the_forehead_up(slices: list[Scan]) -> None:
    """The first array axis runs to the back: the interhemispheric fissure splits the front."""
    assert nib.aff2axcodes(slices[0].affine)[0] == "P"
    rows = np.flatnonzero(slices[0].mask[..., 0].any(axis=1))
    centre = slices[0].affine @ [rows.mean(), 95.5, 0, 1]
    assert np.abs(centre[:3]).max() < 20


def test_only_the_inversion_series_says_registered_and_estimated(slices: list[Scan]) -> None:
    for s in slices:
        inverted = s.parameters.inverted
        assert ("Registered to the spin echo series" in s.note) == inverted
        assert s.nominal == inverted
        assert s.origins["te"].certainty == ("estimated" if inverted else "stated")
        assert s.origins["tr"].certainty == s.origins["ti"].certainty == "stated"
        assert "fsantini/qMRI_example" in s.origins["tr"].where
    assert "8 to 25 ms" in slices[-1].origins["te"].where


def test_the_two_series_are_registered(slices: list[Scan]) -> None:
    """The unregistered arrays share 1.064 between these two images, registered 1.112."""
    inside = slices[0].mask
    shared = mutual_information(slices[-1].data[inside], slices[0].data[inside])
    assert shared > 1.10
    moved = np.roll(slices[-1].data, 2, axis=0)
    assert mutual_information(moved[inside], slices[0].data[inside]) < shared - 0.02


def test_real_images_are_magnitudes_with_signal(slices: list[Scan]) -> None:
    for s in slices:
        assert s.data.dtype == np.float32
        assert s.data.min() >= 0
        assert s.scale.scale > 300


def test_head_mask_finds_the_same_head_in_both_series(slices: list[Scan]) -> None:
    """Even at TE 250, where little but fluid is left to find the head by."""
    for s in slices:
        # At TE 250 ms scalp and skull no longer show; the brain still must.
        low = 0.36 if s.parameters and s.parameters.te > 200 else 0.44
        assert low < s.mask.mean() < 0.56, s.name


def test_longer_echoes_are_darker(slices: list[Scan]) -> None:
    levels = [float(s.data[slices[0].mask].mean()) for s in slices[:6]]
    assert levels == sorted(levels, reverse=True)


def test_digital_subject_holds_the_nine_sequences_and_a_t1w(volumes: list[Scan]) -> None:
    expected = [p.triple for p in PAPER_SEQUENCES.values()] + [PRESETS["T1w"].triple]
    assert [s.parameters.triple for s in volumes] == expected
    assert [s.name[0] for s in volumes[:9]] == list("123456789")
    assert not any(s.nominal for s in volumes)


def test_digital_subject_is_a_volume_on_one_grid(volumes: list[Scan]) -> None:
    assert all(s.same_grid(volumes[0]) for s in volumes)
    assert volumes[0].n_slices == 22
    assert volumes[0].voxel_size == pytest.approx((1, 1, 6))
    assert volumes[0].slice_axis == 2
    assert all(s.orientation_stated for s in volumes)
    assert all("not a person" in s.note for s in volumes)


def test_label_map_covers_the_digital_subject(volumes: list[Scan]) -> None:
    image = nib.load(label_map())
    values = np.unique(np.asarray(image.dataobj).astype(int))
    unknown = set(values.tolist()) - set(LABEL_TISSUES) - {0}
    assert len(values) > 40
    assert len(unknown) <= 1
    # The lower face of the first voxel is the same plane in both, and so is the upper one.
    scan, labels = volumes[0].affine, image.affine
    for at_scan, at_labels in ((0, 0), (22, 132)):
        face_scan = scan @ [-0.5, -0.5, at_scan - 0.5, 1]
        face_labels = labels @ [-0.5, -0.5, at_labels - 0.5, 1]
        assert face_scan == pytest.approx(face_labels, abs=1e-3)


def test_simulated_contrast_follows_the_labels(volumes: list[Scan]) -> None:
    labels = np.asarray(nib.load(label_map()).dataobj)[:, :, 3::6]
    fluid, white = np.isin(labels, (4, 43)), np.isin(labels, (2, 41))
    by_name = {s.name: s.data for s in volumes}
    t2w, flair = by_name["7 T2w"], by_name["9 T2-FLAIR"]
    assert t2w[fluid].mean() > 2 * t2w[white].mean()
    assert flair[fluid].mean() < flair[white].mean()


def test_lesions_are_where_their_map_says(volumes: list[Scan]) -> None:
    image = nib.load(lesion_map())
    there = np.asarray(image.dataobj) > 0
    flair = next(s for s in volumes if s.name == "9 T2-FLAIR")
    assert there.shape == flair.shape
    np.testing.assert_allclose(image.affine, flair.affine, atol=1e-4)
    assert 500 < there.sum() < 5000
    labels = np.asarray(nib.load(label_map()).dataobj)[:, :, 3::6]
    white = np.isin(labels, (2, 41)) & ~there
    assert flair.data[there].mean() > 1.25 * flair.data[white].mean()


def test_demo_data_stay_small() -> None:
    files = [p for p in (resource_root() / "demo").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 8 * MEBIBYTE


@pytest.mark.parametrize("name", ["real_slice", "digital"])
def test_every_demo_names_its_licence_and_source(name: str) -> None:
    text = resource("LICENSES.md").read_text(encoding="utf-8")
    description = resource("demo", name, "dataset_description.json").read_text(encoding="utf-8")
    source = {"real_slice": "fsantini/qMRI_example", "digital": "BBillot/SynthSeg"}[name]
    assert f"demo/{name}" in text
    assert source in text
    assert source in description


def test_loading_the_demo_needs_no_torch() -> None:
    code = "import sys, crl_core.demo as d; d.real_slice(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
