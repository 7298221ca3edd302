"""Asks a child process what a training run would take, so that nothing of torch is loaded here."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from crl_core.errors import InputError
from crl_viewer.state.training_setup_plan import Estimate, Job
from crl_viewer.workers.loader import Post

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "crl_core.cli", "train", "--estimate", "--json")
DATA_FILE, CONFIG_FILE = "data.json", "config.json"
_MOST_WORDS = 300

Done = Callable[[Job, Estimate], None]


class Estimator:
    """Measures one job at a time; a new list of jobs takes the place of the old one.

    Parameters
    ----------
    post
        How to get back to the GUI thread.
    command
        What is run, without the job's own arguments.
    """

    def __init__(self, post: Post, command: Sequence[str] = COMMAND) -> None:
        self._post = post
        self._command = list(command)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="estimate")
        self._lock = threading.Lock()
        self._round = 0
        self._child: subprocess.Popen[str] | None = None

    def ask(self, jobs: Sequence[Job], done: Done) -> None:
        """Measure jobs in order; `done` hears of each on the GUI thread."""
        number = self._next_round()
        for job in jobs:
            self._pool.submit(self._measure, number, job, done)

    def cancel(self) -> None:
        """Measure no more; what runs is ended."""
        self._next_round()

    def close(self) -> None:
        """End everything and wait for it."""
        self._next_round()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _next_round(self) -> int:
        with self._lock:
            self._round += 1
            if self._child is not None:
                self._child.kill()
            return self._round

    def _measure(self, number: int, job: Job, done: Done) -> None:
        with tempfile.TemporaryDirectory(prefix="crl-estimate-") as folder:
            try:
                words = write_job(job, Path(folder))
                found = self._run(number, [*self._command, *words])
            except OSError as error:
                log.warning("no estimate: %s", error)
                found = Estimate({}, refusal="The time could not be measured here.")
        if found is not None:
            self._post(partial(self._tell, number, job, found, done))

    def _run(self, number: int, command: Sequence[str]) -> Estimate | None:
        """Run the child; None where it was no longer wanted."""
        with self._lock:
            if number != self._round:
                return None
            self._child = child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                creationflags=hidden_window(),
            )
        try:
            said, refused = child.communicate()
        finally:
            with self._lock:
                self._child = None
        if number != self._round:
            return None
        if child.returncode != 0:
            return Estimate({}, refusal=_last_line(refused) or "The time could not be measured.")
        return read_estimate(said)

    def _tell(self, number: int, job: Job, found: Estimate, done: Done) -> None:
        if number == self._round:
            done(job, found)


def hidden_window() -> int:
    """Return what keeps Windows from opening a console for a child process; 0 elsewhere."""
    return int(getattr(subprocess, "CREATE_NO_WINDOW", 0))


def write_job(job: Job, folder: Path) -> list[str]:
    """Write the files of a job into a folder and return the arguments that name them."""
    data, config = folder / DATA_FILE, None
    data.write_text(job.data.to_json(), encoding="utf-8")
    if job.config:
        config = folder / CONFIG_FILE
        config.write_text(json.dumps(dict(job.config)), encoding="utf-8")
    return job.arguments(data, config)


def read_estimate(said: str) -> Estimate:
    """Read the one JSON object a child printed; anything else is a refusal."""
    try:
        values: Any = json.loads(said)
        return Estimate.of(values)
    except (ValueError, InputError):
        return Estimate({}, refusal="The time could not be measured: no answer was understood.")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_MOST_WORDS] if lines else ""
