"""How fast a run is and what it takes of the machine."""

from __future__ import annotations

import os
import sys
import time
from collections import deque

import torch

_STEPS = 50


class Meter:
    """Measures the last steps.

    Parameters
    ----------
    device
        Kind of the device.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._steps: deque[tuple[int, float]] = deque(maxlen=_STEPS)
        self._marks: deque[tuple[float, float]] = deque(maxlen=_STEPS)

    def step(self, pairs: int, seconds: float) -> None:
        """Count one step."""
        self._steps.append((pairs, seconds))
        self._marks.append((time.monotonic(), time.process_time()))

    def pairs_per_second(self) -> float:
        """Return source-target pairs per second."""
        seconds = sum(s for _, s in self._steps)
        return sum(p for p, _ in self._steps) / seconds if seconds > 0 else 0.0

    def seconds_per_step(self) -> float:
        """Return the mean time of a step."""
        return sum(s for _, s in self._steps) / max(1, len(self._steps))

    def busy_percent(self) -> float:
        """Return the share of the processors this process used lately, per cent."""
        if len(self._marks) < 2:
            return 0.0
        (wall, used), (later, more) = self._marks[0], self._marks[-1]
        cores = os.cpu_count() or 1
        return 100.0 * (more - used) / max(later - wall, 1e-9) / cores

    def memory_mb(self) -> float:
        """Return the largest memory taken so far, MB: on a GPU there, else by this process."""
        if self._device == "cuda":
            return float(torch.cuda.max_memory_allocated()) / 1e6
        try:
            import resource
        except ImportError:  # not on Windows
            return 0.0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
