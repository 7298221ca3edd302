"""Preparing a dataset: what was planted is found, every grid leads back, nothing is half done."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.errors import Cancelled, InputError, OutputError
from crl_core.io import load
from crl_core.io.bids import find_subjects, read_sidecar
from crl_core.preprocess.backends import Volume
from crl_core.preprocess.bias import estimate_bias
from crl_core.preprocess.itk import SimpleItk
from crl_core.preprocess.pipeline import Pipeline, Recipe, choose_reference, grid_of
from crl_core.preprocess.prepare import prepare_dataset
from crl_core.preprocess.record import Record
from crl_core.scan import IntensityScale, Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from tests.core.doctor_data import AFFINE, SHAPE, crl, edit, head, image_of, make_dataset, scan_of
from tests.core.doctor_data import snapshot as files_of

PLAIN = Recipe(registration="none", bias="none")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "people", subjects=2)


@pytest.fixture(scope="module")
def prepared(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "prepared"
    code, out, err = crl("prepare", dataset, "-o", output, "--jobs", 1, "--grid", "64x64")
    assert code == 0, err
    assert "8 scans of 2 subjects" in out
    return output


# planted and found --------------------------------------------------------------------------------


def test_a_planted_movement_is_found() -> None:
    """The second scan was taken after the head had turned by 6 degrees and moved by 7 mm."""
    tissue = head(5, (72, 84, 20))
    affine = np.array([[2.4, 0, 0, -86], [0, 2.4, 0, -100], [0, 0, 5.0, -48], [0, 0, 0, 1]])
    still = replace(scan_of(tissue, PAPER_SEQUENCES[7], 1), affine=affine, name="still")
    fluid = replace(scan_of(tissue, PAPER_SEQUENCES[5], 2), affine=affine, name="moved")
    planted = _pose(np.radians(6.0), (5.0, -4.0, 2.0))
    to_voxel = np.linalg.inv(affine) @ np.linalg.inv(planted) @ affine
    data = ndimage.affine_transform(fluid.data, to_voxel[:3, :3], to_voxel[:3, 3], order=1)
    person = Pipeline(Recipe(grid=None, bias="none", reference="still")).run(
        [still, replace(fluid, data=data)]
    )
    found = person.scans[1].record.matrix
    points = np.argwhere(still.mask)[::50]
    world = affine @ np.c_[points, np.ones(len(points))].T
    error = np.linalg.norm(((found - planted) @ world)[:3], axis=0)
    before = np.linalg.norm(((np.eye(4) - planted) @ world)[:3], axis=0)
    assert before.mean() > 6
    assert error.mean() < 0.8
    assert error.max() < 2.0
    # The movement is undone on the grid of the person, and done again on the way back.
    laid = person.scans[1].scan
    inside = still.mask & laid.mask
    assert _alike(laid.data, fluid.data, inside) > _alike(data, fluid.data, inside) + 0.4
    model = replace(laid, data=laid.scale.to_model(laid.data))
    back = person.scans[1].record.to_source(model, units="source")
    middle = ndimage.binary_erosion(still.mask, iterations=4)
    assert _alike(back.data, data, middle) > _alike(laid.data, data, middle) + 0.4


def test_a_planted_bias_field_is_found() -> None:
    tissue = head(6, (72, 84, 20))
    clean = scan_of(tissue, PAPER_SEQUENCES[3], 3)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in tissue.shape), indexing="ij")
    field = np.exp(0.35 * x - 0.3 * y * y + 0.1 * z).astype(np.float32)
    shaded = replace(clean, data=clean.data * field)
    white = tissue == 5
    spreads = {}
    for bias in ("none", "n4"):
        person = Pipeline(Recipe(grid=None, bias=bias)).run([shaded])
        values = person.scans[0].scan.data[white]
        spreads[bias] = float(values.std() / values.mean())
    noise = float(clean.data[white].std() / clean.data[white].mean())
    assert spreads["none"] > noise + 0.05
    assert spreads["n4"] < noise + 0.03


class RampBackend(SimpleItk):
    """Finds a ramp along the first axis in every scan, falling in every second one."""

    def __init__(self, heights: tuple[float, ...]) -> None:
        self._heights = itertools.cycle(heights)

    def log_bias(self, data: Any, voxel_mm: Any, mask: Any, cancelled: Any) -> Any:
        height = next(self._heights)
        ramp = np.linspace(-height, height, data.shape[0], dtype=np.float32)
        return np.broadcast_to(ramp[:, None, None], data.shape).copy()


def shaded(scan: Scan, height: float) -> Scan:
    volume = Volume(scan.data, scan.affine)
    field = estimate_bias(volume, scan.mask, scan.slice_axis, RampBackend((height,)))
    return replace(scan, data=scan.data * field.on(scan.shape, scan.affine), stated_mask=scan.mask)


def test_the_field_of_a_scan_moves_with_it() -> None:
    """Shaded scans come out as the same scans without shade, the moved one too."""
    still = replace(scan_of(head(5), PAPER_SEQUENCES[7], 1), name="still")
    other = replace(scan_of(head(5), PAPER_SEQUENCES[5], 2), name="moved")
    affine = _pose(0.0, (24.0, 0.0, 0.0)) @ AFFINE  # the header says so
    other = replace(other, affine=affine)
    recipe = Recipe(grid=None, reference="still")
    plain = Pipeline(replace(recipe, bias="none")).run([still, other]).scans
    pipeline = Pipeline(recipe)
    pipeline.backend = RampBackend((0.5,))
    for a, b in zip(
        plain, pipeline.run([shaded(still, 0.5), shaded(other, 0.5)]).scans, strict=True
    ):
        np.testing.assert_allclose(a.record.matrix, b.record.matrix, atol=1e-3)
        inside = ndimage.binary_erosion(still.mask, iterations=4)
        ratio = b.scan.data[inside] / np.maximum(a.scan.data[inside], 1.0)
        assert np.percentile(ratio, 95) / np.percentile(ratio, 5) < 1.1
        assert np.median(ratio) == pytest.approx(1.0, abs=0.03)


def test_a_shared_field_is_the_mean_of_all() -> None:
    scans = [replace(scan_of(head(2), PAPER_SEQUENCES[n], n), name=str(n)) for n in (5, 7)]
    ratios = {}
    for bias in ("n4", "n4-shared"):
        pipeline = Pipeline(replace(PLAIN, grid=None, bias=bias))
        pipeline.backend = RampBackend((0.4, -0.4))
        out = pipeline.run(scans).scans
        ratios[bias] = float(np.ptp(out[0].scan.data[scans[0].mask] / scans[0].data[scans[0].mask]))
        (step,) = (s for s in out[0].record.steps if s["Step"] == "bias field")
        assert step["FieldsAveraged"] == (2 if bias == "n4-shared" else 1)
    assert ratios["n4-shared"] < 0.05
    assert ratios["n4"] > 0.5


# grids and the way back ---------------------------------------------------------------------------


@settings(max_examples=15)
@given(
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    tilt=st.tuples(*[st.floats(-0.4, 0.4)] * 3),
    sizes=st.tuples(st.floats(0.8, 2.0), st.floats(0.8, 2.0), st.floats(2.5, 5.0)),
    origin=st.tuples(*[st.floats(-150, 150)] * 3),
)
def test_any_orientation_leads_to_the_grid_and_back(
    order: list[int],
    flips: tuple[float, ...],
    tilt: tuple[float, ...],
    sizes: tuple[float, ...],
    origin: tuple[float, ...],
) -> None:
    """A smooth function of the place in the room keeps its values at every place, both ways."""
    affine = np.eye(4)
    affine[:3, :3] = _rotation(tilt) @ np.eye(3)[:, order] @ np.diag(np.multiply(flips, sizes))
    affine[:3, 3] = origin
    shape = (26, 30, 12)
    centre = (affine @ [*(np.array(shape) - 1) / 2, 1.0])[:3]

    def blob(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        index = np.moveaxis(np.indices(shape), 0, -1)
        world = index @ affine[:3, :3].T + affine[:3, 3] - centre
        return np.asarray(900 * np.exp(-(((world - [4, 2, 1]) / [16, 20, 14]) ** 2).sum(-1)))

    mask = np.zeros(shape, bool)
    mask[6:-6, 7:-7, 1:-1] = True
    scan = Scan(blob(affine, shape).astype(np.float32), affine, "blob", stated_mask=mask)
    one = Pipeline(replace(PLAIN, grid=(40, 40))).run([scan]).scans[0]
    grid = one.scan
    assert sorted(grid.shape) == sorted([40, 40, shape[scan.slice_axis]])
    plane = [size for axis, size in enumerate(grid.voxel_size) if axis != grid.slice_axis]
    assert plane[0] == pytest.approx(plane[1])
    expected = blob(grid.affine, grid.shape)
    # At the rim of the field of view a coarser pixel averages over less than its size.
    around = np.ones([1 if axis == grid.slice_axis else 3 for axis in range(3)])
    inside = ndimage.binary_erosion(grid.data > 0, around)
    assert inside.any()
    # Coarser pixels average over their size; places must be right all the same.
    assert np.abs(grid.data - expected)[inside].max() < 0.03 * 900
    model = replace(grid, data=grid.scale.to_model(grid.data))
    back = one.record.to_source(model, units="source")
    assert back.same_grid(scan)
    np.testing.assert_allclose(back.affine, affine, atol=1e-9)
    assert np.abs(back.data - scan.data)[4:-4, 4:-4, 1:-1].max() < 0.05 * 900


def test_the_record_survives_its_sidecar(prepared: Path) -> None:
    image = find_subjects(prepared)[0].images[0]
    record = Record.from_fields(read_sidecar(image)[0])
    assert record is not None
    assert record.shape == SHAPE
    np.testing.assert_allclose(record.affine, AFFINE)
    again = Record.from_fields(json.loads(json.dumps(record.as_fields())))
    assert again is not None
    np.testing.assert_array_equal(again.matrix, record.matrix)
    assert again.scale == record.scale


@pytest.mark.parametrize(
    "broken", [{}, {"SourceGrid": 3}, {"SourceGrid": {"Shape": [1, 2], "Affine": []}}]
)
def test_a_broken_record_is_no_record(broken: dict[str, object]) -> None:
    assert Record.from_fields(broken) is None


def test_the_reference_is_the_most_common_grid_unless_named() -> None:
    big = Scan(np.ones((8, 8, 9), np.float32), np.diag([1.0, 1, 3, 1]), "long")
    two = [Scan(np.ones((8, 8, 4), np.float32), np.diag([1.0, 1, 4, 1]), n) for n in ("a", "b")]
    assert choose_reference([big, *two]).name == "a"
    assert choose_reference([big, two[0]]).name == "long"
    assert choose_reference([big, *two], "LONG") is big
    with pytest.raises(InputError, match="There are long, a, b"):
        choose_reference([big, *two], "flair")


def test_pixels_are_never_finer_than_the_reference() -> None:
    scan = Scan(np.ones((20, 24, 5), np.float32), np.diag([1.0, 1, 6, 1]), "small")
    assert grid_of(scan, (192, 192)).voxel_size == pytest.approx((1, 1, 6))


@pytest.mark.parametrize("grid", [(64, 64), (48, 80), (80, 40)])
def test_the_whole_head_lies_on_the_grid_with_room_around(grid: tuple[int, int]) -> None:
    """Off the middle of a large field of view, on square pixels whatever the sides."""
    mask = np.zeros((90, 70, 8), bool)
    mask[50:85, 5:60] = True
    scan = Scan(mask.astype(np.float32), np.diag([-1.0, 1.5, 4, 1]), "head", stated_mask=mask)
    found = grid_of(scan, grid)
    assert found.shape == (*grid, 8)
    x, y, _ = found.voxel_size
    assert x == pytest.approx(y)
    world = scan.affine @ np.c_[np.argwhere(mask), np.ones(mask.sum())].T
    at = (np.linalg.inv(found.affine) @ world)[:2]
    room = np.array([at.min(axis=1), np.array(grid) - 1 - at.max(axis=1)])
    assert room.min() > 0
    assert np.abs(room[0] - room[1]).max() < 0.5, "the head is in the middle"


def test_where_one_scan_saw_nothing_is_in_nobodys_mask() -> None:
    whole = replace(scan_of(head(3), PAPER_SEQUENCES[7], 1), name="whole")
    other = replace(scan_of(head(3), PAPER_SEQUENCES[5], 2), name="short")
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [0, 0, 5, 1])[:3]
    short = replace(other, data=other.data[:, :, 5:], affine=affine)
    recipe = replace(PLAIN, grid=None, reference="whole")
    for one in Pipeline(recipe).run([whole, short]).scans:
        assert not one.scan.mask[:, :, :5].any()
        np.testing.assert_array_equal(one.scan.mask[:, :, 5:], whole.mask[:, :, 5:])


# what is written ----------------------------------------------------------------------------------


def test_scale_and_mask_are_worked_out_once_and_read_back(prepared: Path) -> None:
    for files in find_subjects(prepared):
        scans = [load(path) for path in files.images]
        assert len(scans) == 4
        for scan in scans:
            assert scan.scale is scan.stated_scale
            assert scan.scale == IntensityScale.robust(scan.data, scan.mask)
            np.testing.assert_array_equal(scan.mask, scans[0].mask)
            assert scan.same_grid(scans[0])
            assert (scan.shape[0], scan.shape[1]) == (64, 64)
        assert "preproc" not in scans[0].name


def test_the_minimum_to_maximum_rule_is_read_back_too(dataset: Path, tmp_path: Path) -> None:
    recipe = replace(PLAIN, intensity="minmax", grid=None)
    done = prepare_dataset(dataset, tmp_path / "out", recipe, subjects=["01"])
    scan = load(done[0].images[0])
    assert scan.range_scale is scan.stated_scale
    assert scan.range_scale == IntensityScale.minmax(scan.data)
    assert scan.scale.rule == IntensityScale.ROBUST


def test_every_step_is_in_the_sidecar(prepared: Path) -> None:
    for image in find_subjects(prepared)[1].images:
        fields = read_sidecar(image)[0]
        steps = [step["Step"] for step in fields["Preprocessing"]]
        assert steps == ["bias field", "registration", "resampling", "intensity"]
        assert load(image).parameters is not None
    about = json.loads((prepared / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert "people" not in json.dumps(about), "a folder may be called after a person"


def test_the_doctor_has_nothing_to_say_and_a_network_trains(prepared: Path, tmp_path: Path) -> None:
    code, out, _ = crl("check", prepared)
    assert code == 0
    assert " 0 errors" in out
    sizes = {"widths": [8, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8}
    words = {"architecture": sizes}
    words |= {"batch": 2, "crop": 32, "contrasts": 2, "precision": "fp32"}
    config = tmp_path / "c.json"
    config.write_text(json.dumps(words))
    run = tmp_path / "run"
    code, _, err = crl(
        "train", prepared, "-o", run, "--config", config, "--steps", 1, "--workers", 0,
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    source, result = find_subjects(prepared)[0].images[0], tmp_path / "back.nii.gz"
    code, _, err = crl(
        "synth", source, "--tr", 5000, "--te", 80, "--checkpoint", run / "model.safetensors",
        "--grid", "source", "-o", result, "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert load(result).shape == SHAPE
    np.testing.assert_allclose(load(result).affine, AFFINE, atol=1e-4)
    code, _, err = crl(
        "synth", image_of(_root_of(prepared, tmp_path), 1, 7), "--tr", 5000, "--te", 80,
        "--grid", "source", "-o", tmp_path / "x.nii.gz",
    )  # fmt: skip
    assert code == 1
    assert "does not say which grid" in err


def _root_of(prepared: Path, tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "raw", subjects=1)


def test_the_number_of_processes_changes_no_byte(dataset: Path, tmp_path: Path) -> None:
    recipe = Recipe(grid=(48, 48))
    for jobs in (1, 2):
        prepare_dataset(dataset, tmp_path / str(jobs), recipe, jobs=jobs)
    first, second = (files_of(tmp_path / str(jobs)) for jobs in (1, 2))
    assert first == second


# refusals and stops -------------------------------------------------------------------------------


def test_nothing_is_written_while_the_doctor_finds_errors(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "people", subjects=2)
    edit(image_of(root, 1, 7), {"EchoTime": 104.2})
    before = files_of(tmp_path)
    code, out, err = crl("prepare", root, "-o", tmp_path / "new")
    assert (code, out) == (1, "")
    assert "milliseconds" in err
    assert files_of(tmp_path) == before


def test_a_stopped_run_leaves_whole_subjects_and_goes_on(dataset: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    prepare_dataset(dataset, whole, PLAIN)
    done: list[int] = []
    with pytest.raises(Cancelled):
        prepare_dataset(
            dataset,
            stopped,
            PLAIN,
            progress=lambda n, _: done.append(n),
            cancelled=lambda: len(done) > 0,
        )
    left = {path.name for path in stopped.iterdir()}
    assert left == {"sub-01", "dataset_description.json", "participants.tsv"}
    with pytest.raises(OutputError, match="--resume"):
        prepare_dataset(dataset, stopped, PLAIN)
    with pytest.raises(OutputError, match="same recipe"):
        prepare_dataset(dataset, stopped, replace(PLAIN, grid=None), resume=True)
    killed = stopped / f".crl-{'0' * 32}" / "anat"  # what a kill leaves behind
    killed.mkdir(parents=True)
    (killed / "half.nii.gz").write_bytes(b"half")
    assert len(prepare_dataset(dataset, stopped, PLAIN, resume=True)) == 1
    assert files_of(stopped) == files_of(whole)


def test_a_run_stopped_at_once_leaves_nothing(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        prepare_dataset(dataset, tmp_path / "out", PLAIN, cancelled=lambda: True)
    assert not (tmp_path / "out").exists()


def test_refusals(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the dataset itself"):
        prepare_dataset(dataset, dataset, PLAIN)
    with pytest.raises(InputError, match="no subject 'sub-77'"):
        prepare_dataset(dataset, tmp_path / "out", PLAIN, subjects=["77"])
    assert crl("prepare", dataset, "-o", tmp_path / "out", "--grid", "12x")[0] == 2
    assert crl("prepare", tmp_path / "nowhere", "-o", tmp_path / "out")[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_another_head_is_left_out_with_the_reason(tmp_path: Path) -> None:
    """Bright at one edge and noise elsewhere: no movement lays that on a head."""
    good = replace(scan_of(head(1), PAPER_SEQUENCES[7], 1), name="good")
    noise = np.random.default_rng(0).rayleigh(20, SHAPE).astype(np.float32)
    noise[:12, :14] += 300
    bad = Scan(noise, AFFINE, "noise", SequenceParameters(5000, 90))
    person = Pipeline(Recipe(grid=None, reference="good")).run([good, bad])
    assert [one.scan.name for one in person.scans] == ["good"]
    assert person.left_out[0].startswith("noise, ")


def _alike(a: NDArray[np.float32], b: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    return float(np.corrcoef(a[inside], b[inside])[0, 1])


def _pose(angle: float, shift: tuple[float, float, float]) -> NDArray[np.float64]:
    pose = np.eye(4)
    c, s = np.cos(angle), np.sin(angle)
    pose[:2, :2] = [[c, -s], [s, c]]
    pose[:3, 3] = shift
    return pose


def _rotation(angles: tuple[float, ...]) -> NDArray[np.float64]:
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (a for a in range(3) if a != axis)
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        total = total @ turn
    return total
