"""Whom a run learns from, what it holds back, and what it is planned to be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_core import io
from crl_core.checkpoint import default_checkpoint, load_checkpoint, read_card
from crl_core.errors import InputError
from crl_core.io.bids import find_subjects, image_path
from crl_core.io.image_file import SIMULATED_FIELD
from crl_core.models import build_model
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters, distance
from crl_core.training.batch import setting_name
from crl_core.training.config import TrainingConfig
from crl_core.training.coverage import merged
from crl_core.training.data import Rehearsing, TrainingData, open_data
from crl_core.training.data_config import SAME, DataConfig, person_of
from crl_core.training.digital import NEAR, RANDOM_BOX, DigitalSampler
from crl_core.training.events import HELD_BACK, Improved, Started, Validated
from crl_core.training.files import SubjectSampler
from crl_core.training.finish import CardMaker
from crl_core.training.folder import MODEL
from crl_core.training.loop import Job, train
from crl_core.training.plan import (
    ENOUGH_STEPS,
    PAPER_EPOCHS,
    choose_precision,
    epoch_steps,
    open_and_settle,
    paper_settings,
    planned,
)
from crl_core.training.validation import Judge, seen_score
from tests.conftest import tiny_scan
from tests.core.test_training import HEAD, PLUS, digital

T2 = PAPER_SEQUENCES[7].triple


def opened(dataset: Path, config: TrainingConfig = PLUS, **changes: Any) -> TrainingData:
    return open_data(DataConfig((str(dataset),), **changes), config)


def triples(data: TrainingData, steps: int = 8) -> set[tuple[float, ...]]:
    rows = [data.train.batch(s, 1.0).parameters[..., :3].reshape(-1, 3) for s in range(steps)]
    return {tuple(round(float(v), 2) for v in t) for t in np.concatenate(rows)}


# people -----------------------------------------------------------------------------------------


def second_visits(dataset: Path) -> None:
    """Give everybody a second visit, in a folder of its own."""
    for files in find_subjects(dataset):
        for path in files.images:
            person = files.label
            name = path.name.replace(person, f"{person}_ses-2")
            target = dataset / person / "ses-2" / "anat" / name
            io.save(io.load(path), target)


def test_both_visits_of_a_person_stay_on_one_side(dataset: Path) -> None:
    second_visits(dataset)
    data = opened(dataset, validate=("sub-02",), test=("sub-03",))
    assert isinstance(data.train, SubjectSampler)
    assert isinstance(data.validate, SubjectSampler)
    assert {person_of(s.name) for s in data.train.subjects} == {"sub-01"}
    assert {s.name for s in data.validate.subjects} == {"sub-02", "sub-02_ses-2"}
    assert data.people == {"train": 1, "validate": 1, "test": 1}


def test_the_split_that_nobody_named_follows_from_the_seed_and_never_mixes_people(
    dataset: Path,
) -> None:
    second_visits(dataset)
    chosen = set()
    for seed in range(6):
        data = opened(dataset, replace(PLUS, seed=seed))
        assert isinstance(data.train, SubjectSampler)
        assert isinstance(data.validate, SubjectSampler)
        train = {person_of(s.name) for s in data.train.subjects}
        held = {person_of(s.name) for s in data.validate.subjects}
        assert not train & held
        assert len(held) == 1
        assert len(train) == 2
        chosen |= held
    assert len(chosen) > 1


def test_one_person_with_two_scans_is_enough_to_train_and_nobody_is_validated(
    tmp_path: Path,
) -> None:
    for key, suffix in ((5, "PDw"), (7, "T2w")):
        scan = tiny_scan(PAPER_SEQUENCES[key], seed=key)
        io.save(scan, image_path(tmp_path, "01", f"paper{key}", suffix))
    data = opened(tmp_path)
    assert data.validate is None
    assert data.train.batch(0, 0.0).images.shape[1] == 2
    assert "sub-01, trained on" in {s.about for s in data.train.slices(4)}


def test_of_one_person_the_settings_held_back_are_judged_and_called_what_they_are(
    dataset: Path, tmp_path: Path
) -> None:
    for person in ("sub-02", "sub-03"):
        shutil.rmtree(dataset / person)
    held = PAPER_SEQUENCES[5]
    source = DataConfig((str(dataset),), hold_back=(held.triple,))
    config = replace(PLUS, steps=2, validate_steps=1)
    data = open_data(source, config)
    told = list(train(Job(config, data, tmp_path / "run", source, workers=0)))
    (started,) = [e for e in told if isinstance(e, Started)]
    assert started.validated_on == HELD_BACK
    looks = [e for e in told if isinstance(e, Validated)]
    assert len(looks) == 2
    block = f"to {setting_name(held)}"
    assert all(set(e.metrics) == {block} == set(e.ssim) for e in looks)
    # It says nothing of other people, and does not decide which weights are kept.
    assert not [e for e in told if isinstance(e, Improved)]
    card = load_checkpoint(tmp_path / "run" / MODEL).card
    assert set(card.metrics) == {f"{HELD_BACK}: PSNR, dB", f"{HELD_BACK}: SSIM"}
    assert card.training["steps"] == 2


def test_a_person_with_a_single_slice_is_shown_once(tmp_path: Path) -> None:
    for key, suffix in ((5, "PDw"), (7, "T2w")):
        scan = tiny_scan(PAPER_SEQUENCES[key], seed=key)
        one = replace(scan, data=scan.data[:, :, 3:4])
        io.save(one, image_path(tmp_path, "01", f"paper{key}", suffix))
    assert len(opened(tmp_path).train.slices(4)) == 1


def test_people_that_are_not_there_are_named(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"no usable person 'sub-09'.*sub-01, sub-02"):
        opened(dataset, validate=("sub-09",))


def test_nobody_can_be_on_two_sides() -> None:
    with pytest.raises(InputError, match="sub-01 is to validate and to test"):
        DataConfig(("x",), validate=("sub-01",), test=("sub-01",))


def test_visits_and_files_that_are_left_out_take_no_part(dataset: Path) -> None:
    files = [str(p.relative_to(dataset)) for p in dataset.rglob("sub-02*T2w.nii.gz")]
    data = opened(dataset, leave_out=("sub-01", *files), validate=("sub-03",))
    assert isinstance(data.train, SubjectSampler)
    (only,) = data.train.subjects
    assert only.name == "sub-02"
    assert len(only.scales) == 2


def test_a_file_that_cannot_be_read_is_left_out_and_named_without_its_folder(
    dataset: Path,
) -> None:
    broken = next(dataset.rglob("sub-01*T2w.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:200])
    data = opened(dataset, validate=("sub-03",))
    (note,) = data.notes
    assert note.startswith(f"sub-01 is left out: {broken.name}: ")
    assert str(dataset) not in note
    assert data.people["train"] == 1


# settings held back -----------------------------------------------------------------------------


def test_a_setting_that_is_held_back_is_judged_but_never_trained_on(dataset: Path) -> None:
    data = opened(dataset, hold_back=(T2,), validate=("sub-02",))
    assert T2 not in triples(data)
    assert len(triples(data)) == 2
    assert data.validate is not None
    held = data.validate.slices(1)[0]
    np.testing.assert_allclose(held.parameters[held.held][:, :3], [T2], rtol=1e-6)
    assert [p.triple for p in data.train.coverage().held_out] == [
        tuple(float(np.float32(v)) for v in T2)
    ]


def test_holding_back_all_but_one_is_refused(dataset: Path) -> None:
    held = (T2, PAPER_SEQUENCES[5].triple)
    with pytest.raises(InputError, match="too many settings are held back"):
        opened(dataset, hold_back=held)


def test_random_sequences_keep_away_from_what_is_held_back() -> None:
    config = replace(PLUS, random_sequences=1.0, ramp=0.0, sequences=(1, 2, 3, 5, 7, 8, 9))
    sampler = DigitalSampler([HEAD], config)
    rng = np.random.default_rng(0)
    drawn = [sampler._times(rng, 1.0) for _ in range(4000)]
    for number in (4, 6):
        nearest = min(distance(p, PAPER_SEQUENCES[number]) for p in drawn)
        assert NEAR <= nearest < 3 * NEAR


@given(
    tr=st.floats(500, 12000), te=st.floats(8, 200), factor=st.floats(0.9, 1.1)
)
def test_a_setting_is_held_back_within_three_per_cent(
    tr: float, te: float, factor: float
) -> None:
    data = DataConfig(("x",), hold_back=((tr, te, 0.0),))
    asked = SequenceParameters(tr, te * factor)
    assert data.held(asked) == (distance(asked, SequenceParameters(tr, te)) < SAME)


def test_what_to_learn_from_survives_a_file(tmp_path: Path) -> None:
    value = DataConfig(("a", "b"), validate=("sub-1",), hold_back=(T2,), start="crl-plus")
    path = tmp_path / "data.json"
    path.write_text(value.to_json())
    assert DataConfig.load(path) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"datasetz": []}', "unknown entry 'datasetz'"),
        ('{"datasets": "x"}', "'datasets' has the wrong type"),
        ('{"hold_back": [[1, 2]]}', "'hold_back' has the wrong type"),
        ('{"hold_back": [[0, 2, 0]]}', "setting to hold back is none"),
        ('{"digital": 1}', "'digital' has the wrong type"),
        ("[]", "no JSON object"),
    ],
)
def test_data_settings_that_make_no_sense_are_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        DataConfig.load(path)


# rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["digital", "files"])
def test_some_rows_of_a_batch_are_those_of_the_whole(kind: str, dataset: Path) -> None:
    config = replace(PLUS, batch=4)
    sampler = digital(config) if kind == "digital" else opened(dataset, config).train
    whole = sampler.batch(3, 0.5)
    for rows in (range(0, 2), range(1, 4), range(3, 4)):
        some = sampler.batch(3, 0.5, rows)
        np.testing.assert_array_equal(some.images, whole.images[rows.start : rows.stop])
        np.testing.assert_array_equal(some.parameters, whole.parameters[rows.start : rows.stop])


def test_who_has_nothing_but_held_back_settings_is_not_validated_on(tmp_path: Path) -> None:
    for person, keys in (("01", (1, 5, 7)), ("02", (1, 5, 7)), ("03", (4, 6)), ("04", (4, 6, 7))):
        for key in keys:
            scan = tiny_scan(PAPER_SEQUENCES[key], seed=key)
            io.save(scan, image_path(tmp_path, person, f"paper{key}", "T2w"))
    held = tuple(PAPER_SEQUENCES[n].triple for n in (4, 6))
    data = opened(tmp_path, hold_back=held, validate=("sub-03", "sub-04"))
    assert isinstance(data.validate, SubjectSampler)
    assert [s.name for s in data.validate.subjects] == ["sub-04"]
    assert any("sub-03 is left out: none of their settings is trained on" in n for n in data.notes)
    assert opened(tmp_path, hold_back=held, validate=("sub-03",)).validate is None


def anatomies(dataset: Path, *names: str) -> None:
    lines = [f"sub-{k + 1:02d}\t{name}" for k, name in enumerate(names)]
    (dataset / "participants.tsv").write_text("\n".join(["participant_id\tanatomy", *lines]))


def test_two_draws_of_one_brain_are_validated_on_together_or_said_to_be_one(dataset: Path) -> None:
    anatomies(dataset, "a", "b", "a")
    for seed in range(6):
        data = opened(dataset, replace(PLUS, seed=seed))
        assert isinstance(data.validate, SubjectSampler)
        held = {s.name for s in data.validate.subjects}
        assert held in ({"sub-02"}, {"sub-01", "sub-03"})
        assert data.notes == ()
    (note,) = opened(dataset, validate=("sub-03",)).notes
    assert note.startswith("sub-03 is validated on and sub-01 trained on, of one anatomy")
    anatomies(dataset, "a", "a", "a")
    assert "of one anatomy" in opened(dataset).notes[0]


def test_digital_subjects_read_from_files_are_not_called_people(dataset: Path) -> None:
    assert opened(dataset).train.coverage().data == "subjects read from files"
    sidecars = sorted(dataset.rglob("sub-*.json"))
    for path in sidecars:
        path.write_text(json.dumps({**json.loads(path.read_text()), SIMULATED_FIELD: True}))
    data = opened(dataset)
    assert data.train.coverage().data == "digital subjects"
    assert data.train.describe() == "2 digital subjects read from files"
    # One scan of a person, and it is no longer nobody's.
    fields = {k: v for k, v in json.loads(sidecars[0].read_text()).items() if k != SIMULATED_FIELD}
    sidecars[0].write_text(json.dumps(fields))
    assert opened(dataset, validate=("sub-02",)).train.coverage().data == "subjects read from files"


# rehearsal --------------------------------------------------------------------------------------


def test_rehearsing_takes_its_share_of_the_steps_from_digital_subjects(dataset: Path) -> None:
    config = replace(PLUS, rehearse=0.4, batch=1)
    main = opened(dataset).train
    mixed = Rehearsing(main, digital(config), config)
    own = {tuple(np.float32(PAPER_SEQUENCES[n].triple)) for n in (1, 5, 7)}
    other = [
        not {tuple(p) for p in mixed.batch(s, 1.0).parameters[0, :, :3]} <= own for s in range(60)
    ]
    assert 0.2 < np.mean(other) < 0.6
    assert "40 % of the steps" in mixed.describe()
    covered = mixed.coverage()
    assert covered.box == RANDOM_BOX
    assert {tuple(np.float32(p.triple)) for p in covered.points} >= own


def test_label_maps_of_ones_own_are_what_is_rehearsed(dataset: Path, tmp_path: Path) -> None:
    from crl_core.demo import label_map

    maps = (str(shutil.copy(label_map(), tmp_path / f"{n}{label_map().name}")) for n in (1, 2))
    config = replace(PLUS, rehearse=0.5)
    told = opened(dataset, config, rehearsal=tuple(maps)).train.describe()
    assert "from 2 anatomies in 50 % of the steps" in told
    assert "from 1 anatomy in 50 % of the steps" in opened(dataset, config).train.describe()
    with pytest.raises(InputError, match="no share of the steps"):
        opened(dataset, replace(config, rehearse=0.0), rehearsal=("own.nii.gz",))


def test_a_setting_held_back_once_and_trained_on_now_is_no_longer_held_back(dataset: Path) -> None:
    before = digital(replace(PLUS, sequences=(1, 2, 3, 5, 8, 9))).coverage()
    assert {p.triple for p in before.held_out} >= {T2}
    now = opened(dataset).train.coverage()
    both = merged(before, replace(now, points=(*now.points, PAPER_SEQUENCES[7])))
    assert T2 not in {p.triple for p in both.held_out}


# judging ----------------------------------------------------------------------------------------


def test_blocks_say_what_was_held_back(dataset: Path) -> None:
    data = opened(dataset, hold_back=(T2,), validate=("sub-02",))
    assert data.validate is not None
    judge = Judge(data.validate, unseen=True)
    model = build_model(PLUS.preset, **PLUS.architecture).eval()
    psnr, ssim = judge.scores(model)
    assert set(psnr) == set(ssim) == {"seen", "identity", "to TR 8142 TE 104"}
    assert seen_score(psnr) == psnr["seen"]
    assert all(0 < v < 60 for v in psnr.values())
    assert all(-1 <= v <= 1 for v in ssim.values())


def test_a_perfect_network_scores_high_and_a_constant_one_low(dataset: Path) -> None:
    """The scores are those of the images: a stand-in that knows the answer reaches the top."""
    import torch

    data = opened(dataset, validate=("sub-02",))
    assert data.validate is not None
    judge = Judge(data.validate, unseen=True)
    one = judge.slices[0]
    judge.slices = [one]
    model = build_model(PLUS.preset, **PLUS.architecture).eval()

    def answer(features: Any, parameters: torch.Tensor) -> torch.Tensor:
        (j,) = [k for k in range(3) if np.allclose(one.parameters[k], parameters[0])]
        noise = np.random.default_rng(j).normal(0, 0.001, one.images[j].shape)
        return torch.from_numpy((3 * one.images[j] + noise).astype(np.float32))[None, None]

    model.render = answer  # type: ignore[method-assign]
    psnr, ssim = judge.scores(model)
    assert psnr["seen"] > 55
    assert ssim["seen"] > 0.99
    model.render = lambda f, p: torch.ones(1, 1, *one.mask.shape)  # type: ignore[method-assign]
    assert judge.scores(model)[0]["seen"] < 25


def test_previews_hold_what_they_promise(dataset: Path, tmp_path: Path) -> None:
    data = opened(dataset, hold_back=(T2,), validate=("sub-02",))
    assert data.validate is not None
    judge = Judge(data.validate, unseen=True)
    judge.write_fixed(tmp_path / "fixed.npz")
    judge.write_preview(build_model(PLUS.preset, **PLUS.architecture), tmp_path / "1.npz")
    fixed = np.load(tmp_path / "fixed.npz", allow_pickle=False)
    shown = np.load(tmp_path / "1.npz", allow_pickle=False)
    n, t = fixed["targets"].shape[:2]
    assert shown["images"].shape == fixed["targets"].shape
    assert shown["psnr"].shape == shown["ssim"].shape == fixed["names"].shape == (n, t)
    assert fixed["held"].sum() == n
    assert "never trained on" in str(fixed["about"][0])
    assert np.isfinite(shown["images"]).all()


# plans ------------------------------------------------------------------------------------------


def test_a_plan_by_time_fills_the_time_with_a_network_of_fitting_size(dataset: Path) -> None:
    base = TrainingConfig(precision="fp32")
    config, data, found = open_and_settle(
        "time", base, DataConfig((str(dataset),)), "cpu", minutes=0.5
    )
    assert config.minutes == 0.5
    assert found.seconds == pytest.approx(30.0)
    # Half a minute is too short for the full size on any processor.
    assert config.architecture["widths"][0] < 32
    assert found.steps < ENOUGH_STEPS
    assert config.steps > found.steps
    assert 1 <= config.warmup <= found.steps
    assert found.pairs_per_second > 0
    assert found.people == data.people == {"train": 2, "validate": 1, "test": 0}
    assert json.loads(json.dumps(found.as_dict()))["steps"] == found.steps


def test_a_plan_to_fine_tune_keeps_the_network_and_rehearses(dataset: Path) -> None:
    card = read_card(default_checkpoint())
    config = planned("fine-tune", TrainingConfig(), start=card)
    assert config.preset == card.preset
    assert config.rehearse > 0
    assert config.learning_rate < TrainingConfig().learning_rate
    assert config.architecture == {}
    with pytest.raises(InputError, match="nothing to fine-tune"):
        open_and_settle("fine-tune", TrainingConfig(), DataConfig((str(dataset),)), "cpu")


def test_the_plan_of_the_paper_has_its_schedule(dataset: Path) -> None:
    config = paper_settings(TrainingConfig())
    assert (config.preset, config.batch, config.crop) == ("crl-code", 4, 64)
    assert (config.learning_rate, config.schedule, config.identity) == (1e-4, "halving", False)
    assert config.sequences == (1, 2, 3, 5, 7, 8, 9)
    data = opened(dataset, config)
    # Two people of six slices, each shown 16 times an epoch in batches of four.
    assert epoch_steps(data, config) == 2 * 6 * 16 / 4
    assert PAPER_EPOCHS == 1000


# cards ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rehearse", [0.0, 0.3])
def test_a_fine_tuned_network_claims_what_it_knew_only_where_it_rehearsed_it(
    dataset: Path, rehearse: float
) -> None:
    card = read_card(default_checkpoint())
    config = replace(PLUS, rehearse=rehearse)
    data = opened(dataset, validate=("sub-02",))
    model = build_model(config.preset, **config.architecture)
    found = CardMaker(config, data, card).card(model, 7, 60.0, {})
    assert found.name == "crl-plus, fine-tuned"
    assert found.training["went on from"]["sha256"] == card.sha256
    own = {tuple(np.float32(PAPER_SEQUENCES[n].triple)) for n in (1, 5, 7)}
    assert {tuple(np.float32(p.triple)) for p in found.coverage.points} >= own
    assert (found.coverage.box is not None) == (rehearse > 0)
    assert str(dataset) not in found.to_json()


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"fp32": [0.2, 0.2, 0.2], "bf16": [0.1, 0.1, 0.1]}, "bf16"),
        ({"fp32": [0.1, 0.1, 0.1], "bf16": [0.2, 0.2, 0.2]}, "fp32"),
        # Something else was at work during the first step in half precision.
        ({"fp32": [0.2, 0.2, 0.2], "bf16": [0.9, 0.1, 0.1]}, "bf16"),
        # A device that cannot do it at all.
        ({"fp32": [0.2, 0.2, 0.2], "bf16": []}, "fp32"),
    ],
)
def test_the_faster_precision_is_taken_whatever_disturbs_a_step(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, list[float]], chosen: str
) -> None:
    steps: list[TrainingConfig] = []

    class Probe:
        def __init__(self, config: TrainingConfig, device: str, folder: Path) -> None:
            steps.append(config)
            self.left = list(seconds[config.precision])
            if not self.left:
                raise NotImplementedError("no half precision here")

        def seconds_per_step(self, steps: int, warm: int = 1) -> float:
            return self.left.pop(0)

    monkeypatch.setattr("crl_core.training.plan._Probe", Probe)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    config = replace(PLUS, precision="auto", batch=4, crop=48, contrasts=3)
    assert choose_precision(config, "cpu").precision == chosen
    # Whole steps, not a small part of one.
    assert {(s.batch, s.crop, s.contrasts) for s in steps} == {(4, 48, 3)}


def test_half_precision_is_not_tried_where_the_processor_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trying alone can take a quarter of an hour there."""

    def never(*_: object) -> None:
        raise AssertionError("a step was taken")

    monkeypatch.setattr("crl_core.training.plan._Probe", never)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    config = replace(PLUS, precision="auto")
    assert choose_precision(config, "cpu").precision == "fp32"
    with pytest.raises(AssertionError, match="a step was taken"):
        choose_precision(config, "cuda:0")
