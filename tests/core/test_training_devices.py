"""Several processes share a batch and give what one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crl_core.training import events
from crl_core.training.config import TrainingConfig
from crl_core.training.folder import Log, RunFolder

TINY = TrainingConfig(
    preset="crl-plus",
    architecture={"widths": [6, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8},
    steps=4,
    batch=4,
    crop=32,
    contrasts=3,
    warmup=2,
    validate_steps=3,
    precision="fp32",
)


def trained(dataset: Path, folder: Path, settings: Path, processes: int) -> list[events.Event]:
    """Run ``crl train`` in one process, or in several under torchrun."""
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command = [*launcher, "crl_core.cli", "train", str(dataset), "-o", str(folder)]
    command += ["--config", str(settings), "--device", "cpu", "--workers", "0"]
    # One thread each, as several processes have; the order of sums then differs least.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":  # whatever networks this machine has
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    # What a process said comes before the launcher's account of its end, which is long.
    assert done.returncode == 0, done.stderr.split(
        'Traceback (most recent call last):\n  File "<frozen runpy>'
    )[0][-6000:]
    return [event for _, event in Log(RunFolder(folder)).poll()]


def test_two_processes_give_the_loss_of_one_on_the_same_batch(
    dataset: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(TINY.to_json())
    one = trained(dataset, tmp_path / "one", settings, 1)
    two = trained(dataset, tmp_path / "two", settings, 2)
    score = {}
    for name, told in (("one", one), ("two", two)):
        steps = [e for e in told if isinstance(e, events.Stepped)]
        assert [e for e in told if isinstance(e, events.Finished)]
        score[name] = (
            steps[0].loss,
            [e.metrics for e in told if isinstance(e, events.Validated)][-1],
        )
    assert score["two"][0] == pytest.approx(score["one"][0], rel=1e-5)
    # After four steps the networks are the same too, so the gradient was shared.
    for block, value in score["one"][1].items():
        assert score["two"][1][block] == pytest.approx(value, abs=2e-3), block


def test_several_processes_agree_when_their_time_is_up(dataset: Path, tmp_path: Path) -> None:
    """Only one of them judges and saves; a clock of their own would end them at different steps."""
    settings = tmp_path / "settings.json"
    timed = replace(TINY, minutes=0.04, steps=100_000, validate_steps=2, save_seconds=0.1)
    settings.write_text(timed.to_json())
    told = trained(dataset, tmp_path / "run", settings, 2)
    assert isinstance(told[-1], events.Finished)
    assert 1 < told[-1].step < 100_000


def test_a_batch_that_cannot_be_shared_is_refused(dataset: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({**json.loads(TINY.to_json()), "batch": 3}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node=2", "-m", "crl_core.cli", "train", str(dataset), "-o",
               str(tmp_path / "run"), "--config", str(settings), "--device", "cpu"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode != 0
    assert "batch of 3 cannot be shared by 2 processes" in done.stderr
    assert not (tmp_path / "run" / "config.json").exists()
