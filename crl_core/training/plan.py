"""From a wish ("twenty minutes") to settings, measured on the machine that will do the work."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from crl_core.card import Card
from crl_core.devices import device_name
from crl_core.errors import InputError
from crl_core.models import architecture_of, build_model, preset_config
from crl_core.training.config import (
    FINE_TUNE_MINUTES,
    QUICK_MINUTES,
    PlanName,
    TrainingConfig,
)
from crl_core.training.data import TrainingData, open_data
from crl_core.training.data_config import DataConfig
from crl_core.training.files import SubjectSampler
from crl_core.training.folder import RunFolder
from crl_core.training.loop import SHARE_FOR_JUDGING, SHARE_FOR_SAVING
from crl_core.training.run import Run, make_fabric

ENOUGH_STEPS = 1500
"""With fewer steps than this a smaller network gets further; measured, see docs/training.md."""

NARROWER: tuple[dict[str, Any], ...] = (
    {},
    {"widths": [24, 48, 72, 96, 144]},
    {"widths": [16, 32, 48, 64, 96], "code_width": 48, "residual_width": 24, "entries": 128},
    {"widths": [10, 20, 30, 40], "code_width": 32, "residual_width": 16, "entries": 96},
)
"""Sizes of crl-plus to choose from, the largest first."""

LARGE, LARGE_CROP = 5_000_000, 24
_KEPT_FREE = SHARE_FOR_SAVING + SHARE_FOR_JUDGING
_WARM, _TIMED, _TURNS = 1, 3, 2


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Parameters
    ----------
    config
        The settings planned.
    steps, seconds
        Of the whole run.
    pairs_per_second
        Source-target pairs, measured.
    memory_mb, disk_mb
        Peak memory of the process, or of the GPU, and the size of the run's folder.
    device, precision, network, n_parameters
        Where and what.
    people
        How many to train, to validate and to test.
    """

    config: TrainingConfig
    steps: int
    seconds: float
    pairs_per_second: float
    memory_mb: float
    disk_mb: float
    device: str
    precision: str
    network: str
    n_parameters: int
    people: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "config": asdict(self.config)}


# settings ---------------------------------------------------------------------------------------


def planned(
    name: PlanName | None,
    base: TrainingConfig,
    *,
    minutes: float | None = None,
    start: Card | None = None,
) -> TrainingConfig:
    """Return the settings of a plan before the machine is measured.

    Parameters
    ----------
    name
        ``"quick"``, ``"time"``, ``"paper"`` or ``"fine-tune"``; None keeps `base`.
    base
        What the plan does not say.
    minutes
        The time, where the user names one.
    start
        Card of the network to go on from; its architecture is kept.
    """
    config = base
    if start is not None:
        own = preset_config(start.preset)
        changed = dict(start.architecture)
        if changed.get("kind") == own["kind"]:
            changed = {k: v for k, v in changed.items() if own.get(k) != v}
        config = replace(config, preset=start.preset, architecture=changed)
    if name == "paper":
        return paper_settings(config)
    if name == "quick":
        return replace(config, minutes=minutes or QUICK_MINUTES, warmup=50, batch=4, crop=64)
    if name == "fine-tune" or (name is None and start is not None and base == TrainingConfig()):
        return fine_tuning(config, minutes)
    if name == "time":
        return replace(config, minutes=minutes or 60.0)
    return config if minutes is None else replace(config, minutes=minutes)


def fine_tuning(config: TrainingConfig, minutes: float | None) -> TrainingConfig:
    """Return settings for going on with a trained network: gentle, and rehearsing what it knew."""
    return replace(
        config,
        minutes=minutes or FINE_TUNE_MINUTES,
        learning_rate=2e-4,
        warmup=50,
        rehearse=0.3,
        ramp=0.0,
        batch=4,
        crop=80,
    )


def paper_settings(config: TrainingConfig) -> TrainingConfig:
    """Return the schedule of the paper and of the authors' code.

    1000 epochs of random 64 x 64 crops in batches of four, Adam at 1e-4 halved after every fifth
    of the run, all ordered pairs of seven sequences, L1 over the whole crop and 0.1 of the
    structural term over consecutive sources; no warm-up, no clipping, no averaging of weights.
    The steps of an epoch follow from the data (`epoch_steps`).
    """
    return replace(
        config,
        preset=config.preset if config.preset in ("crl-code", "crl-paper") else "crl-code",
        architecture=config.architecture if config.preset in ("crl-code", "crl-paper") else {},
        minutes=None,
        batch=4,
        crop=64,
        contrasts=7,
        encoded=9,
        identity=False,
        learning_rate=1e-4,
        warmup=0,
        schedule="halving",
        clip=0.0,
        average=0.0,
        air_weight=1.0,
        gradient_loss=0.0,
        structure_loss=0.1,
        structure_pairs="consecutive",
        random_sequences=0.0,
        jitter=0.0,
        wide=0.0,
        ramp=0.0,
        sequences=(1, 2, 3, 5, 7, 8, 9),
    )


PAPER_EPOCHS, PAPER_REPEAT = 1000, 16


def epoch_steps(data: TrainingData, config: TrainingConfig) -> int:
    """Return the steps of an epoch of the paper: every slice 16 times.

    Digital subjects have no end; eight subjects of 25 slices, as in the paper, count there.
    """
    sampler = data.train
    slices = 8 * 25
    if isinstance(sampler, SubjectSampler):
        slices = sum(len(s.slices) for s in sampler.subjects)
    return max(1, -(-slices * PAPER_REPEAT // config.batch))


# measuring --------------------------------------------------------------------------------------


def choose_precision(config: TrainingConfig, device: str) -> TrainingConfig:
    """Settle ``"auto"``: the precision in which a step of this network is faster here.

    A whole step is taken: of a small part of one the fixed costs hide the difference. Only of a
    large network a part has to do. Both take turns, and the quicker of each one's steps counts, so
    that other work on the machine does not decide.
    """
    if config.precision != "auto":
        return config
    if not _may_gain_from_half(device):
        return replace(config, precision="fp32")
    short = replace(config, accumulate=1, compile=False)
    large = _is_large(config)
    if large:
        short = replace(short, batch=1, crop=16, contrasts=2)
    times: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        probes = {}
        for precision in ("fp32", "bf16"):
            with suppress(RuntimeError, TypeError, NotImplementedError):
                # A device may not be able to do it at all.
                probe = _Probe(replace(short, precision=precision), device, Path(folder))
                times[precision] = probe.seconds_per_step(steps=1)
                probes[precision] = probe
        for _ in range(0 if large else _TURNS):
            for precision, probe in probes.items():
                times[precision] = min(times[precision], probe.seconds_per_step(1, warm=0))
    best = min(times, key=lambda p: times[p]) if times else "fp32"
    return replace(config, precision=best)


def _may_gain_from_half(device: str) -> bool:
    """Return whether half precision is worth trying.

    A processor that stops at AVX2 has no instruction for it, and what the library does instead is
    slow: trying it on a crl-code of a thirtieth of its size had not ended after 14 minutes.
    """
    return device != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2"


def settled(
    config: TrainingConfig, data: TrainingData, device: str, *, sized: bool
) -> tuple[TrainingConfig, Estimate]:
    """Measure a few steps and settle size, steps and rhythm.

    Parameters
    ----------
    config
        The settings of a plan.
    data
        The opened data.
    device
        Where to compute.
    sized
        Whether a smaller network may be taken to get enough steps into the time.

    Returns
    -------
    config
        With everything settled.
    estimate
        What the run will take.
    """
    config = choose_precision(config, device)
    if config.schedule == "halving" and config.minutes is None:
        config = replace(config, steps=PAPER_EPOCHS * epoch_steps(data, config))
    pace, pairs, memory = _measured(config, data, device)
    if sized and config.minutes is not None and config.preset == "crl-plus":
        for smaller in NARROWER[1:]:
            if _steps_in(config.minutes, pace) >= ENOUGH_STEPS:
                break
            config = replace(config, architecture=smaller)
            pace, pairs, memory = _measured(config, data, device)
    if config.minutes is not None:
        # Time decides; the number of steps only has to be out of the way.
        expected = _steps_in(config.minutes, pace)
        config = replace(config, steps=max(4 * expected, 100))
    else:
        expected = config.steps
    config = replace(config, **_rhythm(expected, config))
    seconds = 60.0 * config.minutes if config.minutes is not None else expected * pace
    model = build_model(config.preset, **config.architecture)
    return config, Estimate(
        config=config,
        steps=expected,
        seconds=seconds,
        pairs_per_second=pairs / pace,
        memory_mb=memory,
        disk_mb=_disk_mb(model.n_parameters, expected, config, data),
        device=device_name(torch.device(device)),
        precision=config.precision,
        network=config.preset,
        n_parameters=model.n_parameters,
        people=data.people,
    )


def _rhythm(expected: int, config: TrainingConfig) -> dict[str, Any]:
    """Return how often to validate and how long to warm up, where the settings leave it open."""
    defaults = TrainingConfig()
    found: dict[str, Any] = {}
    if config.validate_steps == defaults.validate_steps:
        # About forty looks at the validation people in a run, never more than every 50 steps.
        found["validate_steps"] = int(min(1000, max(50, expected // 40)))
    found["warmup"] = min(config.warmup, max(1, expected // 10)) if config.warmup else 0
    return found


def _steps_in(minutes: float, pace: float) -> int:
    return max(1, int(60.0 * minutes * (1 - _KEPT_FREE) / pace))


class _Probe:
    """A throwaway run to take times from."""

    def __init__(
        self,
        config: TrainingConfig,
        device: str,
        folder: Path,
        data: TrainingData | None = None,
        *,
        whole: bool = True,
    ) -> None:
        fabric = make_fabric(device, config.precision, config.preset, alone=True)
        with torch.random.fork_rng(devices=[]):
            self.run = Run(config, RunFolder(folder), fabric)
        self.sampler = data.train if data is not None else None
        shown = self.sampler if whole else None
        self.batch = shown.batch(0, 1.0) if shown is not None else _noise(config)

    def seconds_per_step(self, steps: int = _TIMED, *, warm: int = _WARM) -> float:
        """Return the time of one step, its batch made ahead."""
        for _ in range(warm):
            self.run.advance(self.batch)
        began = time.perf_counter()
        for _ in range(steps):
            self.run.advance(self.batch)
        if self.run.fabric.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / steps


def _measured(
    config: TrainingConfig, data: TrainingData, device: str
) -> tuple[float, int, float]:
    """Return seconds per step, pairs per step and peak memory in MB.

    Of a large network one small crop is timed, and the rest of the batch is reckoned: a whole step
    of the paper's size takes minutes on two cores, and a window waits for the answer.
    """
    from crl_core.training.meter import Meter

    meter = Meter(device.split(":")[0])
    before, factor, short = meter.memory_mb(), 1.0, config
    if device == "cpu" and _is_large(config):
        short = replace(config, batch=1, crop=min(config.crop, LARGE_CROP))
        factor = config.batch * (config.crop / short.crop) ** 2
    with TemporaryDirectory() as folder:
        probe = _Probe(short, device, Path(folder), data, whole=factor == 1.0)
        pace = factor * probe.seconds_per_step(_TIMED if factor == 1.0 else 1)
    assert probe.sampler is not None
    began = time.perf_counter()
    probe.sampler.batch(1, 1.0)
    making = time.perf_counter() - began
    if device == "cpu" and torch.get_num_threads() < 4:
        # With few cores the process that makes batches takes its time from the one that learns.
        pace += making / max(1, torch.get_num_threads())
    else:
        pace = max(pace, making)
    contrasts = probe.sampler.batch(0, 1.0, range(1)).images.shape[1]
    pairs = config.batch * probe.run.pairs(contrasts) // short.batch
    return pace, pairs, before + factor * max(0.0, meter.memory_mb() - before)


def _is_large(config: TrainingConfig) -> bool:
    """Return whether a step of a network takes minutes on a processor."""
    from crl_core.models.skeleton import skeleton

    return skeleton(architecture_of(config.preset, config.architecture)).n_parameters > LARGE


def _noise(config: TrainingConfig) -> Any:
    """Return a batch of the right shape; how fast a step is does not depend on what is in it."""
    import numpy as np

    from crl_core.training.batch import Batch

    rng = np.random.default_rng(0)
    b, p, n = config.batch, config.contrasts, config.crop
    shown = [one.triple for one in config.pair_settings() or ()] or [(4000.0, 90.0, 0.0)] * p
    return Batch(
        rng.random((b, p, n, n), dtype=np.float32),
        np.ones((b, p), np.float32),
        np.tile(np.array(shown, np.float32), (b, 1, 1)),
        np.ones((b, n, n), np.float32),
    )


def _disk_mb(
    n_parameters: int, steps: int, config: TrainingConfig, data: TrainingData
) -> float:
    """State (four values per weight), best and finished network, previews, log."""
    weights = 4.0 * n_parameters / 1e6
    previews = steps / config.validate_steps + 6
    pixels = sum(s.mask.size for s in (data.validate or data.train).slices(1))
    each = 4 * 6 * pixels * 2 / 1e6
    return 4 * weights + 2 * weights + previews * each + min(steps, 50_000) * 3e-4


def open_and_settle(
    plan: PlanName | None,
    config: TrainingConfig,
    source: DataConfig,
    device: str,
    *,
    minutes: float | None = None,
    start: Card | None = None,
) -> tuple[TrainingConfig, TrainingData, Estimate]:
    """Open the data and settle a plan on this machine.

    Raises
    ------
    InputError
        When the plan and the rest do not go together, or the data cannot be used.
    """
    if plan == "fine-tune" and start is None:
        raise InputError("there is nothing to fine-tune", remedy="Name a network with --from")
    chosen = planned(plan, config, minutes=minutes, start=start)
    data = open_data(source, chosen)
    sized = start is None and plan in ("quick", "time") and not config.architecture
    fabric = make_fabric(device, "fp32")
    fabric.launch()
    found = None
    if fabric.is_global_zero:
        found = settled(chosen, data, device, sized=sized)
    if fabric.world_size > 1:
        # One process measures; all must plan alike.
        found = fabric.broadcast(found)
    assert found is not None
    return found[0], data, found[1]
