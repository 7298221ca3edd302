"""One step of a small network on several processor cores: each computes the gradient of some rows.

Inside one small layer there is too little work for two threads: they wait for each other between
any two operations. Rows of a batch need nothing of each other, so each lane takes its rows through
the whole network and back, and the gradients are added in a fixed order at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from itertools import chain
from threading import Barrier
from typing import Any

import torch
from torch import nn

MOST_PARAMETERS = 5_000_000
"""Larger networks keep the cores busy by themselves, and copies of their gradient cost memory."""

Part = Callable[[nn.Module], Any]
"""Computes the loss of some rows with a network and sends it back through."""


def lane_count(threads: int, rows: int) -> int:
    """Return into how many lanes to share out the rows of a batch.

    As many threads as there are shall have work, and each lane as many rows.

    >>> lane_count(2, 4), lane_count(8, 4), lane_count(6, 4), lane_count(3, 4), lane_count(4, 1)
    (2, 4, 2, 2, 1)
    """
    fitting = [n for n in range(1, threads + 1) if rows % n == 0]
    # A lane with two threads or more is no reason to leave a core idle, but one lane alone is.
    return max(fitting, key=lambda n: (n > 1, n * (threads // n), n))


class Lanes:
    """A network and copies of it that share its weights but have gradients of their own.

    Parameters
    ----------
    module
        The network with its loss, not wrapped by anything: wrappers keep one note of what is going
        on for all threads. Its gradients are the ones that count.
    count
        How many lanes, the network's own included.
    """

    def __init__(self, module: nn.Module, count: int) -> None:
        self.count = count
        self._module = module
        self._copies = [_sharing(module) for _ in range(count - 1)]
        self._pool = _pool(count)

    def run(self, parts: list[Part]) -> list[Any]:
        """Do up to `count` parts at once; afterwards the network holds the sum of the gradients.

        Parameters
        ----------
        parts
            What each lane does.

        Raises
        ------
        RuntimeError
            The first failure of any part, once all have ended.
        """
        for one in self._copies:
            one.zero_grad(set_to_none=True)
        networks = [self._module, *self._copies][: len(parts)]
        futures = [self._pool.submit(part, net) for part, net in zip(parts, networks, strict=True)]
        wait(futures)
        found = [future.result() for future in futures]
        for one in self._copies[: len(parts) - 1]:
            _add_gradients(self._module, one)
        return found


def _sharing(module: nn.Module) -> nn.Module:
    """Return a copy whose weights lie in the same memory."""
    made = copy.deepcopy(module)
    own: Any = chain(made.parameters(), made.buffers())
    for mine, shared in zip(own, chain(module.parameters(), module.buffers()), strict=True):
        mine.data = shared.data
    return made


def _add_gradients(to: nn.Module, of: nn.Module) -> None:
    sums, more = [], []
    pairs: Any = zip(to.parameters(), of.parameters(), strict=True)
    for own, other in pairs:
        if other.grad is None:
            continue
        if own.grad is None:
            own.grad = other.grad.clone()
        else:
            sums.append(own.grad)
            more.append(other.grad)
    if sums:
        torch._foreach_add_(sums, more)


def _pool(count: int) -> ThreadPoolExecutor:
    """Return threads that share out the cores; the caller keeps all of them for itself."""
    threads = torch.get_num_threads()
    there = Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "lane", partial(_begin, max(1, threads // count), there))
    for _ in range(count):
        pool.submit(int)
    there.wait()
    # The number is kept per thread, but new threads take over the one that was set last.
    torch.set_num_threads(threads)
    return pool


def _begin(threads: int, there: Barrier) -> None:
    # Asked first: a thread that was never asked takes over the caller's number with its first sum.
    torch.get_num_threads()
    torch.set_num_threads(threads)
    there.wait()
