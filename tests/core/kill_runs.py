"""Kills a training run again and again and shows that nothing is lost.

    python -m tests.core.kill_runs --kills 50 --seed 1

A small run in a process of its own is killed (SIGKILL) at random moments of its start-up, its
steps, its saving and its judging, and gone on with, until it is finished. It must end bit for bit
where a run ends that was never killed, every file must be whole after every kill, and no more than
one save interval of work may be lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file

from crl_core.cli import main as main_of_cli
from crl_core.io.atomic import TEMPORARY
from crl_core.training.config import TrainingConfig
from crl_core.training.events import Event, Saved, Started, Stepped, from_line
from crl_core.training.folder import EVENTS, MODEL, PREVIEWS, STATE, RunFolder
from crl_core.training.log import EVERY_S
from crl_core.training.loop import SHARE_FOR_SAVING
from tests.conftest import make_dataset

MOMENTS = ("starting", "stepping", "saving", "judging")

CONFIG_OF_KILLED = TrainingConfig(
    preset="crl-plus",
    architecture={"widths": [6, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8},
    steps=4000,
    batch=2,
    crop=32,
    contrasts=3,
    warmup=2,
    validate_steps=40,
    save_seconds=0.3,
    precision="fp32",
)


# a run in a process of its own ------------------------------------------------------------------


def _hear_ctrl_c() -> None:
    """Undo what a shell does to what it starts in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Child(subprocess.Popen[str]):
    """``crl train`` with these arguments, as a terminal would start it.

    What it says goes into a file: a pipe would stay open as long as a process it made itself.
    """

    # One thread: the two processors are for the run and for whoever watches it.
    threads = 1

    def __init__(self, *arguments: str | Path, **options: Any) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        threads = dict.fromkeys(names, str(self.threads))
        super().__init__(
            [sys.executable, "-m", "crl_core.cli", "train", *map(str, arguments)],
            stdout=self._said,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **threads},
            preexec_fn=_hear_ctrl_c if os.name == "posix" else None,
            **options,
        )

    def said(self) -> str:
        """Return what it wrote on stdout and stderr so far."""
        self._said.seek(0)
        return self._said.read()

    def end(self, timeout: float = 120.0) -> tuple[int, str]:
        """Wait for the end; returns the exit code and what was said."""
        return self.wait(timeout), self.said()

    def __exit__(self, *_: object) -> None:
        """See to it that the process is gone."""
        if self.poll() is None:
            self.kill()
        self.wait()
        self._said.close()


class InLanes(Child):
    """The same with two threads, which share the rows of a step."""

    threads = 2


class Forked:
    """The same from a copy of this process, which has imported what takes seconds to import.

    A kill is as hard; only the start is quicker.
    """

    def __init__(self, *arguments: str | Path) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.dup2(self._said.fileno(), 1)
                os.dup2(self._said.fileno(), 2)
                # A shell lets what runs in the background ignore Ctrl+C.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (1, 2))
                torch.set_num_threads(1)
                main_of_cli(["train", *map(str, arguments)])
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 600.0) -> int:
        """Wait for the end."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < end, "it does not end"
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """Kill it."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def said(self) -> str:
        """Return what it wrote on stdout and stderr so far."""
        self._said.seek(0)
        return self._said.read()

    def end(self, timeout: float = 600.0) -> tuple[int, str]:
        """Wait for the end; returns the exit code and what was said."""
        return self.wait(timeout), self.said()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        """See to it that the process is gone."""
        self.kill()
        self.wait()
        self._said.close()


Running = Child | Forked


def begin(data: Path, config: Path, run: Path, kind: type[Running] = Child) -> Running:
    """Begin a run, or go on with the one that lies in the folder."""
    if RunFolder(run).exists:
        return kind("--resume", "-o", run, "--device", "cpu")
    return kind(data, "-o", run, "--config", config, "--device", "cpu")


def told(run: Path) -> list[Event]:
    """Return everything a run told whose line is whole."""
    if not (run / EVENTS).exists():
        return []
    lines = (run / EVENTS).read_text(encoding="utf-8").split("\n")
    return [found[1] for line in lines if (found := from_line(line)) is not None]


# what lies in the folder ------------------------------------------------------------------------


def faults(run: Path) -> list[str]:
    """Return what is wrong with the files of a run; nothing may be, at any moment.

    Names of unfinished files are no fault; half a file under a final name is one.
    """
    found: list[str] = []
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        if path.name.startswith(TEMPORARY):
            continue
        try:
            _check(path)
        except Exception as error:  # whatever a reader makes of half a file
            found.append(f"{path.relative_to(run)}: {type(error).__name__}: {error}")
    return found


def _check(path: Path) -> None:
    match path.suffix:
        case ".json":
            assert isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
        case ".safetensors":
            with safetensors.safe_open(path, "pt") as stream:
                assert json.loads((stream.metadata() or {})["card"])
                for name in stream.keys():  # noqa: SIM118
                    assert torch.isfinite(stream.get_tensor(name)).all(), name
        case ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].size for name in arrays.files)
        case ".jsonl":
            # All but a torn last line is whole.
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
                assert from_line(line) is not None, line
        case _:
            assert path.name == "lock", "a name nobody knows"


def differences(a: Path, b: Path) -> list[str]:
    """Return the tensors that two finished runs do not have in common, bit for bit."""
    found: list[str] = []
    for name in (STATE, MODEL):
        one, other = load_file(a / name), load_file(b / name)
        found += [f"{name}: {key} is in one only" for key in one.keys() ^ other.keys()]
        found += [
            f"{name}: {key}"
            for key in one.keys() & other.keys()
            if one[key].dtype != other[key].dtype
            or one[key].numpy().tobytes() != other[key].numpy().tobytes()
        ]
    return found


# killing ----------------------------------------------------------------------------------------


@dataclass
class Kill:
    """One kill: when, where the run stood, and what it cost."""

    moment: str
    after_s: float
    step: int = 0
    gone_on_from: int = 0
    lost_s: float = 0.0
    allowed_s: float = 0.0
    leftovers: int = 0
    torn: bool = False
    faults: list[str] = field(default_factory=list)


@dataclass
class Killed:
    """What came of a run that was killed many times."""

    kills: list[Kill]
    early_ends: int
    differences: list[str]
    faults: list[str]
    log: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing was lost."""
        broken = any(k.faults or k.lost_s > k.allowed_s for k in self.kills)
        return not (broken or self.differences or self.faults or self.log)


def kill_at(process: Running, run: Path, moment: str, rng: random.Random, startup_s: float) -> bool:
    """Wait for a moment and kill; returns whether the process still ran then."""
    if moment == "starting":
        _wait(process, rng.uniform(0.0, startup_s))
    else:
        before = (run / EVENTS).stat().st_size if (run / EVENTS).exists() else 0
        _until(process, lambda: _stepped(run, before))
        _wait(process, rng.uniform(0.0, 1.5))
        where = {"saving": run, "judging": run / PREVIEWS}.get(moment)
        if where is not None:
            # An unfinished file is there for a few milliseconds.
            _until(process, lambda: _unfinished(where), 0.0)
            _wait(process, rng.choice([0.0, rng.uniform(0.0, 0.02)]))
    if process.poll() is not None:
        return False
    process.kill()
    process.wait()
    return True


def _stepped(run: Path, since: int) -> bool:
    try:
        with (run / EVENTS).open("rb") as stream:
            stream.seek(since)
            return b'"stepped"' in stream.read()
    except OSError:
        return False


def _unfinished(folder: Path) -> bool:
    try:
        return any(name.startswith(TEMPORARY) for name in os.listdir(folder))
    except OSError:
        return False


def _wait(process: Running, seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(min(0.005, seconds))


def _until(process: Running, done: Callable[[], bool], pause: float = 0.01) -> None:
    while process.poll() is None and not done():
        time.sleep(pause)


def look(kill: Kill, run: Path) -> Kill:
    """Note how the folder looks after a kill."""
    kill.faults = faults(run)
    kill.leftovers = sum(p.name.startswith(TEMPORARY) for p in run.rglob("*"))
    log = run / EVENTS
    kill.torn = log.exists() and bool(log.read_bytes()) and not log.read_bytes().endswith(b"\n")
    return kill


def judge_losses(kills: list[Kill], events: list[Event], save_seconds: float) -> None:
    """Say of every kill how much work was done again; a log holds one sitting after the other.

    A sitting that was killed before it told anything has lost nothing. What is allowed is the
    save interval, as the run itself stretches it on a slow disk, the save that was due, and the
    longest time between two told steps, which may hold a step and a look at the validation people.
    """
    sittings = [i for i, e in enumerate(events) if isinstance(e, Started)]
    waiting = list(kills)
    for begin_at, end_at in pairwise(sittings):
        started, following = events[begin_at], events[end_at]
        assert isinstance(started, Started)
        assert isinstance(following, Started)
        own = events[begin_at:end_at]
        steps = [e for e in own if isinstance(e, Stepped)]
        if not steps:
            continue
        kill = next((k for k in waiting if k.step == steps[-1].step and not k.allowed_s), None)
        if kill is None:
            continue  # it ended by itself
        seconds = [started.seconds, *(s.seconds for s in steps)]
        gap = max(b - a for a, b in pairwise(seconds))
        cost = max((e.cost for e in own if isinstance(e, Saved)), default=0.0)
        kill.gone_on_from = following.step
        kill.lost_s = max(0.0, steps[-1].seconds - following.seconds)
        kill.allowed_s = max(save_seconds, cost / SHARE_FOR_SAVING) + cost + max(gap, EVERY_S)


def kill_again_and_again(
    folder: Path,
    kills: int,
    seed: int,
    config: TrainingConfig = CONFIG_OF_KILLED,
    say: Callable[[str], None] = lambda _: None,
    kind: type[Running] = Child,
) -> Killed:
    """Run once without a kill and once with many, and compare."""
    folder.mkdir(parents=True, exist_ok=True)
    data, settings = make_dataset(folder / "data"), folder / "config.json"
    settings.write_text(config.to_json())
    whole, run = folder / "whole", folder / "killed"
    began = time.monotonic()
    with begin(data, settings, whole, kind) as process:
        _until(process, lambda: _stepped(whole, 0))
        startup_s = time.monotonic() - began
        code, text = process.end()
    assert code == 0, text
    say(f"never killed: {time.monotonic() - began:.1f} s, {startup_s:.1f} s of it to start")
    rng = random.Random(seed)
    done, early = list[Kill](), 0
    while len(done) < kills:
        moment = MOMENTS[len(done) % len(MOMENTS)] if done else "starting"
        sittings = sum(isinstance(e, Started) for e in told(run))
        began = time.monotonic()
        with begin(data, settings, run, kind) as process:
            if not kill_at(process, run, moment, rng, 1.1 * startup_s):
                code, text = process.end()
                # A run may end before its moment comes; anything else is a fault.
                assert code == 0, text
                early += 1
                if early > kills:
                    raise AssertionError("the run is too short for so many kills")
                continue
        kill = look(Kill(moment, time.monotonic() - began), run)
        events = told(run)
        if sum(isinstance(e, Started) for e in events) > sittings:
            steps = [e.step for e in events if isinstance(e, Started | Stepped)]
            kill.step = steps[-1]
        done.append(kill)
        say(
            f"{len(done):3d}  {moment:9s} after {kill.after_s:5.2f} s  step {kill.step:5d}"
            f"  unfinished {kill.leftovers}  torn {kill.torn:d}  {'; '.join(kill.faults)}"
        )
    with begin(data, settings, run, kind) as process:
        code, text = process.end()
    assert code == 0, text
    judge_losses(done, told(run), config.save_seconds)
    return Killed(done, early, differences(whole, run), faults(run), _log_faults(run))


def _log_faults(run: Path) -> list[str]:
    """Return what is left at the end that should not be."""
    left = [p.name for p in run.rglob("*") if p.name.startswith(TEMPORARY)]
    text = (run / EVENTS).read_bytes()
    found = [f"left behind: {name}" for name in left]
    if not text.endswith(b"\n"):
        found.append("the log ends in a torn line")
    return found


# the figures ------------------------------------------------------------------------------------


def report(found: Killed, save_seconds: float) -> str:
    """Return the table and the figures."""
    lines = ["moment     kills  before 1st state  step told..gone on   most lost, s  allowed, s"]
    for moment in MOMENTS:
        some = [k for k in found.kills if k.moment == moment]
        real = [k for k in some if k.allowed_s]
        most = max(real, key=lambda k: k.lost_s, default=Kill(moment, 0.0))
        span = f"{most.step}..{most.gone_on_from}"
        lines.append(
            f"{moment:9s}  {len(some):5d}  {sum(k.step == 0 for k in some):16d}  {span:>18s}"
            f"  {most.lost_s:13.2f}  {most.allowed_s:10.2f}"
        )
    real = [k.lost_s for k in found.kills if k.allowed_s]
    kinds = Counter(bool(k.leftovers) for k in found.kills)
    lines += [
        "",
        f"kills {len(found.kills)}, runs that ended before their kill {found.early_ends}",
        f"kills that left an unfinished file {kinds[True]}, a torn line in the log"
        f" {sum(k.torn for k in found.kills)}",
        f"work done again: mean {np.mean(real or [0]):.2f} s, most {max(real, default=0):.2f} s"
        f" (save interval {save_seconds} s)",
        f"kills over what is allowed: {sum(k.lost_s > k.allowed_s for k in found.kills)}",
        f"half-written files: {sum(len(k.faults) for k in found.kills) + len(found.faults)}",
        f"tensors that differ from the run never killed: {len(found.differences)}",
        *found.differences[:5],
        *found.log,
        "nothing was lost" if found.ok else "SOMETHING WAS LOST",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=CONFIG_OF_KILLED.steps)
    parser.add_argument(
        "--fork", action="store_true", help="start runs quicker, as copies of this process"
    )
    parser.add_argument("--one-thread", action="store_true", help="steps in a single lane")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    given = parser.parse_args()
    config = replace(CONFIG_OF_KILLED, steps=given.steps, precision=given.precision)
    child = Child if given.one_thread else InLanes
    with tempfile.TemporaryDirectory() as folder:
        found = kill_again_and_again(
            Path(folder),
            given.kills,
            given.seed,
            config,
            lambda line: print(line, flush=True),  # noqa: T201
            Forked if given.fork else child,
        )
    print(report(found, config.save_seconds))  # noqa: T201
    sys.exit(0 if found.ok else 1)


if __name__ == "__main__":
    main()
