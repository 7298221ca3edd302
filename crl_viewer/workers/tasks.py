"""Work that takes long enough to be watched and stopped: listings, readings, registrations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from crl_viewer.workers.loader import Post

Result = TypeVar("Result")

EVERY = 0.05
"""Progress is passed on at most this often, seconds."""

SIDE_BY_SIDE = 4


class Task:
    """One piece of work under way.

    Parameters
    ----------
    post
        How to get back to the GUI thread.
    told
        Gets (text or None, done, total) there; not called any more once cancelled.
    """

    def __init__(
        self, post: Post, told: Callable[[str | None, int, int], None] | None = None
    ) -> None:
        self._post = post
        self._told = told
        self._stop = threading.Event()
        self._last = 0.0

    def cancel(self) -> None:
        """Ask the work to stop; nothing of it is reported any more."""
        self._stop.set()

    def cancelled(self) -> bool:
        """Return whether the work is to stop; for the worker thread to look at often."""
        return self._stop.is_set()

    def progress(self, done: int, total: int) -> None:
        """Tell how far it is; may be called as often as one likes, from the worker thread."""
        now = time.monotonic()
        if now - self._last >= EVERY or done >= total:
            self._last = now
            self._say(None, done, total)

    def say(self, text: str) -> None:
        """Tell what is being done now."""
        self._say(text, 0, 0)

    def deliver(self, call: Callable[[], None]) -> None:
        """Run `call` on the GUI thread unless the task is cancelled by then."""
        self._post(lambda: None if self.cancelled() else call())

    def _say(self, text: str | None, done: int, total: int) -> None:
        told = self._told
        if told is not None:
            self.deliver(lambda: told(text, done, total))


class Tasks:
    """Runs tasks away from the GUI thread, a few side by side.

    Parameters
    ----------
    post
        How to get back to the GUI thread.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="task")
        self._running: set[Task] = set()

    def start(
        self,
        job: Callable[[Task], Result],
        done: Callable[[Future[Result]], None],
        told: Callable[[str | None, int, int], None] | None = None,
    ) -> Task:
        """Run `job` with its task, then `done` with its future on the GUI thread.

        `done` is not called for a task that was cancelled.
        """
        task = Task(self._post, told)
        self._running.add(task)
        future = self._pool.submit(job, task)
        future.add_done_callback(lambda f: self._post(partial(self._finish, task, done, f)))
        return task

    @property
    def busy(self) -> bool:
        """Whether anything is still under way that was not cancelled."""
        return any(not task.cancelled() for task in self._running)

    def close(self) -> None:
        """Stop everything and wait for it."""
        for task in self._running:
            task.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _finish(
        self, task: Task, done: Callable[[Future[Result]], None], future: Future[Result]
    ) -> None:
        self._running.discard(task)
        if not task.cancelled() and not future.cancelled():
            done(future)
