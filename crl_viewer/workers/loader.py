"""Reads files and prepares scans on one thread, in the order asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Result = TypeVar("Result")
Post = Callable[[Callable[[], None]], None]
"""Runs a callable later on the thread that owns the window."""


class Loader:
    """Runs jobs one after the other away from the GUI thread.

    Parameters
    ----------
    post
        How to get back to the GUI thread.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._pending = 0

    def submit(
        self, job: Callable[[], Result], done: Callable[[Future[Result]], None]
    ) -> Future[Result]:
        """Run `job`, then `done` with its future on the GUI thread."""
        self._pending += 1
        future = self._pool.submit(job)
        future.add_done_callback(lambda f: self._post(partial(self._finish, done, f)))
        return future

    @property
    def busy(self) -> bool:
        """Whether any job is still under way."""
        return self._pending > 0

    def close(self) -> None:
        """Forget what has not started and wait for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _finish(self, done: Callable[[Future[Result]], None], future: Future[Result]) -> None:
        self._pending -= 1
        if not future.cancelled():
            done(future)
