"""One thread, one waiting slot: the newest request always runs in the end, older ones may not.

A drag on a slider asks for far more pictures than can be computed. A queue would replay them
long after the hand has stopped; here a new request replaces the one that waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Request = TypeVar("Request")
Newer = Callable[[], bool]


class LatestWins(Generic[Request]):
    """Runs the newest of the requests it is given.

    Parameters
    ----------
    work
        Called on the worker thread as ``work(request, newer)``; `newer` tells at any time
        whether another request waits, so that optional parts can be left out.
    rest
        Called the same way once no request has come for `rest_after` seconds. It should return
        soon after ``newer()`` becomes true.
    failed
        Called on the worker thread with an exception that `work` or `rest` let through; the
        worker goes on with the next request.
    rest_after
        Seconds of quiet that count as rest.
    """

    def __init__(
        self,
        work: Callable[[Request, Newer], None],
        rest: Callable[[Request, Newer], None],
        failed: Callable[[BaseException], None],
        *,
        rest_after: float = 0.35,
    ) -> None:
        self._work = work
        self._rest = rest
        self._failed = failed
        self._rest_after = rest_after
        self._wake = threading.Condition()
        self._waiting: Request | None = None
        self._errands: deque[Callable[[], None]] = deque()
        self._running = False
        self._closed = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="render")

    def submit(self, request: Request) -> None:
        """Ask for `request`; whatever was waiting is forgotten."""
        with self._wake:
            if self._closed:
                return
            self._waiting = request
            self._wake.notify_all()
            if not self._running:
                self._start()

    def errand(self, job: Callable[[], None]) -> None:
        """Run `job` on the worker thread, before the next request; it is never replaced."""
        with self._wake:
            if self._closed:
                return
            self._errands.append(job)
            self._wake.notify_all()
            if not self._running:
                self._start()

    def newer(self) -> bool:
        """Return whether the running request should make way."""
        with self._wake:
            return self._stirred()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits; return False when the time is up."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._running, timeout)

    def close(self) -> None:
        """Drop what waits, tell what runs to stop and wait for it."""
        with self._wake:
            self._closed = True
            self._waiting = None
            self._errands.clear()
            self._wake.notify_all()
        self._pool.shutdown(wait=True)

    def _start(self) -> None:
        self._running = True
        self._pool.submit(self._drain).add_done_callback(self._drained)

    def _stirred(self) -> bool:
        return self._waiting is not None or bool(self._errands) or self._closed

    def _drain(self) -> None:
        while True:
            errand, request = self._take()
            if errand is not None:
                errand()
            elif request is not None:
                self._work(request, self.newer)
                if self._quiet():
                    self._rest(request, self.newer)
            else:
                return

    def _take(self) -> tuple[Callable[[], None] | None, Request | None]:
        with self._wake:
            if self._errands:
                return self._errands.popleft(), None
            request, self._waiting = self._waiting, None
            return None, request

    def _quiet(self) -> bool:
        with self._wake:
            return not self._wake.wait_for(self._stirred, self._rest_after)

    def _drained(self, future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            self._failed(error)
        with self._wake:
            if self._stirred() and not self._closed:
                self._start()
            else:
                self._running = False
                self._wake.notify_all()
