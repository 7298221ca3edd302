"""Training: batches follow from seed and step, nothing is lost, and the network learns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from crl_core import io
from crl_core.checkpoint import default_checkpoint, load_checkpoint
from crl_core.errors import InputError, OutputError
from crl_core.models import build_model
from crl_core.physics.tissues import labels_to_tissues, tissue_names
from crl_core.scan import Scan, Subject
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.training.anatomy import MOST_WARP, _warp, cut_slab
from crl_core.training.batch import Batch, random_window
from crl_core.training.config import TrainingConfig
from crl_core.training.data import TrainingData, open_data
from crl_core.training.data_config import DataConfig
from crl_core.training.digital import RANDOM_BOX, DigitalSampler, random_sequence
from crl_core.training.events import (
    Event,
    Finished,
    Improved,
    Saved,
    Skipped,
    Started,
    Stepped,
    Validated,
)
from crl_core.training.files import ANYWHERE, SubjectSampler
from crl_core.training.folder import STATE, RunFolder
from crl_core.training.loop import Job, train
from crl_core.training.losses import gradient_l1, structure, weighted_l1, windowed_structure
from crl_core.training.objective import StepLoss, TensorBatch, n_sources
from crl_core.training.run import Run, make_fabric
from crl_core.training.state import read_state
from crl_core.training.validation import Judge

PLUS = TrainingConfig(
    preset="crl-plus",
    architecture={"widths": [6, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8},
    steps=6,
    batch=2,
    crop=32,
    contrasts=3,
    warmup=2,
    validate_steps=4,
    precision="fp32",
)
SMALL = replace(
    PLUS,
    preset="crl-small",
    architecture={"features": 8, "blocks": 1, "code_hidden": [8], "decoder_hidden": [8]},
    structure_loss=0.1,
)


def head() -> NDArray[np.uint8]:
    """A head of 120 mm with every tissue in shells, so that any slab shows several."""
    axes = np.meshgrid(*(np.linspace(-1, 1, 120),) * 3, indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    shells = np.clip((1 - radius) * 24, 0, len(tissue_names()) - 1).astype(np.uint8)
    return np.where(radius < 0.97, np.maximum(shells, 1), 0).astype(np.uint8)


HEAD = head()


def digital(config: TrainingConfig, split: int = 0) -> DigitalSampler:
    return DigitalSampler([HEAD], config, split)


def job(config: TrainingConfig, folder: Path, **options: Any) -> Job:
    options.setdefault("workers", 0)
    data = options.pop("data", None) or TrainingData(digital(config), digital(config, 1))
    return Job(config, data, folder, **options)


def run(
    config: TrainingConfig, folder: Path, *, resume: bool = False, **options: Any
) -> list[Event]:
    return list(train(job(config, folder, **options), resume=resume))


def state_of(config: TrainingConfig, folder: Path) -> Run:
    return Run(config, RunFolder(folder), make_fabric("cpu", config.precision))


def opened(config: TrainingConfig, *paths: Path, digital: bool = False) -> TrainingData:
    return open_data(DataConfig(tuple(str(p) for p in paths), digital=digital), config)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / STATE)


# batches ----------------------------------------------------------------------------------------


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    a, b = digital(PLUS).batch(4, 0.5), digital(PLUS).batch(4, 0.5)
    for name in ("images", "scales", "parameters", "mask"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert not np.array_equal(a.images, digital(PLUS).batch(5, 0.5).images)
    assert not np.array_equal(a.images, digital(PLUS, split=1).batch(4, 0.5).images)


def test_a_batch_has_the_promised_shapes_and_units() -> None:
    batch = digital(replace(PLUS, batch=3, contrasts=4)).batch(0, 1.0)
    assert batch.images.shape == (3, 4, 32, 32)
    assert batch.scales.shape == (3, 4)
    assert batch.parameters.shape == (3, 4, 4)
    assert set(np.unique(batch.mask)) <= {0.0, 1.0}
    assert 0.3 < np.percentile(batch.images, 99) < 2.0
    assert (batch.images >= 0).all()
    for triple in batch.parameters.reshape(-1, 4)[:, :3]:
        SequenceParameters(*triple.tolist()).check_order()


def test_random_sequences_stay_in_the_box_they_declare() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([random_sequence(rng).triple for _ in range(400)])
    assert RANDOM_BOX.ti is not None
    assert drawn[:, 0].min() >= RANDOM_BOX.tr[0]
    assert drawn[:, 1].min() >= RANDOM_BOX.te[0]
    assert drawn[:, 1].max() <= RANDOM_BOX.te[1]
    inverted = drawn[drawn[:, 2] > 0, 2]
    assert 0.4 < len(inverted) / len(drawn) < 0.6
    assert RANDOM_BOX.ti[0] <= inverted.min() < 100 < 2000 < inverted.max() <= RANDOM_BOX.ti[1]


def test_with_no_random_share_only_the_named_sequences_occur() -> None:
    config = replace(PLUS, random_sequences=0.0, sequences=(1, 2, 3, 5, 7, 8, 9))
    named = {tuple(np.float32(PAPER_SEQUENCES[n].triple)) for n in config.sequences}
    for step in range(5):
        parameters = digital(config).batch(step, 1.0).parameters[..., :3].reshape(-1, 3)
        assert {tuple(p) for p in parameters} <= named
    coverage = digital(config).coverage()
    assert coverage.box is None
    assert {p.triple for p in coverage.held_out} == {PAPER_SEQUENCES[n].triple for n in (4, 6)}


def test_whether_fat_was_suppressed_is_told() -> None:
    batches = [digital(replace(PLUS, batch=2, contrasts=8)).batch(s, 1.0) for s in range(6)]
    fat = np.concatenate([b.parameters[..., 3].ravel() for b in batches])
    assert set(fat) == {0.0, 1.0}
    long_ti = np.concatenate([b.parameters[..., 2].ravel() > 1200 for b in batches])
    assert fat[long_ti].mean() > fat[~long_ti].mean()


def test_a_bent_anatomy_neither_folds_nor_stays_as_it_was() -> None:
    side = np.arange(-100, 101, dtype=np.float32)
    for seed in range(20):
        warp = _warp(np.random.default_rng(seed), side, side)
        assert warp.shape == (3, 201, 201)
        assert np.abs(warp).max() <= 2 * MOST_WARP
        (a, b), (c, d) = (
            [np.diff(warp[k], axis=axis)[:200, :200] for axis in (0, 1)] for k in (0, 1)
        )
        assert ((1 + a) * (1 + d) - b * c).min() > 0.0  # the area of a bent square millimetre
        assert np.abs(warp).mean() > 0.1


def test_slabs_are_pieces_of_the_anatomy() -> None:
    rng = np.random.default_rng(1)
    slabs = [cut_slab(rng, HEAD)[0] for _ in range(12)]
    assert all(s.shape[1:] == (208, 208) for s in slabs)
    assert len({s.shape[0] for s in slabs}) > 1
    filled = [np.unique(s) for s in slabs if (s > 0).mean() > 0.05]
    assert len(filled) >= 6
    assert all(len(f) > 2 for f in filled)
    assert max(len(f) for f in filled) > 8


def test_subjects_from_files_give_their_own_scans(dataset: Path) -> None:
    data = opened(PLUS, dataset)
    sampler, held = data.train, data.validate
    assert isinstance(sampler, SubjectSampler)
    assert isinstance(held, SubjectSampler)
    assert len(sampler.subjects) == 2
    assert len(held.subjects) == 1
    batch = sampler.batch(0, 0.0)
    assert batch.images.shape == (2, 3, 32, 32)
    known = {tuple(np.float32(PAPER_SEQUENCES[n].triple)) for n in (1, 5, 7)}
    assert {tuple(p) for p in batch.parameters[..., :3].reshape(-1, 3)} == known
    assert {p.triple for p in sampler.coverage().points} == known


def test_crops_are_no_larger_than_the_image(dataset: Path) -> None:
    """The heads are 40 x 48; with air around them a network would learn to draw nothing."""
    sampler = opened(replace(PLUS, crop=64), dataset).train
    assert sampler.batch(0, 0.0).images.shape[-2:] == (40, 40)


def test_one_map_trains_without_validation_and_two_hold_one_back(tmp_path: Path) -> None:
    paths = []
    for k in range(2):
        labels = np.where(HEAD > 0, 2 + k, 0).astype(np.float32)
        paths.append(tmp_path / f"{k}.nii.gz")
        io.save(Scan(labels, np.eye(4), "labels"), paths[-1])
    assert opened(PLUS, paths[0], digital=True).validate is None
    data = opened(PLUS, *paths, digital=True)
    train_on, held = data.train, data.validate
    assert isinstance(train_on, DigitalSampler)
    assert isinstance(held, DigitalSampler)
    assert {int(v) for v in np.unique(held.anatomies[0])} == {
        0, *labels_to_tissues(np.array([3])).tolist()
    }  # fmt: skip
    assert not np.array_equal(train_on.anatomies[0], held.anatomies[0])


def test_subjects_without_parameters_are_refused(tmp_path: Path, scan: Scan) -> None:
    root = tmp_path / "bare"
    path = root / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    io.save(replace(scan, parameters=None, origins={}), path)
    with pytest.raises(InputError, match="fewer than two scans"):
        opened(PLUS, root)


def loss_of(model: Any, tensors: TensorBatch, config: TrainingConfig) -> Any:
    parts = (tensors.images, tensors.scales, tensors.parameters, tensors.mask)
    return StepLoss(model, config)(*parts, 1)


# losses -----------------------------------------------------------------------------------------


def test_terms_that_are_asked_for_count() -> None:
    torch.manual_seed(5)
    model = build_model("crl-plus", **PLUS.architecture)
    batch = TensorBatch.of(digital(PLUS).batch(0, 1.0), torch.device("cpu"))
    without = replace(PLUS, squared_loss=0.0, doubt_loss=0.0, intensity_loss=0.0)
    with torch.no_grad():
        plain, named = loss_of(model, batch, without)
        assert set(named) == {"l1", "gradient"}
        asked = replace(PLUS, squared_loss=2.0, doubt_loss=0.5, intensity_loss=0.7)
        more, named = loss_of(model, batch, asked)
    assert set(named) == {"l1", "rms", "gradient", "doubt", "intensity"}
    added = 2.0 * named["rms"] + 0.5 * named["doubt"] + 0.7 * named["intensity"]
    assert float(more - plain) == pytest.approx(float(added), rel=1e-3)


def test_losses_are_zero_for_equal_images_and_see_what_they_should() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 1, 24, 24)
    weight = torch.ones(2, 1, 24, 24)
    assert float(weighted_l1(image, image, weight)) == 0
    assert float(weighted_l1(image + 0.1, image, weight)) == pytest.approx(0.1, rel=1e-5)
    assert float(gradient_l1(image + 0.1, image, weight)) == pytest.approx(0.0, abs=1e-6)
    assert float(gradient_l1(image * 2, image, weight)) > 0.1
    for term in (structure, windowed_structure):
        assert float(term(image, 3 * image + 1)) == pytest.approx(0.0, abs=2e-2)
        assert float(term(image, -image)) > 1.8
        assert 0.6 < float(term(image, torch.rand(2, 1, 24, 24))) < 1.4


def test_voxels_outside_the_head_weigh_less() -> None:
    weight = torch.tensor([[[[1.0, 0.15]]]])
    target = torch.zeros(1, 1, 1, 2)
    inside = weighted_l1(torch.tensor([[[[1.0, 0.0]]]]), target, weight)
    outside = weighted_l1(torch.tensor([[[[0.0, 1.0]]]]), target, weight)
    assert float(outside / inside) == pytest.approx(0.15)


def test_a_perfect_network_has_no_loss_although_every_contrast_has_its_own_scale() -> None:
    """A stand-in that knows the truth, rendered in units of the source, has no error."""
    batch = digital(replace(PLUS, source_share=(1.0,))).batch(0, 1.0)
    tensors = TensorBatch.of(batch, torch.device("cpu"))
    model = build_model(PLUS.preset, **PLUS.architecture)

    def truth(features: Any, parameters: torch.Tensor) -> torch.Tensor:
        assert torch.equal(parameters, tensors.parameters)
        return tensors.images * (tensors.scales / tensors.scales[:, :1])[:, :, None, None]

    model.render_many = truth  # type: ignore[method-assign]
    with torch.no_grad():
        loss, _ = loss_of(
            model, tensors, replace(PLUS, source_share=(1.0,), squared_loss=0.0, doubt_loss=0.0,
                                    intensity_loss=0.0)
        )  # fmt: skip
    assert float(loss) == pytest.approx(0.0, abs=1e-6)


def test_networks_with_one_source_get_the_structural_term() -> None:
    tensors = TensorBatch.of(digital(SMALL).batch(0, 1.0), torch.device("cpu"))
    model = build_model(SMALL.preset, **SMALL.architecture)
    with_term, parts = loss_of(model, tensors, SMALL)
    without, _ = loss_of(model, tensors, replace(SMALL, structure_loss=0.0))
    difference = float((with_term - without).detach())
    assert difference == pytest.approx(0.1 * float(parts["structure"].detach()), rel=1e-3)


def test_every_number_of_sources_gets_its_share() -> None:
    config = replace(PLUS, contrasts=5, source_share=(0.5, 0.3, 0.2))
    counts = np.bincount([n_sources(step, config, 5, 4) for step in range(2000)], minlength=4)[1:]
    np.testing.assert_allclose(counts / 2000, [0.5, 0.3, 0.2], atol=0.04)


def test_some_windows_lie_anywhere_and_the_others_around_the_head() -> None:
    mask = np.zeros((200, 200), np.float32)
    mask[20:60, 30:70] = 1
    far = {}
    for anywhere in (0.0, ANYWHERE):
        rng = np.random.default_rng(1)
        windows = [random_window(rng, mask, 32, anywhere) for _ in range(2000)]
        assert all(mask[w].shape == (32, 32) for w in windows)
        far[anywhere] = np.mean([mask[w].sum() == 0 for w in windows])
    assert far[0.0] == 0
    # Most of the places in this image hold no head.
    assert 0.6 * ANYWHERE < far[ANYWHERE] < ANYWHERE


def test_a_network_in_training_sees_what_lies_far_from_the_head(dataset: Path) -> None:
    scan = io.load(next(dataset.rglob("sub-01*T2w.nii.gz")))
    wide = [
        replace(s, data=np.pad(s.data, [(100, 0), (0, 0), (0, 0)]), stated_mask=None)
        for s in (scan, replace(scan, name="other", data=scan.data * 2))
    ]
    sampler = SubjectSampler([Subject("sub-01", wide)], replace(SMALL, crop=16, contrasts=2))
    masks = np.concatenate([sampler.batch(step, 0.0).mask for step in range(100)])
    empty = np.mean(masks.sum(axis=(1, 2)) == 0)
    assert 0.03 < empty < 0.2


# the loop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [PLUS, SMALL], ids=["plus", "small"])
def test_a_run_ends_in_a_checkpoint_with_its_card(config: TrainingConfig, tmp_path: Path) -> None:
    events = run(config, tmp_path / "run")
    assert isinstance(events[0], Started)
    assert [e.step for e in events if isinstance(e, Stepped)] == [1, 2, 3, 4, 5, 6]
    assert sum(isinstance(e, Validated) for e in events) == 2
    last = events[-1]
    assert isinstance(last, Finished)
    checkpoint = load_checkpoint(last.path)
    assert checkpoint.card.training["steps"] == last.best
    assert checkpoint.card.name == f"{config.preset}, trained on digital subjects"
    assert last.best in (4, 6)
    assert "digital subjects" in checkpoint.card.training["data"]
    assert checkpoint.card.coverage.box is not None
    assert "identity" in checkpoint.card.metrics["validation PSNR, dB"]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
    tmp_path: Path, workers: int
) -> None:
    run(PLUS, tmp_path / "whole")
    half = train(job(PLUS, tmp_path / "half", workers=workers))
    for event in half:
        if isinstance(event, Stepped) and event.step == 3:
            half.close()
    run(PLUS, tmp_path / "half", resume=True, workers=workers)
    whole, resumed = weights_of(tmp_path / "whole"), weights_of(tmp_path / "half")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_the_network_learns(tmp_path: Path) -> None:
    """Shown one batch again and again, the loss must fall well below its start."""
    config = replace(PLUS, steps=200, learning_rate=5e-3, warmup=5, source_share=(1.0,))
    state = state_of(config, tmp_path)
    batch = digital(config).batch(0, 0.0)
    losses = [state.advance(batch)[0] for _ in range(80)]
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_the_state_is_saved_as_often_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crl_core.training.loop.SHARE_FOR_SAVING", 1e9)
    events = run(replace(PLUS, save_seconds=0.0), tmp_path / "run")
    # Before the first step, after each, and at the end.
    assert sum(isinstance(e, Saved) for e in events) == 8
    assert not list((tmp_path / "run").glob(".crl-*"))


def test_time_is_counted_once_and_not_while_nobody_asks(tmp_path: Path) -> None:
    """Judging and saving take most of this run; a listener that dawdles is not the run's time."""
    began, dawdled, told = time.monotonic(), 0.0, []
    for event in train(job(replace(PLUS, validate_steps=1, steps=3), tmp_path / "run")):
        told.append(event)
        time.sleep(0.02)
        dawdled += 0.02
    worked = time.monotonic() - began - dawdled
    used = read_state(tmp_path / "run" / STATE)[1].seconds
    assert sum(isinstance(e, Validated) for e in told) == 3
    assert 0.3 * worked < used <= worked


def test_slow_judging_leaves_nine_tenths_of_the_time_to_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes a second and a look at the validation people three, by a clock of the test's."""
    now = [0.0]

    def slower(seconds: float, what: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any) -> Any:
            now[0] += seconds
            return what(*args)

        return done

    monkeypatch.setattr(Run, "advance", slower(1.0, Run.advance))
    monkeypatch.setattr(Judge, "scores", slower(3.0, Judge.scores))
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep)
    monkeypatch.setattr("crl_core.training.loop.time", clock)
    told = run(replace(PLUS, minutes=1.0, steps=10**6, validate_steps=1), tmp_path / "run")
    looks = [event.step for event in told if isinstance(event, Validated)]
    # At once, then after nine times as many seconds of steps as a look takes, and at the end.
    assert looks == [1, 28, 54]
    assert told[-1].step == 54


def test_a_folder_with_something_in_it_is_never_used(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "thesis.txt").write_text("three years of work")
    with pytest.raises(OutputError, match=r"not empty.*--resume"):
        run(PLUS, folder)
    assert [p.name for p in folder.iterdir()] == ["thesis.txt"]


def test_resuming_keeps_the_settings_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(PLUS, folder)
    events = run(replace(PLUS, steps=60), folder, resume=True)
    assert not any(isinstance(e, Stepped) for e in events)
    assert json.loads((folder / "config.json").read_text())["steps"] == 6


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_state_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "run"
    run(PLUS, folder)
    state = folder / STATE
    if damage == "cut":
        state.write_bytes(state.read_bytes()[:2000])
    else:
        save_file({"model": torch.zeros(1)}, state)
    with pytest.raises(InputError, match=r"last\.safetensors") as refusal:
        run(PLUS, folder, resume=True)
    assert "\n" not in str(refusal.value)


class Broken:
    """A sampler whose every batch holds a value that is not a number."""

    def __init__(self, config: TrainingConfig, bad: range) -> None:
        self.inner, self.bad = digital(config), bad
        self.voxel_mm = self.inner.voxel_mm

    def batch(self, step: int, progress: float, rows: range | None = None) -> Batch:
        batch = self.inner.batch(step, progress, rows)
        if step in self.bad:
            batch.images[0, 0, 0, 0] = np.nan
        return batch

    def slices(self, count: int) -> Any:
        return self.inner.slices(count)

    def describe(self) -> str:
        return "broken"

    def coverage(self) -> Any:
        return self.inner.coverage()


def test_a_batch_that_gives_no_number_is_skipped_and_changes_nothing(tmp_path: Path) -> None:
    data = TrainingData(Broken(PLUS, range(2, 3)), None)
    events = run(PLUS, tmp_path / "run", data=data)
    assert [e.step for e in events if isinstance(e, Skipped)] == [3]
    last = events[-1]
    assert isinstance(last, Finished)
    model = load_checkpoint(last.path).model
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_a_run_that_never_gives_a_number_stops_and_says_so(tmp_path: Path) -> None:
    config = replace(PLUS, steps=50)
    with pytest.raises(InputError, match="not a number for 20 steps"):
        run(config, tmp_path / "run", data=TrainingData(Broken(config, range(100)), None))


def test_the_rate_warms_up_and_decays_with_the_time_where_a_time_is_named(tmp_path: Path) -> None:
    state = state_of(replace(PLUS, steps=100, warmup=10), tmp_path)
    rates = []
    for step in range(100):
        state.step = step
        rates.append(state.learning_rate())
    assert rates[0] < rates[5] < rates[9] == max(rates)
    assert rates[99] < 0.02 * max(rates)
    timed = state_of(replace(PLUS, steps=10**6, minutes=1.0, warmup=1), tmp_path)
    timed.seconds = 30.0
    assert timed.progress == pytest.approx(0.5)
    timed.seconds = 61.0
    assert timed.progress == 1.0


# settings ---------------------------------------------------------------------------------------


def test_settings_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(replace(PLUS, minutes=3.5).to_json())
    assert asdict(TrainingConfig.load(path)) == asdict(replace(PLUS, minutes=3.5))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"stepz": 3}', "unknown entry 'stepz'"),
        ('{"steps": "many"}', "'steps' has the wrong type"),
        ('{"identity": 1}', "'identity' has the wrong type"),
        ("[1, 2]", "one JSON object"),
        ("{", "not readable JSON"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        TrainingConfig.load(path)


def test_a_head_too_small_to_cut_slabs_from_is_refused() -> None:
    with pytest.raises(InputError, match="too few voxels"):
        DigitalSampler([HEAD[::4, ::4, ::4]], PLUS)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"contrasts": 1},
        {"minutes": 0.0},
        {"seed": -1},
        {"sequences": [10]},
        {"source_share": []},
        {"learning_rate": 0.0},
        {"crop": 4},
    ],
    ids=lambda v: next(iter(v)),
)
def test_settings_no_run_could_start_with_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        TrainingConfig.from_dict(values)


def test_crops_larger_than_a_digital_slice_are_refused() -> None:
    with pytest.raises(InputError, match="crops of 256"):
        digital(replace(PLUS, crop=256))


def test_random_sequences_fill_the_box_they_declare() -> None:
    """Near each edge of the box, in both classes, something must have been drawn."""
    rng = np.random.default_rng(5)
    drawn = np.array([random_sequence(rng).triple for _ in range(6000)])
    for inverted in (False, True):
        own = drawn[(drawn[:, 2] > 0) == inverted]
        low, high = (RANDOM_BOX.tr_inverted if inverted else None) or RANDOM_BOX.tr
        assert own[:, 0].min() < 1.15 * low
        assert own[:, 0].max() > 0.9 * high
        assert own[:, 1].min() < 1.1 * RANDOM_BOX.te[0]
        assert own[:, 1].max() > 0.9 * RANDOM_BOX.te[1]
        assert own[:, 0].min() >= low


def test_networks_of_the_paper_train_on_the_scale_they_will_be_given(tmp_path: Path) -> None:
    config = replace(
        SMALL,
        preset="crl-code",
        architecture={"features": 8, "blocks": 1, "code_hidden": [8], "decoder_hidden": [8]},
        steps=2,
    )
    sampler = DigitalSampler([HEAD], replace(config, crop=208, batch=1))
    batch = sampler.batch(0, 1.0)
    assert batch.images.min(axis=(2, 3)).max() == 0.0
    assert batch.images.max(axis=(2, 3)).min() == pytest.approx(1.0)
    assert (batch.scales == 1.0).all()
    last = run(config, tmp_path / "run")[-1]
    assert isinstance(last, Finished)
    card = load_checkpoint(last.path).card
    assert card.intensity_rule == "minmax"
    assert card.in_plane_mm is None


def test_the_card_states_the_voxel_size_of_the_subjects(dataset: Path, tmp_path: Path) -> None:
    *_, last = run(PLUS, tmp_path / "run", data=opened(PLUS, dataset))
    assert isinstance(last, Finished)
    assert load_checkpoint(last.path).card.in_plane_mm == pytest.approx(1.0)


def test_synthetic_images_are_never_learnt_from(dataset: Path) -> None:
    for path in sorted(dataset.rglob("*T2w.json")):
        fields = json.loads(path.read_text())
        path.write_text(json.dumps({**fields, "Synthetic": True}))
    sampler = opened(PLUS, dataset).train
    assert isinstance(sampler, SubjectSampler)
    assert all(len(s.scales) == 2 for s in sampler.subjects)


def test_scans_on_another_grid_are_brought_onto_the_first(dataset: Path) -> None:
    for path in sorted(dataset.rglob("*T2w.nii.gz")):
        scan = io.load(path)
        moved = scan.affine.copy()
        moved[0, 3] += 2.0
        io.save(replace(scan, affine=moved), path, overwrite=True)
    sampler = opened(PLUS, dataset).train
    assert isinstance(sampler, SubjectSampler)
    assert all(len(s.scales) == 3 for s in sampler.subjects)


def test_a_run_can_go_on_from_a_trained_network_with_a_fresh_schedule(tmp_path: Path) -> None:
    first = run(PLUS, tmp_path / "first")[-1]
    assert isinstance(first, Finished)
    start = load_checkpoint(first.path).model
    state = state_of(PLUS, tmp_path)
    state.begin_from(start)
    for name, value in start.state_dict().items():
        assert torch.equal(value, state.model.state_dict()[name])
        assert torch.equal(value, state.average[name])
    assert state.step == 0
    assert all(p.requires_grad for p in state.model.parameters())
    before = {k: v.clone() for k, v in state.model.state_dict().items()}
    state.advance(digital(PLUS).batch(0, 0.0))
    assert any(not torch.equal(v, before[k]) for k, v in state.model.state_dict().items())


def test_going_on_from_another_architecture_is_refused(tmp_path: Path) -> None:
    other = load_checkpoint(default_checkpoint())
    with pytest.raises(InputError, match="start from is no crl-small"):
        run(SMALL, tmp_path / "run", start=other)
    assert not (tmp_path / "run").exists()


def test_the_finished_network_is_the_best_one_and_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([10.0, 20.0, 15.0, 12.0])
    kept: dict[float, dict[str, torch.Tensor]] = {}

    def judged(judge: Any, model: Any) -> tuple[dict[str, float], dict[str, float]]:
        score = next(scores)
        kept[score] = {k: v.clone() for k, v in model.state_dict().items()}
        return {"seen": score, "identity": 99.0 - score}, {"seen": 0.5}

    monkeypatch.setattr(Judge, "scores", judged)
    events = run(replace(PLUS, steps=8, validate_steps=2), tmp_path / "run")
    assert [(e.step, e.score) for e in events if isinstance(e, Improved)] == [(2, 10.0), (4, 20.0)]
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.step, last.best) == (8, 4)
    found = load_checkpoint(last.path).model.state_dict()
    assert all(torch.equal(value, kept[20.0][name]) for name, value in found.items())
    assert not all(torch.equal(value, kept[12.0][name]) for name, value in found.items())


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_rows_of_a_batch_without_overlap(tmp_path: Path, world: int) -> None:
    state = state_of(replace(PLUS, batch=4), tmp_path)
    rows: list[int] = []
    for rank in range(world):
        state.fabric = SimpleNamespace(world_size=world, global_rank=rank)  # type: ignore[assignment]
        own = state.rows()
        assert len(own) == 4 // world
        rows += own
    assert rows == [0, 1, 2, 3]


def test_the_rate_of_the_paper_is_halved_after_every_fifth_of_the_run(tmp_path: Path) -> None:
    config = replace(PLUS, steps=100, warmup=0, schedule="halving", learning_rate=1e-4)
    state = state_of(config, tmp_path)
    rates = []
    for step in (0, 19, 20, 40, 79, 80, 99):
        state.step = step
        rates.append(state.learning_rate() / 1e-4)
    np.testing.assert_allclose(rates, [1, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16])
