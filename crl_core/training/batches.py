"""Batches prepared ahead by other processes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from crl_core.training.batch import Batch, Sampler
from crl_core.training.run import Run, undisturbed


def batches(sampler: Sampler, run: Run, workers: int) -> Generator[Batch, None, None]:
    """Yield the batch of every step to come, this process's rows of it.

    Parameters
    ----------
    sampler
        Where they come from.
    run
        Says which step is next and how far the run is.
    workers
        Processes that prepare them ahead; 0 prepares them in this one.
    """
    rows = run.rows()
    if workers == 0:
        while True:
            yield sampler.batch(run.step, run.progress, rows)
    loader: Any = torch.utils.data.DataLoader(
        _StepDataset(sampler, rows, run.config.steps if run.config.minutes is None else None),
        batch_size=None,
        sampler=_StepOrder(run),
        num_workers=workers,
        prefetch_factor=4,
        persistent_workers=False,
    )
    # Ctrl+C is lost where it arrives while a process is split in two.
    with undisturbed():
        iterator: Iterator[tuple[Tensor, ...]] = iter(loader)
    try:
        for parts in iterator:
            yield Batch(*(p.numpy() for p in parts))
    finally:
        del iterator, loader


class _StepOrder(torch.utils.data.Sampler[tuple[int, float]]):
    """Counts steps on from the run's, each with the progress when it was asked for.

    Where the budget is a time, a worker cannot know the progress at a later step.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def __iter__(self) -> Iterator[tuple[int, float]]:
        step = self.run.step
        while True:
            yield step, self.run.progress
            step += 1


class _StepDataset(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    def __init__(self, sampler: Sampler, rows: range, steps: int | None) -> None:
        self.sampler, self.rows, self.steps = sampler, rows, steps

    def __getitem__(self, key: tuple[int, float]) -> tuple[Tensor, ...]:
        torch.set_num_threads(1)
        step, progress = key
        if self.steps is not None:
            progress = step / self.steps
        batch = self.sampler.batch(step, progress, self.rows)
        parts = (batch.images, batch.scales, batch.parameters, batch.mask)
        return tuple(torch.from_numpy(p) for p in parts)
