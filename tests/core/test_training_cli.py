"""A live ``crl train``: steered from outside, interrupted, and its exit codes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crl_core.checkpoint import load_checkpoint
from crl_core.training.events import Continued, Failed, Finished, Paused, Stepped, Stopped
from crl_core.training.folder import MODEL, RunFolder
from crl_core.training.history import History
from tests.core.kill_runs import CONFIG_OF_KILLED, Child, begin, faults, told


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(replace(CONFIG_OF_KILLED, steps=100_000).to_json())
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def until(process: Child, done: Callable[[], bool]) -> None:
    """Wait for something that must come while the process runs."""
    end = time.monotonic() + 90.0
    while not done():
        assert process.poll() is None, process.said()
        assert time.monotonic() < end, process.said()
        time.sleep(0.02)


def has(run: Path, kind: type) -> Callable[[], bool]:
    return lambda: any(isinstance(event, kind) for event in told(run))


def crl(*arguments: str | Path) -> tuple[int, str]:
    with Child(*arguments) as process:
        return process.end()


def test_a_live_run_is_steered_and_a_second_one_refused(
    dataset: Path, settings: Path, run: Path
) -> None:
    with begin(dataset, settings, run, Child) as process:
        until(process, has(run, Stepped))
        code, said = crl(dataset, "-o", run, "--config", settings, "--device", "cpu")
        assert (code, "not empty" in said) == (1, True), said
        code, said = crl("--resume", "-o", run, "--device", "cpu")
        assert code == 1
        assert "is being trained by another process" in said.splitlines()[-1]
        assert crl("--pause", "-o", run)[0] == 0
        until(process, has(run, Paused))
        step = History.read(run).step
        assert History.read(run).standing == "paused"
        RunFolder(run).send("continue")
        until(process, lambda: has(run, Continued)() and History.read(run).step > step)
        RunFolder(run).send("stop")
        code, said = process.end()
    assert code == 3, said
    assert isinstance(told(run)[-1], Stopped)
    assert faults(run) == []
    code, said = crl("--stop", "-o", run)
    assert code == 1
    assert "is not being trained now" in said
    assert len(said.splitlines()) == 1
    # At rest it is finished from its best step.
    code, said = crl("--finish", "-o", run)
    assert code == 0, said
    model = load_checkpoint(run / MODEL)
    assert model.card.training["finished early"] is True
    assert History.read(run).standing == "finished"


def test_a_live_run_finishes_when_asked(dataset: Path, settings: Path, run: Path) -> None:
    with begin(dataset, settings, run, Child) as process:
        until(process, has(run, Stepped))
        assert crl("--finish", "-o", run)[0] == 0
        code, said = process.end()
    assert code == 0, said
    assert isinstance(told(run)[-1], Finished)
    assert load_checkpoint(run / MODEL).card.training["finished early"] is True


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_its_state_saved(
    dataset: Path, settings: Path, run: Path, number: signal.Signals
) -> None:
    with begin(dataset, settings, run, Child) as process:
        until(process, has(run, Stepped))
        os.kill(process.pid, number)
        code, said = process.end()
    assert code == 3, said
    assert "go on with: crl train --resume" in said
    assert "Traceback" not in said
    events = told(run)
    stopped = events[-1]
    assert isinstance(stopped, Stopped)
    assert faults(run) == []
    with begin(dataset, settings, run, Child) as process:
        until(process, lambda: len(told(run)) > len(events))
        started = told(run)[len(events)]
        assert started.step == stopped.step
        os.kill(process.pid, number)
        process.end()


def test_wrong_usage_and_a_missing_run_have_codes_of_their_own(run: Path) -> None:
    assert crl("--pause", "--stop", "-o", run)[0] == 2
    code, said = crl("--resume", "-o", run, "--device", "cpu")
    assert code == 1
    assert "holds no training run" in said
    assert len(said.splitlines()) == 1


def test_a_disk_that_takes_no_large_file_ends_in_one_line_with_nothing_half_written(
    dataset: Path, settings: Path, run: Path
) -> None:
    """The limit on the size of a file is as real as a full disk, and needs no other disk."""
    resource = pytest.importorskip("resource")
    config = replace(CONFIG_OF_KILLED, steps=30, save_seconds=0.05)
    settings.write_text(config.to_json())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for the settings and the log, but for no weights.
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        # Batches made by another process would go through files of their own, in memory.
        process = Child(
            dataset, "-o", run, "--config", settings, "--device", "cpu", "--workers", "0"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with process:
        code, said = process.end()
    assert code == 1, said
    assert "State not saved: cannot be written (File too large)" in said
    assert "Traceback" not in said
    assert "cannot be written (File too large)" in said.splitlines()[-1]
    assert isinstance(told(run)[-1], Failed)
    assert faults(run) == []
    with begin(dataset, settings, run, Child) as process:
        code, said = process.end()
    assert code == 0, said
    assert isinstance(told(run)[-1], Finished)
