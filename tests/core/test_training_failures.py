"""What may go wrong during a run has an outcome each: it goes on, or ends with one clear line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crl_core.card import NOTE
from crl_core.checkpoint import load_checkpoint
from crl_core.errors import InputError, OutputError
from crl_core.training import loop
from crl_core.training.config import TrainingConfig
from crl_core.training.data import TrainingData, open_data
from crl_core.training.data_config import DataConfig
from crl_core.training.events import Event, Failed, Finished, Noted, Saved, Stepped, Stopped
from crl_core.training.files import SubjectSampler
from crl_core.training.finish import finish_at_rest
from crl_core.training.folder import BEST, CONFIG, EVENTS, MODEL, STATE, Log, RunFolder
from crl_core.training.loop import Job, train
from crl_core.training.objective import StepLoss, TensorBatch
from crl_core.training.run import Run, make_fabric
from tests.core.kill_runs import CONFIG_OF_KILLED, faults

QUICK = replace(CONFIG_OF_KILLED, steps=6, validate_steps=4, save_seconds=0.0)


@pytest.fixture
def data(dataset: Path) -> TrainingData:
    return open_data(DataConfig((str(dataset),)), QUICK)


@pytest.fixture(autouse=True)
def _save_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SHARE_FOR_SAVING", 1e9)


def job(data: TrainingData, folder: Path, config: TrainingConfig = QUICK) -> Job:
    return Job(config, data, folder, workers=0)


def logged(folder: Path) -> list[Event]:
    return [event for _, event in Log(RunFolder(folder)).poll()]


@contextmanager
def full_disk(ending: str) -> Iterator[None]:
    """Refuse to write files whose temporary name has this ending, as a full disk does."""
    from crl_core.io import atomic

    flush = atomic._flush_to_disk

    def refuse(path: Path) -> None:
        if path.name.endswith(ending):
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "_flush_to_disk", refuse)
        yield


def test_a_full_disk_is_told_and_the_state_is_saved_when_there_is_room(
    data: TrainingData, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    events = train(job(data, folder))
    told: list[Event] = []
    for event in events:
        told.append(event)
        if isinstance(event, Stepped) and event.step == 3:
            break
    before = (folder / STATE).read_bytes()
    with full_disk(".safetensors"):
        for event in events:
            told.append(event)
            if isinstance(event, Stepped) and event.step == 5:
                break
        assert (folder / STATE).read_bytes() == before
        assert faults(folder) == []
    told += events
    notes = [e.text for e in told if isinstance(e, Noted)]
    assert sum("State not saved" in n and "No space left" in n for n in notes) == 2
    assert sum("The best network so far is not on disk" in n for n in notes) == 1
    assert [e.step for e in told if isinstance(e, Saved)] == [0, 1, 2, 5, 6, 6]
    assert isinstance(told[-1], Finished)
    assert faults(folder) == []
    assert not list(folder.rglob(".crl-*"))


def test_previews_that_do_not_fit_are_told_and_the_run_goes_on(
    data: TrainingData, tmp_path: Path
) -> None:
    with full_disk(".npz"):
        told = list(train(job(data, tmp_path / "run")))
    assert isinstance(told[-1], Finished)
    assert sum("No preview of this step" in e.text for e in told if isinstance(e, Noted)) == 3
    assert RunFolder(tmp_path / "run").preview_steps() == []


def test_a_log_that_cannot_be_written_is_completed_later(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    write, full = os.write, [True]

    def refuse(number: int, text: bytes) -> int:
        if full[0] and text.startswith(b'{"kind"'):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(number, text)

    monkeypatch.setattr(os, "write", refuse)
    told = []
    for event in train(job(data, tmp_path / "run")):
        told.append(event)
        if isinstance(event, Stepped) and event.step == 5:
            full[0] = False
    said = [e.text for e in told if isinstance(e, Noted) and "log cannot be written" in e.text]
    assert len(said) == 1
    kinds = [type(e).__name__ for e in logged(tmp_path / "run")]
    assert kinds[0] == "Started"
    assert kinds[-1] == "Finished"
    assert kinds.count("Validated") == 2


def test_a_finished_model_that_cannot_be_written_ends_the_run_with_its_state_kept(
    data: TrainingData, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    events = train(job(data, folder))
    for event in events:
        if isinstance(event, Saved) and event.step == 6:
            break
    with full_disk(".safetensors"), pytest.raises(OutputError) as refusal:
        list(events)
    assert "\n" not in str(refusal.value)
    assert "model.safetensors: cannot be written (No space left on device)" in str(refusal.value)
    assert isinstance(logged(folder)[-1], Failed)
    assert not (folder / MODEL).exists()
    told = list(train(job(data, folder), resume=True))
    assert not any(isinstance(e, Stepped) for e in told)
    assert isinstance(told[-1], Finished)


def test_a_stop_whose_state_cannot_be_saved_is_a_failure(
    data: TrainingData, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    events = train(job(data, folder))
    for event in events:
        if isinstance(event, Stepped) and event.step == 2:
            break
    with full_disk(".safetensors"), pytest.raises(OutputError, match="No space left"):
        events.close()
    last = logged(folder)[-1]
    assert isinstance(last, Failed)
    assert not any(isinstance(e, Stopped) for e in logged(folder))


def test_a_folder_that_is_taken_away_is_not_made_anew(data: TrainingData, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    events = train(job(data, folder))
    told: list[Event] = []
    for event in events:
        told.append(event)
        if isinstance(event, Stepped) and event.step == 2:
            folder.rename(elsewhere)
        if isinstance(event, Stepped) and event.step == 4:
            assert not folder.exists()
            elsewhere.rename(folder)
    gone = [e.text for e in told if isinstance(e, Noted) and "folder of the run is gone" in e.text]
    assert len(gone) == 3  # the log once, and the state of steps 2 and 3
    assert isinstance(told[-1], Finished)
    assert faults(folder) == []


def test_a_run_whose_folder_stays_away_ends_with_one_line(
    data: TrainingData, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    events = train(job(data, folder))
    with pytest.raises(OutputError, match=r"is gone.*Put it back"):  # noqa: PT012
        for event in events:
            if isinstance(event, Stepped) and event.step == 2:
                folder.rename(tmp_path / "elsewhere")
    assert not folder.exists()


def test_a_run_stopped_before_it_was_judged_is_judged_when_it_goes_on(
    data: TrainingData, tmp_path: Path
) -> None:
    """Else the best network, and so the finished one, could be another."""
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    list(train(job(data, whole)))
    events = train(job(data, halved))
    for event in events:
        if isinstance(event, Stepped) and event.step == 4:
            events.close()
    told = list(train(job(data, halved), resume=True))
    assert [e.step for e in told if type(e).__name__ == "Validated"] == [4, 6]
    a, b = (load_checkpoint(f / MODEL) for f in (whole, halved))
    assert a.card.sha256 == b.card.sha256
    assert a.card.training["steps"] == b.card.training["steps"]


def test_a_run_is_refused_while_another_process_holds_it(
    data: TrainingData, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = train(job(data, folder))
    next(first)
    with pytest.raises(OutputError, match="not empty"):
        next(train(job(data, folder)))
    with pytest.raises(OutputError, match="trained by another process") as refusal:
        next(train(job(data, folder), resume=True))
    assert "\n" not in str(refusal.value)
    first.close()
    assert not RunFolder(folder).alive()


# memory -----------------------------------------------------------------------------------------


@pytest.fixture
def one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows of a part are in memory in one call, as on a GPU."""
    monkeypatch.setattr("crl_core.training.run.lane_count", lambda threads, rows: 1)


def short_of_memory(most: int) -> Any:
    """Return a loss that has room for so many rows only."""
    forward = StepLoss.forward

    def limited(self: StepLoss, images: torch.Tensor, *rest: Any) -> Any:
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images, *rest)

    return limited


@pytest.mark.usefixtures("one_lane")
def test_a_full_memory_halves_the_batch_and_keeps_the_gradient(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(QUICK, batch=4)
    sampler = SubjectSampler(_subjects(tmp_path), config)
    batch = TensorBatch.of(sampler.batch(0, 0.0), torch.device("cpu"))

    def gradient() -> tuple[Run, torch.Tensor]:
        run = Run(config, RunFolder(tmp_path / "x"), make_fabric("cpu", "fp32"))
        run._gradient(batch)
        return run, torch.cat([p.grad.flatten() for p in run.model.parameters()
                               if p.grad is not None])  # fmt: skip

    _, whole = gradient()
    monkeypatch.setattr(StepLoss, "forward", short_of_memory(1))
    run, parts = gradient()
    assert run.accumulate == 4
    assert [n.split(",")[0] for n in run.notes] == [
        "Memory is full. Going on with 2 crops at a time",
        "Memory is full. Going on with 1 crop at a time",
    ]
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def _subjects(root: Path) -> list[Any]:
    from crl_core.io.bids import find_subjects
    from crl_core.preprocess.subject import usable_subject

    return [usable_subject(f)[0] for f in find_subjects(root / "dataset")]


@pytest.mark.usefixtures("one_lane")
def test_smaller_parts_are_told_and_kept_when_a_run_goes_on(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepLoss, "forward", short_of_memory(1))
    folder = tmp_path / "run"
    events = train(job(data, folder))
    said = 0
    for event in events:
        said += isinstance(event, Noted) and "Memory is full" in event.text
        if isinstance(event, Stepped) and event.step == 3:
            events.close()
    assert said == 1
    again = list(train(job(data, folder), resume=True))
    assert not any(isinstance(e, Noted) and "Memory" in e.text for e in again)
    assert isinstance(again[-1], Finished)


def test_no_room_for_one_crop_ends_the_run_with_one_line(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepLoss, "forward", short_of_memory(0))
    with pytest.raises(InputError, match=r"memory is full.*smaller crop"):
        list(train(job(data, tmp_path / "run")))


# subjects that cannot be read -------------------------------------------------------------------


def test_a_subject_that_cannot_be_read_is_left_out_by_name(dataset: Path, tmp_path: Path) -> None:
    broken = sorted(dataset.rglob("sub-02*.nii.gz"))
    for path in broken:
        path.write_bytes(path.read_bytes()[:200])
    data = open_data(DataConfig((str(dataset),)), QUICK)
    told = list(train(job(data, tmp_path / "run")))
    notes = [e.text for e in told if isinstance(e, Noted)]
    assert len(notes) == 1
    assert "sub-02 is left out" in notes[0]
    assert str(dataset) not in (tmp_path / "run" / EVENTS).read_text()
    assert isinstance(told[-1], Finished)


def test_nobody_who_can_be_read_is_refused_in_one_line(dataset: Path) -> None:
    for path in dataset.rglob("*.nii.gz"):
        path.write_bytes(b"")
    with pytest.raises(InputError) as refusal:
        open_data(DataConfig((str(dataset),)), QUICK)
    assert "\n" not in str(refusal.value)
    assert CONFIG not in str(refusal.value)


def test_a_network_taken_from_a_run_at_rest_no_longer_says_that_it_is_in_training(
    tmp_path: Path, data: TrainingData
) -> None:
    """Of a run that was never judged the last state is taken, with the name it will have."""
    first = list(train(job(data, tmp_path / "first")))[-1]
    assert isinstance(first, Finished)
    start = load_checkpoint(first.path)
    run = tmp_path / "run"
    half = train(replace(job(data, run), start=start))
    for event in half:
        if isinstance(event, Stepped):
            half.close()
    for name in (BEST, "best.json"):
        (run / name).unlink()
    assert "in training, step 1" in load_checkpoint(run).card.name
    card = load_checkpoint(finish_at_rest(run)).card
    assert card.name == "crl-plus, fine-tuned"
    assert card.note == NOTE
