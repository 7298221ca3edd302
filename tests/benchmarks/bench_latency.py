"""From a move of a slider to painted panes, while a network is trained beside it and while not.

    python -m tests.benchmarks.bench_latency DATASET --moves 40 --rounds 5

Opens the window without a screen on the real slice, starts ``crl train`` on DATASET with the
priority that the training dialog gives it, and moves TE; blocks with the training at full speed
alternate with blocks while it is paused, so that other load on the machine touches both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication

from crl_core.training.folder import RunFolder
from crl_core.training.history import History
from crl_viewer.app import Viewer
from crl_viewer.workers.training_process import COMMAND, step_back

PATIENCE_S = 120.0


class Bench:
    """The window on the real slice, and a way to time one move."""

    def __init__(self) -> None:
        self.app = QApplication.instance() or QApplication(sys.argv[:1])
        self.viewer = Viewer(self.app)  # type: ignore[arg-type]
        self.timed: list[float] = []
        status = self.viewer.window.status
        shown = status.set_timing

        def set_timing(milliseconds: float, *, first: bool = False) -> None:
            self.timed.append(milliseconds)
            shown(milliseconds, first=first)

        status.set_timing = set_timing  # type: ignore[method-assign]
        self.viewer.start()
        self.viewer.controllers.opening.open_demo("real")
        self.viewer.window.resize(1440, 900)
        self.viewer.window.show()
        self.until(lambda: bool(self.timed))

    def until(self, reached: Callable[[], bool]) -> None:
        """Let the window work until something is so."""
        end = time.monotonic() + PATIENCE_S
        while not reached():
            if time.monotonic() > end:
                raise TimeoutError("the window did not get there")
            self.app.processEvents()
            time.sleep(0.0005)

    def rest(self, seconds: float) -> None:
        """Let the window finish what it does when all is quiet."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end)

    def moves(self, count: int, seed: int) -> list[float]:
        """Move TE, each time once the last picture is painted; return the times, ms."""
        rng = np.random.default_rng(seed)
        found = []
        for te in rng.uniform(10, 200, count):
            before = len(self.timed)
            self.viewer.controllers.parameters.moved(5000.0, float(te), 0.0)
            self.until(lambda seen=before: len(self.timed) > seen)
            found.append(self.timed[-1])
            self.rest(0.03)
        return found


def measure(dataset: Path, moves: int, rounds: int) -> dict[str, object]:
    """Return medians and 95th percentiles, ms, of both states and their ratio."""
    bench = Bench()
    with TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        words = ["--plan", "time", "--minutes", "60", str(dataset), "-o", str(folder.path)]
        process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL)
        step_back(process.pid)
        bench.until(lambda: History.read(folder.path).step >= 3)
        times: dict[str, list[float]] = {"paused": [], "training": []}
        try:
            for number in range(rounds):
                folder.send("pause")
                bench.until(lambda: History.read(folder.path).standing == "paused")
                bench.rest(1.0)
                times["paused"] += bench.moves(moves, number)
                folder.send("continue")
                bench.until(lambda: History.read(folder.path).standing == "running")
                bench.rest(1.0)
                times["training"] += bench.moves(moves, number)
            pace = History.read(folder.path).last
        finally:
            process.kill()
            process.wait()
    bench.viewer.close()
    result: dict[str, object] = {
        f"{name}, {what}": round(float(np.percentile(values, q)), 1)
        for name, values in times.items()
        for what, q in (("median", 50), ("p95", 95))
    }
    medians = {name: float(np.median(values)) for name, values in times.items()}
    result["grows by"] = round(medians["training"] / medians["paused"] - 1.0, 3)
    result["pairs per second meanwhile"] = None if pace is None else round(pace.pairs_per_second)
    result["processors"] = os.cpu_count()
    return result


def main() -> None:
    """Measure as the command line says and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    found = measure(given.dataset, given.moves, given.rounds)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
