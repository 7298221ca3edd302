"""The training loop: a generator of events, the same for the command line and the window.

Whoever iterates decides: not asking for the next event pauses the run, closing the generator
stops it with its state on disk.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from crl_core.errors import InputError, OutputError
from crl_core.io.atomic import atomic_path
from crl_core.models import CRL, build_model
from crl_core.training.config import TrainingConfig
from crl_core.training.events import Event, Finished, Saved, Skipped, Started, Stepped, Validated
from crl_core.training.finish import write_checkpoint
from crl_core.training.objective import TensorBatch, loss_of_step
from crl_core.training.sampling import Batch, Sampler
from crl_core.training.validation import validate

STATE = "state.pt"
CONFIG = "config.json"


class Run:
    """A network in training with everything needed to go on from where it stopped.

    Parameters
    ----------
    config
        The settings.
    folder
        Where state and checkpoint go.
    device
        Where to compute.
    """

    def __init__(self, config: TrainingConfig, folder: Path, device: torch.device) -> None:
        self.config, self.folder, self.device = config, folder, device
        torch.manual_seed(config.seed)
        self.model: CRL = build_model(config.preset, **config.architecture).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.step = 0
        self.seconds = 0.0
        self.skipped_in_a_row = 0

    def begin_from(self, start: CRL) -> None:
        """Take over the weights of a trained network.

        Raises
        ------
        InputError
            When it has another architecture than the run's settings ask for.
        """
        own = self.model.state_dict()
        given = start.state_dict()
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in given.items()}:
            raise InputError(
                f"the network to start from is no {self.config.preset} of the sizes asked for",
                remedy="Name the preset it was trained with",
            )
        self.model.load_state_dict(given)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1: by time where a budget was named, else by steps."""
        by_steps = self.step / self.config.steps
        if self.config.minutes is None:
            return min(1.0, by_steps)
        return min(1.0, max(by_steps, self.seconds / (60.0 * self.config.minutes)))

    def learning_rate(self) -> float:
        """Warm-up, then half a cosine down to a hundredth of the peak."""
        c = self.config
        warm = min(1.0, (self.step + 1) / max(1, c.warmup))
        cosine = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * self.progress))
        return c.learning_rate * warm * cosine

    def advance(self, batch: Batch) -> tuple[float, dict[str, float], bool]:
        """Do one optimiser step; returns loss, its parts, and whether the step counted."""
        rate = self.learning_rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        tensors = TensorBatch.of(batch, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            loss, parts = loss_of_step(self.model, tensors, self.step, self.config)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        usable = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if usable:
            self.optimiser.step()
            self._update_average()
        self.step += 1
        return float(loss.detach()), {k: float(v.detach()) for k, v in parts.items()}, usable

    def _update_average(self) -> None:
        # A short memory at the start, so that the average does not drag the first weights along.
        decay = min(self.config.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1.0 - decay)
                else:
                    self.average[name].copy_(value)

    def averaged_model(self) -> CRL:
        """Return a copy of the network with the averaged weights, ready to use."""
        model = build_model(self.config.preset, **self.config.architecture)
        model.load_state_dict({k: v.cpu() for k, v in self.average.items()})
        return model.eval()

    def save(self) -> Path:
        """Write the state under a temporary name, flush it, and put it in place."""
        path = self.folder / STATE
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with atomic_path(path, overwrite=True) as temporary:
            torch.save(state, temporary)
        return path

    def load(self) -> None:
        """Go on from the saved state; only tensors and plain values are read from the file."""
        path = self.folder / STATE
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average = {k: v.to(self.device) for k, v in state["average"].items()}
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except FileNotFoundError:
            raise InputError(
                "the run holds no saved state", path=path, remedy="Start it without --resume"
            ) from None
        except (KeyError, ValueError, RuntimeError, OSError, EOFError, UnpicklingError) as error:
            raise InputError(f"the saved state cannot be used ({error})", path=path) from None


def prepare_folder(folder: Path, config: TrainingConfig, *, resume: bool) -> TrainingConfig:
    """Make or check the run folder; returns the settings that hold.

    Raises
    ------
    OutputError
        When the folder already holds a run and `resume` is False: nothing is overwritten.
    InputError
        When `resume` is True and there is nothing to go on with.
    """
    path = folder / CONFIG
    if resume:
        return TrainingConfig.load(path)
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(
            "the folder is not empty",
            path=folder,
            remedy="Name a new folder, or give --resume to go on with the run in it",
        )
    with atomic_path(path) as temporary:
        temporary.write_text(config.to_json(), encoding="utf-8")
    return config


def train(
    config: TrainingConfig,
    sampler: Sampler,
    validation: Sampler | None,
    folder: Path,
    *,
    resume: bool = False,
    start: CRL | None = None,
    device: str = "cpu",
    workers: int = 1,
) -> Generator[Event, None, None]:
    """Train and yield what happens.

    Parameters
    ----------
    config
        The settings; with `resume` those of the folder hold instead.
    sampler, validation
        Where batches come from; validation must draw on other subjects.
    folder
        The run's folder; made when missing.
    resume
        Go on from the folder's state.
    start
        A trained network of the same architecture to go on from with a fresh schedule; not
        together with `resume`.
    device
        A torch device name.
    workers
        Processes that prepare batches ahead; 0 prepares them in this one.

    Yields
    ------
    event
        See `crl_core.training.events`. When the generator is closed early the state is saved.
    """
    config = prepare_folder(folder, config, resume=resume)
    run = Run(config, folder, torch.device(device))
    if resume:
        run.load()
    elif start is not None:
        run.begin_from(start)
    yield Started(run.step, sampler.describe(), run.model.n_parameters)
    saved_at = time.monotonic()
    batches = _batches(sampler, run, workers)
    try:
        while run.progress < 1.0:
            began = time.monotonic()
            batch = next(batches)
            loss, parts, counted = run.advance(batch)
            run.seconds += time.monotonic() - began
            yield _step_event(run, loss, parts, counted)
            if validation is not None and run.step % config.validate_steps == 0:
                yield Validated(run.step, validate(run.averaged_model(), validation, config))
            if time.monotonic() - saved_at > config.save_seconds:
                yield Saved(run.step, run.save())
                saved_at = time.monotonic()
    finally:
        batches.close()
        run.save()
    model = run.averaged_model()
    metrics: dict[str, float] = {}
    if validation is not None:
        metrics = validate(model, validation, config)
        yield Validated(run.step, metrics)
    path = write_checkpoint(
        model,
        config,
        folder,
        data=sampler.describe(),
        coverage=sampler.coverage(),
        voxel_mm=sampler.voxel_mm,
        step=run.step,
        seconds=run.seconds,
        metrics={"validation PSNR, dB": metrics},
    )
    yield Finished(run.step, path)


def _step_event(run: Run, loss: float, parts: dict[str, float], counted: bool) -> Event:
    if not counted:
        run.skipped_in_a_row += 1
        if run.skipped_in_a_row >= 20:
            raise InputError(
                "the loss was not a number for 20 steps in a row",
                path=run.folder,
                remedy="Resume with a lower learning rate",
            )
        return Skipped(run.step, "One batch skipped: loss was not a number. Learning rate kept.")
    run.skipped_in_a_row = 0
    return Stepped(run.step, run.progress, loss, parts, run.learning_rate(), run.seconds)


def _batches(sampler: Sampler, run: Run, workers: int) -> Generator[Batch, None, None]:
    """Yield the batch of every step to come, prepared ahead by other processes if there are any."""
    if workers == 0:
        while True:
            yield sampler.batch(run.step, run.progress)
    config = run.config
    # Ramps follow steps where the budget is in steps; with a budget of time a worker cannot know
    # the progress at a later step, so the pace so far is used.
    dataset = _StepDataset(sampler, config)
    loader: Any = torch.utils.data.DataLoader(
        dataset,
        batch_size=None,
        sampler=_StepOrder(run),
        num_workers=workers,
        prefetch_factor=4,
        persistent_workers=False,
    )
    iterator: Iterator[tuple[Tensor, ...]] = iter(loader)
    try:
        for parts in iterator:
            yield Batch(*(p.numpy() for p in parts))
    finally:
        del iterator, loader


class _StepOrder(torch.utils.data.Sampler[tuple[int, float]]):
    """Counts steps on from the run's, each with the progress expected at it."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __iter__(self) -> Iterator[tuple[int, float]]:
        step = self.run.step
        while True:
            yield step, self.run.progress
            step += 1


class _StepDataset(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    def __init__(self, sampler: Sampler, config: TrainingConfig) -> None:
        self.sampler, self.config = sampler, config

    def __getitem__(self, key: tuple[int, float]) -> tuple[Tensor, ...]:
        torch.set_num_threads(1)
        step, progress = key
        if self.config.minutes is None:
            progress = step / self.config.steps
        batch = self.sampler.batch(step, progress)
        parts = (batch.images, batch.scales, batch.parameters, batch.mask)
        return tuple(torch.from_numpy(p) for p in parts)
