"""Training against a critic: the pair, the losses, the stages, and nothing lost in between."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from crl_core import io
from crl_core.checkpoint import Checkpoint, load_checkpoint
from crl_core.errors import CRLError, InputError
from crl_core.models import BASELINE_NAMES
from crl_core.models.baselines import ResViT
from crl_core.sequence import PAPER_SEQUENCES
from crl_core.synthesis.synthesizer import Synthesizer
from crl_core.training.adversarial import PUBLISHED, adversarial_settings, published_steps
from crl_core.training.batch import Batch
from crl_core.training.config import TrainingConfig
from crl_core.training.data import TrainingData, open_data
from crl_core.training.data_config import DataConfig
from crl_core.training.digital import DigitalSampler
from crl_core.training.events import Finished, Noted, Stepped, Validated
from crl_core.training.folder import STATE, RunFolder
from crl_core.training.loop import Job, train
from crl_core.training.pairs import PairSampler, paired
from crl_core.training.perceptual import PerceptualLoss
from crl_core.training.plan import open_and_settle
from crl_core.training.run import Run, make_fabric

SIZES: dict[str, dict[str, Any]] = {
    "pgan": {"width": 6, "blocks": 1},
    "ptnet": {"size": 32, "widths": [8, 8, 12], "local_width": 16, "global_width": 16,
              "blocks": 1, "heads": 2},
    "resvit": {"size": 32, "width": 6, "blocks": 2, "transformers": [1], "tokens": 8,
               "layers": 1, "heads": 2},
}  # fmt: skip
T2W, T1_FLAIR = (PAPER_SEQUENCES[n] for n in (7, 1))


def settings(preset: str, /, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "preset": preset, "architecture": SIZES[preset], "pair": (7, 1), "steps": 6, "crop": 32,
        "validate_steps": 4, "precision": "fp32", "wide": 0.0, "batch": 2,
        "adversarial": {"critic_width": 4},
    }  # fmt: skip
    return replace(TrainingConfig.from_dict(values), **changes)


def run_of(config: TrainingConfig, folder: Path = Path("nowhere")) -> Run:
    return Run(config, RunFolder(folder), make_fabric("cpu", "fp32"))


def shells(rows: int = 2, side: int = 32) -> Batch:
    """Rings that are bright where the other contrast is dark."""
    y, x = np.mgrid[:side, :side] - side / 2
    radius = np.hypot(x, y)
    inside = (radius < 0.45 * side).astype(np.float32)
    source = np.stack([0.5 + 0.5 * np.cos(radius / (2.0 + row)) for row in range(rows)]) * inside
    images = np.stack([source, 0.8 * inside - 0.6 * source], axis=1)
    times = np.array([T2W.triple, T1_FLAIR.triple], np.float32)
    return Batch(
        images.astype(np.float32),
        np.ones((rows, 2), np.float32),
        np.tile(times, (rows, 1, 1)),
        np.tile(inside, (rows, 1, 1)),
    )


def job(config: TrainingConfig, dataset: Path, folder: Path, **options: Any) -> Job:
    data = open_data(DataConfig((str(dataset),)), config)
    return Job(config, data, folder, **{"workers": 0, **options})


# the data of a pair -----------------------------------------------------------------------------


def head() -> NDArray[np.uint8]:
    axes = np.meshgrid(*(np.linspace(-1, 1, 110),) * 3, indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    return np.where(radius < 0.97, np.clip((1 - radius) * 24, 1, 8), 0).astype(np.uint8)


def test_digital_subjects_are_drawn_in_source_and_target() -> None:
    config = settings("pgan")
    digital = DigitalSampler([head()], config)
    data = paired(TrainingData(digital, DigitalSampler([head()], config, 1)), config)
    assert isinstance(data.train, PairSampler)
    batch = data.train.batch(3, 0.5)
    assert batch.images.shape == (2, 2, 32, 32)
    for row in batch.parameters:
        np.testing.assert_allclose(row[:, :3], [T2W.triple, T1_FLAIR.triple])
    again = paired(data, config).train.batch(3, 0.5)
    np.testing.assert_array_equal(batch.images, again.images)
    np.testing.assert_array_equal(data.train.batch(3, 0.5, range(1, 2)).images, batch.images[1:])
    assert data.validate is not None
    one = data.validate.slices(1)[0]
    assert [name.split(",")[0] for name in one.names] == ["Sequence 7", "Sequence 1"]
    assert one.source == 0
    assert not one.held.any()
    assert {p.triple for p in data.train.coverage().points} == {T2W.triple, T1_FLAIR.triple}
    assert data.train.coverage().box is None


def test_subjects_from_files_give_source_and_target(dataset: Path) -> None:
    config = settings("pgan", pair=(*T2W.triple, *T1_FLAIR.triple))
    data = open_data(DataConfig((str(dataset),)), config)
    for step in range(4):
        batch = data.train.batch(step, 0.0)
        np.testing.assert_allclose(
            batch.parameters[..., :3], np.tile([T2W.triple, T1_FLAIR.triple], (2, 1, 1))
        )
    assert "from TR 8142 TE 104 to TR 2479 TE 9.62 TI 1055 alone" in data.train.describe()


def test_who_lacks_a_contrast_is_left_out_and_said(dataset: Path) -> None:
    for path in dataset.rglob("sub-02*T1w*"):
        path.unlink()
    config = settings("pgan")
    data = open_data(DataConfig((str(dataset),), validate=("sub-03",)), config)
    assert any("has not both contrasts" in note for note in data.notes)
    with pytest.raises(InputError, match="nobody has both contrasts"):
        open_data(DataConfig((str(dataset),)), settings("pgan", pair=(7, 9)))


# learning ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", BASELINE_NAMES)
def test_the_network_learns(preset: str) -> None:
    """Shown one batch again and again, the images come visibly nearer to the target."""
    sizes = dict(SIZES[preset])
    if preset == "ptnet":
        sizes |= {"widths": [16, 16, 24], "local_width": 32, "global_width": 32}
    rate = 4e-3 if preset == "ptnet" else 2e-3
    config = settings(preset, architecture=sizes, steps=400, learning_rate=rate, batch=1)
    run, batch = run_of(config), shells(1)
    told = [run.advance(batch) for _ in range(30)]
    assert all(usable for _, _, usable in told)
    l1 = [parts["l1"] for _, parts, _ in told]
    assert np.mean(l1[-3:]) < 0.6 * l1[0]
    assert all(np.isfinite(parts["critic"]) for _, parts, _ in told)


def test_the_critic_learns_to_tell_drawn_from_acquired() -> None:
    alone = {"critic_width": 4, "adversarial_loss": 0.0, "l1_loss": 0.0}
    run = run_of(settings("pgan", steps=400, learning_rate=2e-3, adversarial=alone))
    before = {n: v.clone() for n, v in run.model.named_parameters()}
    critic = [run.advance(shells())[1]["critic"] for _ in range(20)]
    assert critic[-1] < 0.5 * critic[0]
    # A generator that nothing is asked of stays as it is.
    assert all(torch.equal(v, before[n]) for n, v in run.model.named_parameters())


@pytest.mark.parametrize("preset", BASELINE_NAMES)
def test_the_loss_is_the_published_sum(preset: str) -> None:
    run = run_of(settings(preset))
    loss, parts, _ = run.advance(shells())
    published = {
        "pgan": {"adversarial": 1.0, "l1": 100.0},
        "ptnet": {"adversarial": 1.0, "l1": 0.0, "squared": 100.0, "features": 5.0},
        "resvit": {"adversarial": 1.0, "l1": 100.0},
    }[preset]
    assert set(parts) == {*published, "critic"}
    assert loss == pytest.approx(sum(w * parts[n] for n, w in published.items()), rel=1e-4)


def test_settings_are_those_of_the_publications() -> None:
    for preset, batch, beta1 in (("pgan", 1, 0.5), ("ptnet", 4, 0.9), ("resvit", 1, 0.5)):
        config = TrainingConfig.from_dict({"preset": preset, "pair": (7, 1)})
        assert (config.batch, config.learning_rate, config.schedule) == (batch, 2e-4, "plateau")
        assert (config.average, config.clip, config.warmup) == (0.0, 0.0, 0)
        assert PUBLISHED[preset].beta1 == beta1
        assert config.architecture.get("size", 192) == 192
        assert TrainingConfig.from_dict(json.loads(config.to_json())) == config
    changed = {"preset": "resvit", "crop": 64, "batch": 3, "architecture": {"width": 8}}
    config = TrainingConfig.from_dict(changed)
    assert (config.batch, config.architecture) == (3, {"width": 8, "size": 64})
    assert published_steps("pgan", 200, 8, 1) == 20_000
    assert published_steps("ptnet", 200, 8, 4) == 4_000
    assert adversarial_settings(settings("pgan")).critic_width == 4


def test_the_rate_is_constant_and_then_falls_to_zero() -> None:
    run = run_of(settings("pgan", steps=100))
    rates = []
    for run.step in (0, 49, 50, 75, 99):
        rates.append(run.learning_rate() / 2e-4)
    np.testing.assert_allclose(rates, [1.0, 1.0, 1.0, 0.5, 0.02])
    run.advance(shells())
    assert run.adversary is not None
    assert run.adversary.optimiser.param_groups[0]["lr"] == pytest.approx(0.02 * 2e-4)
    assert run.adversary.optimiser.param_groups[0]["betas"] == (0.5, 0.999)
    assert run.optimiser.param_groups[0]["betas"] == (0.5, 0.999)


def test_resvit_learns_without_its_transformer_first_and_then_faster_with_it() -> None:
    run = run_of(settings("resvit", steps=30))
    model = run.model
    assert isinstance(model, ResViT)
    fresh = model.generator.get_parameter("aggregations.1.embed.weight").clone()
    rates, moved, inserted = [], [], []
    for run.step in (0, 15, 19, 20, 25, 29):
        rates.append(run.learning_rate())
        run.advance(shells())
        now = model.generator.get_parameter("aggregations.1.embed.weight")
        moved.append(not torch.equal(now, fresh))
        inserted.append(float(run.average["generator.inserted"]))
    np.testing.assert_allclose(rates, [2e-4, 1e-4, 2e-5, 1e-3, 1e-3, 2e-4], rtol=1e-3)
    assert moved == [False, False, False, True, True, True]
    assert inserted == [0, 0, 0, 1, 1, 1]


def test_a_conditioned_network_learns_all_pairs() -> None:
    sizes = {**SIZES["pgan"], "conditioned": True}
    run = run_of(settings("pgan", architecture=sizes, pair=(), contrasts=2))
    batch = shells()
    swapped = replace(
        batch, images=batch.images[:, ::-1].copy(), parameters=batch.parameters[:, ::-1].copy()
    )
    for shown in (batch, swapped):
        loss, _, usable = run.advance(shown)
        assert usable
        assert np.isfinite(loss)


# nothing is lost --------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "workers"), [("pgan", 0), ("resvit", 0), ("pgan", 1)])
def test_an_interrupted_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
    dataset: Path, tmp_path: Path, preset: str, workers: int
) -> None:
    config = settings(preset, steps=4)
    list(train(job(config, dataset, tmp_path / "whole", workers=workers)))
    half = train(job(config, dataset, tmp_path / "half", workers=workers))
    for event in half:
        if isinstance(event, Stepped) and event.step == 2:
            half.close()
    list(train(job(config, dataset, tmp_path / "half", workers=workers), resume=True))
    whole, resumed = (load_file(tmp_path / name / STATE) for name in ("whole", "half"))
    assert any(name.startswith("critic/") for name in whole)
    assert any(name.startswith("critic-optimiser/") for name in whole)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_the_state_of_another_critic_is_refused(dataset: Path, tmp_path: Path) -> None:
    config = settings("pgan", steps=1)
    list(train(job(config, dataset, tmp_path / "run")))
    other = run_of(replace(config, adversarial={"critic_width": 6}), tmp_path / "run")
    with pytest.raises(InputError, match="saved state is of another network"):
        other.load()


@pytest.mark.parametrize("preset", ["pgan", "resvit"])
def test_a_run_ends_in_a_checkpoint_that_says_how_it_was_trained(
    dataset: Path, tmp_path: Path, preset: str
) -> None:
    events = list(train(job(settings(preset), dataset, tmp_path / "run")))
    told = [e for e in events if isinstance(e, Validated)]
    # From source to target alone; the other way round is somebody else's task.
    assert set(told[-1].metrics) == {"seen"}
    notes = " ".join(e.text for e in events if isinstance(e, Noted))
    last = events[-1]
    assert isinstance(last, Finished)
    found = load_checkpoint(last.path)
    card = found.card
    assert card.intensity_rule == "minmax"
    assert {p.triple for p in card.coverage.points} == {T2W.triple, T1_FLAIR.triple}
    assert card.training["adversarial"]["l1_loss"] == 100.0
    said = {"pgan": "without the perceptual term", "resvit": "Trained from scratch"}[preset]
    assert said in notes
    assert said in " ".join(card.training["remarks"])
    _same_through_the_synthesizer(found, dataset)


def _same_through_the_synthesizer(found: Checkpoint, dataset: Path) -> None:
    scan = io.load(next(dataset.rglob("sub-01*T2w.nii.gz")))
    synthesizer = Synthesizer(found, device="cpu")
    synthesizer.set_sources([scan])
    image = torch.from_numpy(scan.range_scale.to_model(scan.slice(3, 2)))[None, None]
    source, target = (torch.tensor(p.triple) for p in (T2W, T1_FLAIR))
    expected = found.model(image, source[None, None], target[None])[0, 0]
    drawn = torch.from_numpy(synthesizer.render_slice(T1_FLAIR, 3))
    torch.testing.assert_close(drawn, expected)


def test_a_step_without_a_number_changes_neither_network() -> None:
    run = run_of(settings("pgan"))
    assert run.adversary is not None
    batch = shells()
    before = [{n: v.clone() for n, v in m.named_parameters()}
              for m in (run.model, run.adversary.critic)]  # fmt: skip
    batch.images[0, 1, 5, 5] = np.nan
    _, _, usable = run.advance(batch)
    assert not usable
    assert run.step == 1
    for was, network in zip(before, (run.model, run.adversary.critic), strict=True):
        assert all(torch.equal(v, was[n]) for n, v in network.named_parameters())


# perceptual terms -------------------------------------------------------------------------------


def weights_file(folder: Path, name: Any, ending: str) -> Path:
    torch.manual_seed(0)
    state: dict[str, Tensor] = PerceptualLoss(name).state_dict()
    state["classifier.0.weight"] = torch.zeros(2, 2)
    path = folder / f"{name}{ending}"
    if ending == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("preset", "name", "ending"),
    [("pgan", "vgg16", ".safetensors"), ("ptnet", "vgg19", ".pth")],
)
def test_the_perceptual_term_is_there_where_weights_are_given(
    preset: str, name: str, ending: str, tmp_path: Path
) -> None:
    path = weights_file(tmp_path, name, ending)
    run = run_of(settings(preset, perceptual_weights=str(path)))
    assert run.notes == []
    loss, parts, _ = run.advance(shells(1))
    weight = {"pgan": 100.0, "ptnet": 10.0}[preset]
    without = sum(w * parts[n] for n, w in {
        "pgan": {"adversarial": 1.0, "l1": 100.0},
        "ptnet": {"adversarial": 1.0, "squared": 100.0, "features": 5.0},
    }[preset].items())  # fmt: skip
    assert parts["perceptual"] > 0
    assert loss == pytest.approx(without + weight * parts["perceptual"], rel=1e-4)
    assert not any("perceptual" in n for n in run.model.state_dict())


def test_no_path_of_weights_travels_with_a_network(dataset: Path, tmp_path: Path) -> None:
    path = weights_file(tmp_path, "vgg16", ".safetensors")
    config = settings("pgan", steps=1, perceptual_weights=str(path))
    *_, last = train(job(config, dataset, tmp_path / "run"))
    assert isinstance(last, Finished)
    card = load_checkpoint(last.path).card
    assert "vgg16.safetensors" not in card.to_json()
    assert "remarks" not in card.training


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.unlink(), "there is no such file of weights"),
        (lambda p: p.write_bytes(b"nothing"), "the weights cannot be read"),
        (lambda p: save_file({"features.0.weight": torch.zeros(2)}, p), "no weights of vgg16"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path: Path, spoil: Any, words: str) -> None:
    path = weights_file(tmp_path, "vgg16", ".safetensors")
    spoil(path)
    with pytest.raises(InputError, match=words):
        PerceptualLoss.load("vgg16", path)


def test_a_state_dictionary_of_torch_executes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"features.0.weight": Path("somewhere")}, path)
    with pytest.raises(InputError, match="the weights cannot be read"):
        PerceptualLoss.load("vgg16", path)


def test_equal_images_have_equal_features() -> None:
    image = torch.rand(2, 1, 32, 32)
    loss = PerceptualLoss("vgg16")
    assert float(loss(image, image)) == 0.0
    assert float(loss(image, 1 - image)) > 0.0


def test_a_plan_is_measured_with_the_pair(dataset: Path) -> None:
    """Precision and pace are taken from throwaway runs, also on noise."""
    config = settings("resvit", precision="auto", steps=20)
    source = DataConfig((str(dataset),))
    found, data, estimate = open_and_settle(None, config, source, "cpu")
    assert found.precision in ("fp32", "bf16")
    assert isinstance(data.train, PairSampler)
    assert estimate.pairs_per_second > 0
    assert estimate.n_parameters == run_of(found).model.n_parameters


# refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pair": ()}, "pgan learns a single pair of contrasts"),
        ({"pair": (7, 7)}, "'pair' must name two different settings"),
        ({"pair": (7, 12)}, "'pair' must name two different settings"),
        ({"pair": (7.5, 1)}, "'pair' must name two different settings"),
        ({"pair": (7, 1, 2)}, "'pair' must name two different settings"),
        ({"preset": "crl-plus", "architecture": {}}, "'pair' is for networks trained against"),
        ({"adversarial": {"l2": 1.0}}, "unknown entry 'l2'"),
        ({"adversarial": {"l1_loss": "much"}}, "'l1_loss' has the wrong type"),
        ({"adversarial": {"beta1": 1.0}}, "'beta1' must be at least 0 and below 1"),
        ({"adversarial": {"critic_norm": "none"}}, "'critic_norm' must be instance or batch"),
        ({"accumulate": 2}, "'accumulate' is not for pgan"),
        ({"compile": True}, "'compile' is not for pgan"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CRLError) as caught:
        run_of(settings("pgan", **changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_of_other_contrasts_are_refused() -> None:
    run = run_of(settings("pgan"))
    batch = shells()
    batch.parameters[:, 0, 1] = 40.0
    with pytest.raises(InputError, match="not those of the pair"):
        run.advance(batch)
    assert run.whole


def test_a_pair_that_is_held_back_is_refused() -> None:
    config = settings("pgan", sequences=(1, 2, 3))
    with pytest.raises(InputError, match="not among the sequences"):
        paired(TrainingData(DigitalSampler([head()], config), None), config)
    rehearsing = settings("pgan", rehearse=0.5)
    with pytest.raises(InputError, match="cannot be rehearsed"):
        paired(TrainingData(DigitalSampler([head()], rehearsing), None), rehearsing)


def test_full_memory_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(settings("pgan"))

    def full(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(run.model, "render", full)
    with pytest.raises(InputError, match="the memory is full"):
        run.advance(shells())
