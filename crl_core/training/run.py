"""A network in training: one step after another, on whatever device there is."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from crl_core.card import Card
from crl_core.errors import InputError
from crl_core.models import CRL, build_model
from crl_core.training.batch import Batch
from crl_core.training.config import TrainingConfig
from crl_core.training.folder import STATE, RunFolder
from crl_core.training.lanes import MOST_PARAMETERS, Lanes, lane_count
from crl_core.training.muon import Muon
from crl_core.training.objective import StepLoss, TensorBatch, n_sources, pairs_of_step
from crl_core.training.state import (
    AVERAGE,
    MODEL,
    Progress,
    in_training,
    load_optimiser,
    part,
    random_state,
    read_state,
    restore_random,
    write_state,
)

if TYPE_CHECKING:
    from crl_core.training.adversarial import Adversary

Precision = Literal["bf16-mixed", "32-true"]

_Told = tuple[float, float, dict[str, float]]
"""Share of the step, loss and its parts."""


def make_fabric(
    device: str, precision: str, preset: str = "crl-plus", *, alone: bool = False
) -> Fabric:
    """Return what runs a step on a device, or on several under ``torchrun``.

    Parameters
    ----------
    device
        ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    precision
        ``"bf16"`` or ``"fp32"``.
    preset
        The network: crl-paper and crl-plus hold weights that no gradient reaches, which several
        devices must be told.
    alone
        Leave other processes out, even under ``torchrun``.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    kind: Precision = "bf16-mixed" if precision == "bf16" else "32-true"
    accelerator, _, index = device.partition(":")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not alone:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        strategy = DDPStrategy(find_unused_parameters=preset in ("crl-paper", "crl-plus"))
        return Fabric(
            accelerator=accelerator, devices=here, num_nodes=world // here,
            strategy=strategy, precision=kind,
        )  # fmt: skip
    devices: Any = [int(index)] if index else 1
    return Fabric(accelerator=accelerator, devices=devices, precision=kind)


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """Let several processes leave together, their connections closed while all are still there.

    One that ends while another still writes the finished network leaves that to what the
    interpreter does last, with threads of the connection still running.
    """
    try:
        yield
        if fabric.world_size > 1:
            fabric.barrier()
    finally:
        if fabric.world_size > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back Ctrl+C and a polite kill for a moment.

    They arrive between any two lines, and half an optimiser step must never be saved.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            own = signal.getsignal(number)
            if callable(own):
                before[number] = own
                signal.signal(number, lambda arrived, _: came.append(arrived))
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)
    if came:
        signal.raise_signal(came[0])


class Run:
    """A network in training with everything needed to go on from where it stopped.

    Parameters
    ----------
    config
        The settings.
    folder
        Where its state goes.
    fabric
        Where to compute, launched.
    """

    def __init__(self, config: TrainingConfig, folder: RunFolder, fabric: Fabric) -> None:
        self.config, self.folder, self.fabric = config, folder, fabric
        torch.manual_seed(config.seed)
        self.model: CRL = build_model(config.preset, **config.architecture)
        self.model.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adversary = _adversary(self.model, config, fabric)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        optimiser = self._optimiser()
        loss = StepLoss(self.model, config)
        if config.compile:
            loss.compile()
        self.loss: Any
        self.optimiser: Any
        self._module = loss
        self.loss, self.optimiser = fabric.setup(loss, optimiser)
        self.step = 0
        self.seconds = 0.0
        self.skipped_in_a_row = 0
        self.accumulate = config.accumulate
        self.looked = 0
        self.whole = True  # not so in the midst of a step
        self.best_step = 0
        self.best_score: float | None = None
        self.notes: list[str] = [] if self.adversary is None else self.adversary.notes()

    def _optimiser(self) -> torch.optim.Optimizer:
        rate = self.config.learning_rate
        if self.adversary is not None:
            return torch.optim.Adam(self.model.parameters(), lr=rate, betas=self.adversary.betas)
        if self.config.chosen_optimiser() == "muon":
            return Muon(self.model, rate)
        return torch.optim.Adam(self.model.parameters(), lr=rate, betas=(0.9, 0.999))

    def _set_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)

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

    # where it stands ---------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1: by time where a budget was named, else by steps."""
        by_steps = self.step / self.config.steps
        if self.config.minutes is None:
            return min(1.0, by_steps)
        return min(1.0, max(by_steps, self.seconds / (60.0 * self.config.minutes)))

    @property
    def total(self) -> int:
        """Steps of the whole run; an estimate where a time was named."""
        if self.config.minutes is None or self.step == 0:
            return self.config.steps
        return min(self.config.steps, round(self.step / max(self.progress, 1e-6)))

    def learning_rate(self) -> float:
        """Warm-up, then the schedule."""
        c = self.config
        peak, progress = c.learning_rate, self.progress
        if self.adversary is not None:
            peak, progress = self.adversary.stage(progress)
        peak *= min(1.0, (self.step + 1) / max(1, c.warmup))
        if c.schedule == "halving":
            return peak * 0.5 ** math.floor(5.0 * min(progress, 0.999))
        if c.schedule == "plateau":
            return peak * min(1.0, 2.0 * (1.0 - progress))
        return peak * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))

    def rows(self) -> range:
        """Return which rows of a batch are this process's own.

        Raises
        ------
        InputError
            When the batch cannot be shared out evenly.
        """
        world, rank = self.fabric.world_size, self.fabric.global_rank
        each, left = divmod(self.config.batch, world)
        if left:
            raise InputError(
                f"a batch of {self.config.batch} cannot be shared by {world} processes",
                remedy=f"Set batch to a multiple of {world}",
            )
        return range(rank * each, (rank + 1) * each)

    def pairs(self, contrasts: int) -> int:
        """Return how many images all processes together render and compare in a step."""
        return self.config.batch * pairs_of_step(self.model, self.config, contrasts)

    # a step ------------------------------------------------------------------------------------

    def advance(self, batch: Batch) -> tuple[float, dict[str, float], bool]:
        """Do one optimiser step; returns loss, its parts, and whether the step counted."""
        if self.adversary is not None:
            return self.adversary.advance(self, batch)
        rate = self.learning_rate()
        self._set_rate(rate)
        self.model.train()
        tensors = TensorBatch.of(batch, self.fabric.device)
        loss, parts = self._gradient(tensors)
        limit = self.config.clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        loss, parts = self._shared(loss, parts)
        usable = math.isfinite(loss) and bool(torch.isfinite(norm))
        with undisturbed():
            self.whole = False
            if usable:
                self.optimiser.step()
                self.update_average()
            self.step += 1
            self.whole = True
        return loss, parts, usable

    def _gradient(self, tensors: TensorBatch) -> tuple[float, dict[str, float]]:
        """Compute the gradient; where memory is short, in more and smaller parts."""
        while True:
            self.optimiser.zero_grad(set_to_none=True)
            try:
                return self._in_parts(tensors)
            except RuntimeError as error:
                if not out_of_memory(error) or self.fabric.world_size > 1:
                    raise
                if self.accumulate >= len(tensors):
                    raise InputError(
                        "the memory is full even for one crop at a time",
                        remedy="Set a smaller crop, or fewer contrasts",
                    ) from error
            # Outside the handler, so that nothing of the failed step is kept alive by it.
            self.accumulate = min(len(tensors), 2 * self.accumulate)
            if self.fabric.device.type == "cuda":
                torch.cuda.empty_cache()
            each = -(-len(tensors) // self.accumulate)
            self.notes.append(
                f"Memory is full. Going on with {each} crop{'s' if each > 1 else ''} at a time, "
                f"{self.accumulate} times a step; the gradient is the same."
            )

    def _in_parts(self, tensors: TensorBatch) -> tuple[float, dict[str, float]]:
        c = self.config
        contrasts = tensors.images.shape[1]
        sources = n_sources(self.step, c, contrasts, self.model.max_sources)
        total, named = 0.0, dict[str, float]()
        parts = list(tensors.split(self.accumulate))
        for number, some in enumerate(parts):
            share = len(some) / len(tensors)
            # Several devices share the gradient once a step, with its last part.
            alone = self.fabric.world_size == 1 or number == len(parts) - 1
            with nullcontext() if alone else self.fabric.no_backward_sync(self.loss):
                told = self._through(some, share, sources)
            for weight, loss, terms in told:
                total += weight * loss
                for name, value in terms.items():
                    named[name] = named.get(name, 0.0) + weight * value
        return total, named

    def _through(self, some: TensorBatch, share: float, sources: int) -> list[_Told]:
        """Take rows through the network and back, on a processor in several lanes."""
        if self._lanes is None or len(some) < self._lanes.count:
            loss, terms = self._loss_of(self.loss, some, sources)
            self.fabric.backward(loss * share)
            return [_told(share, loss, terms)]
        pieces = list(some.split(self._lanes.count))
        shares = [share * len(piece) / len(some) for piece in pieces]
        return self._lanes.run(
            [partial(self._in_lane, p, s, sources) for p, s in zip(pieces, shares, strict=True)]
        )

    def _in_lane(self, some: TensorBatch, share: float, sources: int, module: nn.Module) -> _Told:
        """Do what Fabric does elsewhere, without what it remembers for all threads at once.

        The cache of weights in half precision is such a thing too: one lane would empty it while
        another is in the midst of a pass, and the sums would come out another way each time.
        """
        half = self.config.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16, enabled=half, cache_enabled=False):
            loss, terms = self._loss_of(module, some, sources)
        (loss * share).backward()
        return _told(share, loss, terms)

    @staticmethod
    def _loss_of(module: Any, some: TensorBatch, sources: int) -> tuple[Tensor, dict[str, Tensor]]:
        found: tuple[Tensor, dict[str, Tensor]] = module(
            some.images, some.scales, some.parameters, some.mask, sources
        )
        return found

    @cached_property
    def _lanes(self) -> Lanes | None:
        """What shares a step among the cores; made with the first step, as many as there are."""
        fabric, config = self.fabric, self.config
        if fabric.device.type != "cpu" or fabric.world_size > 1 or config.compile:
            return None
        if self.model.n_parameters > MOST_PARAMETERS:
            return None
        count = lane_count(torch.get_num_threads(), config.batch)
        return Lanes(self._module, count) if count > 1 else None

    def _shared(self, loss: float, parts: dict[str, float]) -> tuple[float, dict[str, float]]:
        """Average over all processes; each has as many rows."""
        if self.fabric.world_size == 1:
            return loss, parts
        values = torch.tensor([loss, *parts.values()], dtype=torch.float64)
        mean: Any = self.fabric.all_reduce(values.to(self.fabric.device), reduce_op="mean")
        whole = mean.tolist()
        return whole[0], dict(zip(parts, whole[1:], strict=True))

    def update_average(self) -> None:
        """Move the average towards the weights after a step."""
        # A short memory at the start, so that the average does not drag the first weights along.
        decay = min(self.config.average, (self.step + 1) / (self.step + 10))
        state = self.model.state_dict()
        names = [n for n, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_(
            [self.average[n] for n in names], [state[n] for n in names], 1.0 - decay
        )

    def averaged_model(self) -> CRL:
        """Return a copy of the network with the averaged weights, on the CPU and ready to use."""
        with torch.random.fork_rng(devices=[]):
            model = build_model(self.config.preset, **self.config.architecture)
        model.load_state_dict({k: v.cpu() for k, v in self.average.items()})
        return model.eval()

    # on disk -----------------------------------------------------------------------------------

    def save(self, card: Card) -> None:
        """Write the state; `card` is that of the averaged network.

        Raises
        ------
        OutputError
            When the disk refuses; the older state stays.
        """
        self.folder.check_here()
        progress = Progress(
            step=self.step,
            seconds=self.seconds,
            skipped=self.skipped_in_a_row,
            accumulate=self.accumulate,
            looked=self.looked,
            best_step=self.best_step,
            best_score=self.best_score,
            **random_state(self.fabric.device),
        )
        write_state(
            self.folder / STATE,
            self.model.state_dict(),
            self.average,
            self.optimiser.optimizer,
            progress,
            in_training(card, self.step),
            None if self.adversary is None else self.adversary.tensors(),
        )

    def load(self) -> None:
        """Go on from the saved state.

        Raises
        ------
        InputError
            When it is missing, damaged or of another network.
        """
        path = self.folder / STATE
        self.whole = False
        tensors, progress = read_state(path)
        try:
            self.model.load_state_dict(part(tensors, MODEL))
            found = part(tensors, AVERAGE)
            self.average = {k: found[k].to(v.device) for k, v in self.average.items()}
            load_optimiser(self.optimiser.optimizer, tensors)
            if self.adversary is not None:
                self.adversary.load(tensors)
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                "the saved state is of another network",
                path=path,
                remedy="Restore config.json as it was",
            ) from error
        self.step, self.seconds = progress.step, progress.seconds
        self.skipped_in_a_row, self.accumulate = progress.skipped, progress.accumulate
        self.looked = progress.looked
        self.best_step, self.best_score = progress.best_step, progress.best_score
        restore_random(progress, self.fabric.device)
        self.whole = True


def _told(share: float, loss: Tensor, terms: dict[str, Tensor]) -> _Told:
    return share, float(loss.detach()), {k: float(v.detach()) for k, v in terms.items()}


def _adversary(model: CRL, config: TrainingConfig, fabric: Fabric) -> Adversary | None:
    """Return what a network is trained against, where it is one of those."""
    from crl_core.training.adversarial import adversary_of

    return adversary_of(model, config, fabric)


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "can't allocate memory" in text or "not enough memory" in text
