"""Digital subjects: the truth they are made from can be found in them again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crl_core import io
from crl_core.errors import InputError, OutputError, ParameterError
from crl_core.io.bids import find_subjects, load_subject
from crl_core.physics.dataset import simulate_dataset
from crl_core.physics.signal import fse_signal
from crl_core.physics.subjects import (
    DigitalSubject,
    Realism,
    acquire,
    add_lesions,
    draw_maps,
    smooth_field,
    to_ras,
)
from crl_core.physics.tissues import (
    draw_table,
    labels_to_tissues,
    tissue,
    tissue_index,
    tissue_names,
    tissues,
    usual_table,
)
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

CLEAN = Realism(texture=0.0, bias=0.0, noise=0.0, blur=0.0, lesions=0.0, echo_mismatch=0.0)


def test_every_tissue_value_is_a_range_with_a_source() -> None:
    for strength in (1.5, 3.0):
        for t in tissues(strength):
            for low, usual, high in (t.pd, t.t1, t.t2):
                assert 0 <= low <= usual <= high
            assert t.t2[1] < t.t1[1]
            assert t.sources


def test_white_matter_relaxes_faster_at_lower_field() -> None:
    assert tissue("white matter", 1.5).t1[1] < tissue("white matter", 3.0).t1[1]


def test_air_is_the_first_row_and_unknown_labels_become_air(labels: NDArray[np.int16]) -> None:
    assert tissue_names()[0] == "air"
    found = labels_to_tissues(np.array([0, 2, 9999, -4, 514]))
    assert found.tolist() == [0, tissue_index("white matter"), 0, 0, tissue_index("venous blood")]


def test_subjects_differ_but_stay_in_the_published_range() -> None:
    tables = [draw_table(np.random.default_rng(seed)) for seed in range(30)]
    white = np.array([t[tissue_index("white matter"), 1] for t in tables])
    low, _, high = tissue("white matter").t1
    assert low <= white.min() < white.max() <= high
    wide = [draw_table(np.random.default_rng(s), wide=1.0) for s in range(30)]
    assert max(t[tissue_index("white matter"), 1] for t in wide) > high


@pytest.mark.parametrize("number", [1, 5, 7, 9])
def test_without_realism_the_image_is_the_signal_equation(
    labels: NDArray[np.int16], number: int
) -> None:
    index = labels_to_tissues(labels)
    slab = np.moveaxis(index, 2, 0)
    table = usual_table()
    rng = np.random.default_rng(0)
    maps = draw_maps(rng, slab, table, CLEAN)
    image = acquire(rng, maps, PAPER_SEQUENCES[number], CLEAN)
    pd, t1, t2 = (table[:, k][slab[0]] for k in range(3))
    expected = fse_signal(pd, t1, t2, PAPER_SEQUENCES[number])
    np.testing.assert_allclose(image, expected, rtol=2e-4, atol=2e-5)


def test_nulled_and_inverted_tissue_cancel_inside_a_voxel() -> None:
    """Half fluid, half white matter at a TI between their nulls: signs differ, signals subtract."""
    slab = np.full((2, 8, 8), tissue_index("white matter"), np.uint8)
    slab[1] = tissue_index("cerebrospinal fluid")
    parameters = SequenceParameters(8000, 10, 1200)
    rng = np.random.default_rng(0)
    table = usual_table()
    mixed = acquire(rng, draw_maps(rng, slab, table, CLEAN), parameters, CLEAN)[4, 4]
    pure = [
        acquire(rng, draw_maps(rng, np.repeat(slab[k : k + 1], 2, 0), table, CLEAN), parameters,
                CLEAN)[4, 4]
        for k in (0, 1)
    ]  # fmt: skip
    assert mixed == pytest.approx(abs(pure[0] - pure[1]) / 2, rel=1e-4)
    assert mixed < 0.8 * sum(pure) / 2


def test_noise_leaves_the_rician_floor_in_air(labels: NDArray[np.int16]) -> None:
    slab = np.moveaxis(labels_to_tissues(labels), 2, 0)
    rng = np.random.default_rng(3)
    realism = replace(CLEAN, noise=0.02)
    maps = draw_maps(rng, slab, usual_table(), CLEAN)
    clean = acquire(rng, maps, PAPER_SEQUENCES[5], CLEAN)
    noisy = acquire(rng, maps, PAPER_SEQUENCES[5], realism)
    sigma = 0.02 * np.percentile(clean, 98)
    floor = noisy[clean == 0].mean()
    assert floor == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.08)


def test_smooth_fields_have_unit_variance_and_are_smooth() -> None:
    field = smooth_field(np.random.default_rng(0), (96, 96), (6.0,))
    assert field.shape == (96, 96)
    assert field.std() == pytest.approx(1.0, rel=1e-3)
    assert np.abs(np.diff(field, axis=0)).mean() < 0.25


def test_lesions_replace_white_matter_only(labels: NDArray[np.int16]) -> None:
    slab = np.moveaxis(labels_to_tissues(labels), 2, 0)
    changed = add_lesions(np.random.default_rng(2), slab, 8.0)
    where = changed != slab
    assert where.any()
    assert set(slab[where].tolist()) == {tissue_index("white matter")}
    assert set(changed[where].tolist()) == {tissue_index("white matter lesion")}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    labels: NDArray[np.int16],
) -> None:
    def make(seed: int) -> bytes:
        subject = DigitalSubject.from_labels(labels, np.eye(4), seed)
        return subject.scan([PAPER_SEQUENCES[7]], [0, 2], 2)[0].tobytes()

    assert make(5) == make(5)
    assert make(5) != make(6)


def test_contrasts_of_a_subject_share_coil_and_texture(labels: NDArray[np.int16]) -> None:
    realism = replace(CLEAN, bias=0.4)
    subject = DigitalSubject.from_labels(labels, np.eye(4), 1, realism=realism)
    flat = DigitalSubject(subject.tissues, subject.affine, subject.table, CLEAN, subject.seed)
    shaded = subject.scan([PAPER_SEQUENCES[n] for n in (5, 7)], [2], 1)
    plain = flat.scan([PAPER_SEQUENCES[n] for n in (5, 7)], [2], 1)
    bright = (plain[0] > 1) & (plain[1] > 1)
    # Blur and noise are off, so the ratio is the coil profile alone, the same in both.
    first, second = (s[bright] / p[bright] for s, p in zip(shaded, plain, strict=True))
    assert first.std() > 0.05
    np.testing.assert_allclose(first, second, rtol=1e-3)


def test_turning_to_ras_keeps_world_coordinates() -> None:
    volume = np.arange(24).reshape(2, 3, 4)
    affine = np.array([[0, 0, -2.0, 9], [-3, 0, 0, 5], [0, 4, 0, -1], [0, 0, 0, 1]])
    turned, new = to_ras(volume, affine)
    assert (np.diag(new[:3, :3]) > 0).all()
    for index in ((0, 0, 0), (1, 2, 3), (1, 0, 2)):
        world = affine @ [*index, 1]
        there = np.rint(np.linalg.inv(new) @ world)[:3].astype(int)
        assert turned[tuple(there)] == volume[index]


@pytest.fixture
def label_file(tmp_path: Path, labels: NDArray[np.int16]) -> Path:
    deep = np.repeat(labels[:, :, :1], 24, axis=2)
    path = tmp_path / "labels.nii.gz"
    io.save(Scan(deep.astype(np.float32), np.eye(4), "labels"), path)
    return path


def test_a_dataset_holds_subjects_with_their_parameters(label_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    sequences = {"paper5": PAPER_SEQUENCES[5], "paper9": PAPER_SEQUENCES[9]}
    written = simulate_dataset(
        [label_file], out, sequences, subjects=2, seed=3, n_slices=3, thickness_mm=4.0
    )
    assert len(written) == 4
    assert [s.label for s in find_subjects(out)] == ["sub-01", "sub-02"]
    first, second = (load_subject(out, s.label) for s in find_subjects(out))
    triples = {s.parameters.triple for s in first.scans if s.parameters is not None}
    assert triples == {p.triple for p in sequences.values()}
    assert first.scans[0].shape[2] == 3
    assert first.scans[0].voxel_size == pytest.approx((1.0, 1.0, 4.0))
    assert not np.array_equal(first.scans[0].data, second.scans[0].data)


def test_a_dataset_is_repeated_exactly_by_its_seed(label_file: Path, tmp_path: Path) -> None:
    made = [
        simulate_dataset(
            [label_file], tmp_path / name, {"pd": PAPER_SEQUENCES[5]}, seed=seed, n_slices=1
        )[0]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    same, again, other = (io.load(p).data for p in made)
    np.testing.assert_array_equal(same, again)
    assert not np.array_equal(same, other)


def test_a_dataset_is_never_written_over(label_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    out.mkdir()
    (out / "precious.txt").write_text("keep")
    with pytest.raises(OutputError, match="not empty"):
        simulate_dataset([label_file], out, {"pd": PAPER_SEQUENCES[5]})
    assert (out / "precious.txt").read_text() == "keep"


def test_a_map_without_known_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.nii.gz"
    io.save(Scan(np.full((20, 20, 20), 999, np.float32), np.eye(4), "x"), path)
    with pytest.raises(InputError, match=r"empty\.nii\.gz.*no tissue"):
        simulate_dataset([path], tmp_path / "out", {"pd": PAPER_SEQUENCES[5]})


def test_the_sidecar_states_the_sequence_that_was_simulated(
    label_file: Path, tmp_path: Path
) -> None:
    (path,) = simulate_dataset(
        [label_file], tmp_path / "out", {"t1": SequenceParameters(600, 10)}, n_slices=1,
        field_strength=1.5,
    )  # fmt: skip
    found = io.load(path).parameters
    assert found is not None
    assert found.last_echo_time > 100
    assert found.field_strength == 1.5


def test_file_names_of_label_maps_stay_out_of_the_dataset(
    label_file: Path, tmp_path: Path
) -> None:
    private = label_file.with_name("DOE_JOHN.nii.gz")
    label_file.rename(private)
    out = tmp_path / "out"
    simulate_dataset([private], out, {"pd": PAPER_SEQUENCES[5]}, n_slices=1)
    for path in out.rglob("*"):
        assert "DOE" not in path.name
        if path.suffix in (".json", ".tsv"):
            assert "DOE" not in path.read_text()


def test_an_ordinary_scan_is_no_label_map(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "scan.nii.gz"
    io.save(scan, path)
    with pytest.raises(InputError, match="no label map"):
        simulate_dataset([path], tmp_path / "out", {"pd": PAPER_SEQUENCES[5]})
    assert not (tmp_path / "out").exists()


def test_tissue_is_known_at_two_field_strengths_only(label_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="not 7 T"):
        simulate_dataset(
            [label_file], tmp_path / "o", {"pd": PAPER_SEQUENCES[5]}, field_strength=7.0
        )
