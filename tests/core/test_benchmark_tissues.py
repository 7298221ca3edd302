"""Where fluid, grey and white matter lie: written by the simulator, read, or estimated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crl_core import io
from crl_core.evaluation.benchmark.people import load_visit
from crl_core.evaluation.benchmark.protocol import open_protocol
from crl_core.evaluation.benchmark.tissue_masks import tissue_masks
from crl_core.physics.dataset import SimulationOptions, simulate_dataset
from crl_core.physics.making import true_tissues
from crl_core.physics.tissues import labels_to_tissues, tissue_index
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES
from tests.conftest import FLUID, GREY, WHITE, make_dataset, tiny_labels, tiny_scan

LABELS = {"csf": FLUID, "grey": GREY, "white": WHITE}


def tiny_scans(*numbers: int, gains: Mapping[int, float] | None = None) -> dict[str, Scan]:
    given = gains or {}
    return {
        str(n): tiny_scan(PAPER_SEQUENCES[n], seed=n, gain=given.get(n, 1000.0)) for n in numbers
    }


def write_map(path: Path, data: np.ndarray, like: Scan) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.save(Scan(data.astype(np.float32), like.affine, "map"), path)


# the simulator's --------------------------------------------------------------------------------


def anatomy(tissues: np.ndarray, weight: np.ndarray | None = None) -> Any:
    inclusions = None if weight is None else SimpleNamespace(weight=weight)
    return SimpleNamespace(tissues=tissues.astype(np.uint8), inclusions=inclusions)


def test_a_voxel_of_more_than_one_tissue_in_the_slice_is_left_out() -> None:
    white, grey, fluid = (
        tissue_index(n) for n in ("white matter", "cortical grey matter", "ventricular fluid")
    )
    tissues = np.full((6, 4, 4), white)
    tissues[2, :, :] = grey
    tissues[3, :, 2:] = fluid
    tissues[5, 0, 1] = grey
    found = true_tissues(anatomy(tissues), [0, 2], 2, (6, 4))
    assert found.shape == (6, 4, 2)
    assert (found[2] == 2).all()
    assert found[3].tolist() == [[3, 1]] * 4
    assert found[5, 0].tolist() == [0, 3]
    assert (found[[0, 1, 4]] == 3).all()


def test_a_large_pixel_needs_all_of_its_voxels_and_a_lesion_none() -> None:
    white, grey = (tissue_index(n) for n in ("white matter", "cortical grey matter"))
    tissues = np.full((6, 6, 1), white)
    tissues[0, 0] = grey
    found = true_tissues(anatomy(tissues), [0], 1, (3, 3))
    assert found[0, 0, 0] == 0
    assert (found.ravel()[1:] == 3).all()
    # Four pixels over six voxels: the second takes a part of the second and third voxel.
    part = true_tissues(anatomy(tissues), [0], 1, (4, 6))
    assert part[:2, 0, 0].tolist() == [0, 3]
    # Smaller pixels than voxels are as pure as these.
    fine = true_tissues(anatomy(tissues), [0], 1, (12, 12))
    assert np.count_nonzero(fine == 2) == 4
    weight = np.zeros(tissues.shape)
    weight[4, 4, 0] = 0.01
    assert true_tissues(anatomy(tissues, weight), [0], 1, (6, 6))[4, 4, 0] == 0


def test_simulated_maps_come_with_the_tissues_the_images_show(tmp_path: Path) -> None:
    label_file = tmp_path / "labels.nii.gz"
    labels = np.repeat(tiny_labels((80, 96, 1)), 12, axis=2).astype(np.float32)
    io.save(Scan(labels, np.diag([2.0, 2.0, 2.0, 1.0]), "labels"), label_file)
    options = SimulationOptions(maps=True, noise=0.002)
    sequences = {"paper1": PAPER_SEQUENCES[1], "paper7": PAPER_SEQUENCES[7]}
    out = tmp_path / "set"
    simulate_dataset(
        [label_file], out, sequences, n_slices=2, thickness_mm=6, options=options, subjects=2
    )
    what = open_protocol(out)
    whom = load_visit(out, what.visits[0])
    masks = whom.tissues
    assert masks.how == "stated"
    assert masks.lesion is None
    assert min(int(m.sum()) for m in (masks.csf, masks.grey, masks.white)) > 30
    mean = {k: whom.scans["7"].data[getattr(masks, k)].mean() for k in LABELS}
    assert mean["csf"] > 1.5 * mean["grey"] > 1.5 * mean["white"]
    assert whom.truth is not None
    t2 = whom.truth.t2
    assert np.median(t2[masks.white]) == pytest.approx(74, abs=12)  # ms
    assert np.median(whom.truth.t1[masks.csf]) > 3000
    names = next(out.rglob("*desc-tissues_dseg.tsv")).read_text().splitlines()
    assert names[0] == "index\tname\tabbreviation"
    assert [line.split("\t")[0::2] for line in names[1:]] == [["1", "CSF"], ["2", "GM"],
                                                             ["3", "WM"]]  # fmt: skip


# stated -----------------------------------------------------------------------------------------


def test_a_segmentation_among_the_derivatives_is_taken_by_its_names(dataset: Path) -> None:
    scans = tiny_scans(5, 7)
    root = dataset / "derivatives" / "somebody"
    path = root / "sub-01" / "anat" / "sub-01_dseg.nii.gz"
    labels = tiny_labels()
    numbers = np.select([labels == FLUID, labels == GREY, labels == WHITE], [7, 5, 9], 0)
    write_map(path, numbers, scans["5"])
    # Without a table the numbers mean nothing.
    assert tissue_masks(dataset, "sub-01", scans).how != "stated"
    (root / "dseg.tsv").write_text("index\tname\n5\tGrey matter\n7\tCSF\n9\tWhite Matter\n")
    found = tissue_masks(dataset, "sub-01", scans)
    assert found.how == "stated"
    for name, label in LABELS.items():
        np.testing.assert_array_equal(getattr(found, name), labels == label)
    assert tissue_masks(dataset, "sub-02", scans).how != "stated"
    # A map on another grid is of somebody else, or of another time.
    path.unlink()
    path.with_name("sub-01_dseg.json").unlink()
    write_map(path, numbers[:, :, :3], scans["5"])
    assert tissue_masks(dataset, "sub-01", scans).how != "stated"


def test_probabilities_count_where_they_are_sure(dataset: Path) -> None:
    scans = tiny_scans(5, 7)
    labels = tiny_labels()
    for word, label in (("CSF", FLUID), ("GM", GREY), ("WM", WHITE)):
        sure = np.where(labels == label, 0.99, 0.02)
        sure[20] *= 0.9
        write_map(dataset / f"derivatives/x/sub-01/anat/sub-01_label-{word}_probseg.nii.gz", sure,
                  scans["5"])  # fmt: skip
    found = tissue_masks(dataset, "sub-01", scans)
    assert found.how == "stated"
    expected = labels == WHITE
    expected[20] = False
    np.testing.assert_array_equal(found.white, expected)


def test_lesions_are_known_apart_and_taken_out_of_the_tissues(dataset: Path) -> None:
    scans = tiny_scans(5, 7)
    lesion = np.zeros(scans["5"].shape)
    lesion[18:22, 30:34, 2] = 1
    labels = tiny_labels()
    assert (labels[lesion > 0] == WHITE).any()
    folder = dataset / "derivatives/x/sub-01/anat"
    write_map(folder / "sub-01_label-lesion_mask.nii.gz", lesion, scans["5"])
    write_map(folder / "sub-01_dseg.nii.gz", labels, scans["5"])
    lines = [f"{LABELS[name]}\t{name}" for name in LABELS]
    (folder / "sub-01_dseg.tsv").write_text("\n".join(["index\tname", *lines]))
    found = tissue_masks(dataset, "sub-01", scans)
    assert found.lesion is not None
    np.testing.assert_array_equal(found.lesion, lesion > 0)
    np.testing.assert_array_equal(found.white, (labels == WHITE) & (lesion == 0))
    assert not (found.lesion & (found.csf | found.grey | found.white)).any()


# estimated --------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [(1, 5, 7), (1, 7), (1, 5, 7, 9)])
def test_estimated_classes_are_the_right_ones_whatever_the_shading(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    # The tiny head measures 40 mm across; what lies near its air is thinner too.
    monkeypatch.setattr("crl_core.evaluation.benchmark.tissue_masks._SCALP_MM", 4.0)
    scans = tiny_scans(*numbers)
    shade = np.linspace(0.7, 1.3, 40, dtype=np.float32)[:, None, None]
    shaded = {k: Scan(s.data * shade, s.affine, k, s.parameters) for k, s in scans.items()}
    found = tissue_masks(tmp_path, "sub-01", shaded)
    assert found.how == "estimated"
    labels = tiny_labels()
    for name in ("csf", "white"):
        mask = getattr(found, name)
        assert np.count_nonzero(mask) > 40
        assert np.mean(labels[mask] == LABELS[name]) > 0.97
    # One ring of grey matter is too thin for voxels without another class beside them.
    assert np.count_nonzero(labels[found.grey] == WHITE) == 0


def test_one_contrast_is_not_enough_to_estimate_from(tmp_path: Path) -> None:
    found = tissue_masks(tmp_path, "sub-01", tiny_scans(7))
    assert found.how == "none"
    assert not (found.csf | found.grey | found.white).any()


def test_tables_above_the_dataset_are_not_looked_at(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "set")
    labels = labels_to_tissues(tiny_labels())
    path = root / "derivatives/x/sub-01/anat/sub-01_dseg.nii.gz"
    write_map(path, labels, tiny_scans(5)["5"])
    path.with_name("sub-01_dseg.tsv").write_text("index\tname\nx\tCSF\n")
    assert tissue_masks(root, "sub-01", tiny_scans(5, 7)).how != "stated"
