"""Work shared among processes that can be stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import TypeVar

from crl_core.errors import Cancelled, CRLError

Job = TypeVar("Job")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]

MOST_JOBS = 8
"""Processes used unasked; each holds a person's volumes in memory."""

_POLL_S = 0.2
_stop: Event | None = None


def processor_count() -> int:
    """Return how many processes to use where nobody says: one per core, within reason."""
    return min(os.cpu_count() or 1, MOST_JOBS)


def run_jobs(
    function: Callable[[Job, Callable[[], None]], Result],
    jobs: Sequence[Job],
    *,
    workers: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Result]:
    """Do jobs in this process or in several, and return their results in the order of the jobs.

    Parameters
    ----------
    function
        Takes a job and a function to call now and then, which raises when the work is to stop.
        For several processes it must be importable, and jobs and results must pickle: processes
        are spawned, so that no lock or thread of this one is inherited.
    jobs
        What to do.
    workers
        Number of processes; with one, the work is done here.
    progress
        Called with (jobs done, jobs in all).
    cancelled
        Asked now and then whether to stop.

    Raises
    ------
    Cancelled
        When `cancelled` said so.
    CRLError
        When a process died.
    Exception
        Whatever a job raised first; the others are stopped.
    """

    def watch() -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("the work was cancelled")

    if workers <= 1 or len(jobs) <= 1:
        results = []
        for done, job in enumerate(jobs, start=1):
            results.append(function(job, watch))
            if progress is not None:
                progress(done, len(jobs))
        return results
    return _in_processes(function, jobs, min(workers, len(jobs)), progress, watch)


def _in_processes(
    function: Callable[[Job, Callable[[], None]], Result],
    jobs: Sequence[Job],
    workers: int,
    progress: Progress | None,
    watch: Callable[[], None],
) -> list[Result]:
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _begin, (stop,)) as pool:
        futures: list[Future[Result]] = [pool.submit(_do, function, job) for job in jobs]
        try:
            waiting: set[Future[Result]] = set(futures)
            while waiting:
                watch()
                done, waiting = wait(waiting, _POLL_S, FIRST_COMPLETED)
                for future in done:
                    future.result()
                if done and progress is not None:
                    progress(len(jobs) - len(waiting), len(jobs))
        except BaseException as error:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise CRLError(
                    "a process that shared the work died, most likely for want of memory",
                    remedy="Try again with fewer --jobs",
                ) from error
            raise
    return [future.result() for future in futures]


def _begin(stop: Event) -> None:
    """Set up a worker: an interrupt from the keyboard is the parent's to handle."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(function: Callable[[Job, Callable[[], None]], Result], job: Job) -> Result:
    return function(job, _watch)


def _watch() -> None:
    if _stop is not None and _stop.is_set():
        raise Cancelled("the work was cancelled")
