"""Plans for a training run: what each means, what it costs, and where the run goes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from crl_core.errors import InputError, ParameterError
from crl_core.sequence import SequenceParameters
from crl_core.training.config import FINE_TUNE_MINUTES, QUICK_MINUTES, PlanName
from crl_core.training.data_config import DataConfig
from crl_viewer.formatting import DASH
from crl_viewer.state.training_run import clock_time, memory_text
from crl_viewer.state.training_setup import Setup, data_config, has_few_people
from crl_viewer.state.training_setup_findings import blocked
from crl_viewer.strings import number

"""What these plans take by definition, as `crl_core.training.plan` has them."""

LEAST_MINUTES, MOST_MINUTES = 1.0, 60.0 * 24 * 28
MEASURING = "measuring…"
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Job:
    """A run that is ready to start.

    Parameters
    ----------
    config
        Training settings; none where the plan says all of them.
    data
        What it learns from.
    plan, minutes
        The plan, and the time for the one that fits a time. None where `config` holds every
        setting: a plan would put its own in the place of some.
    """

    config: Mapping[str, Any]
    data: DataConfig
    plan: PlanName | None
    minutes: float | None = None

    def arguments(self, data_file: Path, config_file: Path | None) -> list[str]:
        """Return what follows ``crl train`` for this job, without the run folder.

        Parameters
        ----------
        data_file, config_file
            Where `data` and `config` were written; no file where there is nothing in it.
        """
        words = ["--data", str(data_file)]
        if self.plan is not None:
            words += ["--plan", self.plan]
        if self.minutes is not None:
            words += ["--minutes", f"{self.minutes:g}"]
        if config_file is not None:
            words += ["--config", str(config_file)]
        if self.data.start is not None:
            words += ["--from", self.data.start]
        return words

    @property
    def key(self) -> str:
        """Text that is equal for equal jobs."""
        return json.dumps(
            [dict(self.config), asdict(self.data), self.plan, self.minutes], sort_keys=True
        )


@dataclass(frozen=True)
class Estimate:
    """What a job will take here; `refusal` says why that could not be found out."""

    config: Mapping[str, Any]
    steps: int = 0
    seconds: float = 0.0
    pairs_per_second: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0
    device: str = ""
    network: str = ""
    refusal: str = ""

    @classmethod
    def of(cls, values: object) -> Estimate:
        """Build it from the JSON object of ``crl train --estimate``.

        Raises
        ------
        InputError
            When it is not such an object.
        """
        if not isinstance(values, dict) or not isinstance(values.get("config"), dict):
            raise InputError("the estimate is not understood")
        try:
            return cls(
                config=values["config"],
                steps=int(values["steps"]),
                device=str(values["device"]),
                network=str(values["network"]),
                seconds=float(values["seconds"]),
                pairs_per_second=float(values["pairs_per_second"]),
                memory_mb=float(values["memory_mb"]),
                disk_mb=float(values["disk_mb"]),
            )
        except (KeyError, TypeError, ValueError):
            raise InputError("the estimate is not understood") from None


def job_of(
    setup: Setup, plan: PlanName | None = None, planned: Mapping[str, Any] | None = None
) -> Job:
    """Return the job that was set up.

    Parameters
    ----------
    setup
        What was chosen.
    plan
        Another plan than the chosen one, for its time.
    planned
        The settings of the chosen plan, once they are known. What the user changed is laid over
        them; without it the plan alone is meant.
    """
    if plan is not None and plan != setup.plan:
        setup, planned = replace(setup, plan=plan), None
    data = data_config(setup)
    if setup.changes and planned is not None:
        return Job({**planned, **setup.changes}, data, None)
    return Job({}, data, setup.plan, setup.minutes if setup.plan == "time" else None)


def worth_measuring(setup: Setup) -> list[PlanName]:
    """Return the plans to be measured, the chosen one first; none while training is blocked.

    What the others take by definition need not be measured.
    """
    if blocked(setup):
        return []
    return [setup.plan] if setup.plan == "paper" else [setup.plan, "paper"]


# words ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlanWords:
    """A line of the list: its name, what it does, and its time at the right."""

    name: str
    about: str
    time: str


def plan_words(
    setup: Setup, plan: PlanName, estimate: Estimate | None, start_name: str = ""
) -> PlanWords:
    """Return what the list says of a plan."""
    if plan == "quick":
        time = time_words(estimate) if estimate else about_time(QUICK_MINUTES * 60)
        return PlanWords("Quick look", "checks that the data can be learnt from", time)
    if plan == "time":
        where = f"this {'GPU' if _on_gpu(estimate) else 'machine'}"
        about = f"steps and schedule planned for {where}"
        return PlanWords("As good as fits in", about, about_time(setup.minutes * 60))
    if plan == "paper":
        waiting = DASH if blocked(setup) else MEASURING
        about = "1\N{THIN SPACE}000 epochs, batch 4, rate halved every 200"
        return PlanWords("As in the paper", about, time_words(estimate, waiting))
    name = start_name or Path(setup.start).name
    if not setup.start:
        return PlanWords("Fine-tune a network", "starts from trained weights", DASH)
    time = time_words(estimate) if estimate else about_time(FINE_TUNE_MINUTES * 60)
    where = (
        "the bundled network"
        if "/" not in setup.start and "\\" not in setup.start
        else ("a file of yours")
    )
    few = ", best for so few people" if has_few_people(setup) else ""
    return PlanWords(f"Fine-tune {name}", f"starts from {where}{few}", time)


def time_words(estimate: Estimate | None, waiting: str = MEASURING) -> str:
    """Write the time of an estimate, or that it is being measured."""
    if estimate is None:
        return waiting
    return NOT_MEASURED if estimate.refusal else about_time(estimate.seconds)


def about_time(seconds: float) -> str:
    """Write a planned time in as many digits as an estimate deserves.

    >>> about_time(1190), about_time(7080), about_time(111_600), about_time(31 * 86_400)
    ('20 min', '1 h 58 min', 'about 31 h', 'about 31 days')
    """
    if not math.isfinite(seconds) or seconds <= 0:
        return DASH
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under 1 min"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 600:
        rest = f" {minutes % 60:02d} min" if minutes % 60 else ""
        return f"{minutes // 60} h{rest}"
    hours = seconds / 3600
    return f"about {hours:.0f} h" if hours < 72 else f"about {hours / 24:.0f} days"


def _on_gpu(estimate: Estimate | None) -> bool:
    return estimate is not None and bool(estimate.device) and "cpu" not in estimate.device.lower()


def cost_words(
    estimate: Estimate | None, now: float, *, waiting: bool
) -> tuple[list[str], list[str]]:
    """Return the big numbers and what each counts: time, memory, disk, end.

    Parameters
    ----------
    estimate
        Of the chosen plan, if it came.
    now
        Seconds since 1970.
    waiting
        Whether one is on its way.
    """
    names = ["time", "GPU memory" if _on_gpu(estimate) else "memory", "disk", "ends"]
    if estimate is None or estimate.refusal:
        return ["…" if waiting and estimate is None else DASH] * 4, names
    ends = clock_time(now + estimate.seconds, now)
    short = about_time(estimate.seconds).removeprefix("about ")
    short = short.removesuffix(" min") if " h " in short else short
    return [short, memory_text(estimate.memory_mb), memory_text(estimate.disk_mb), ends], names


def measured_words(estimate: Estimate | None, *, waiting: bool) -> str:
    """Say how fast this machine is."""
    if estimate is None:
        return "Measuring how fast this machine is…" if waiting else ""
    if estimate.refusal:
        return estimate.refusal
    rate = estimate.pairs_per_second
    many = number(rate) if rate >= 10 else f"{rate:.1f}"
    return f"Measured here: {many} pairs per second on {estimate.device or 'this machine'}"


# minutes, folders and usual values --------------------------------------------------------------

_MINUTES = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)(?:m|min|minutes)?)?")


def parse_minutes(text: str) -> float:
    """Read a typed time: ``120``, ``90 min``, ``2 h`` or ``1 h 30 min``.

    Raises
    ------
    ParameterError
        When it is no time, or no time to train for.
    """
    bare = re.sub(r"\s", "", text.lower()).replace(",", ".")
    bare = re.sub(r"hours?", "h", bare)
    found = _MINUTES.fullmatch(bare) if bare else None
    if found is None:
        raise ParameterError(f"'{text.strip()}' is no time", remedy="Type minutes, as 120 or 2 h")
    value = 60 * float(found[1] or 0) + float(found[2] or 0)
    if not LEAST_MINUTES <= value <= MOST_MINUTES:
        raise ParameterError("train for 1 minute to 28 days")
    return value


def minutes_text(minutes: float) -> str:
    """Write a time for its field.

    >>> minutes_text(120), minutes_text(20), minutes_text(90)
    ('2 h', '20 min', '1 h 30 min')
    """
    hours, rest = divmod(minutes, 60)
    parts = [f"{hours:g} h"] if hours else []
    if rest or not hours:
        parts.append(f"{rest:g} min")
    return " ".join(parts)


def proposed_folder(home: Path, taken: Callable[[Path], bool], today: date | None = None) -> Path:
    """Return a folder for a run that does not exist yet.

    Parameters
    ----------
    home
        Where the user's documents lie.
    taken
        Whether there is something at a path.
    today
        The day it is named after.
    """
    day = (today or date.today()).isoformat()
    return free_path(home / "training" / day, taken)


def free_path(wanted: Path, taken: Callable[[Path], bool]) -> Path:
    """Return a path nothing lies at: the wanted one, or it with a number behind."""
    number_, path = 1, wanted
    while taken(path):
        number_ += 1
        path = wanted.with_name(f"{wanted.name}-{number_}")
    return path


def usual_values(contrast: str) -> SequenceParameters | None:
    """Return usual times of a contrast by its name, as a proposal; None for other names.

    Values of a clinical brain protocol at 1.5 or 3 T; whoever knows better types over them.
    """
    name = re.sub(r"[^a-z0-9]", "", contrast.lower())
    for words, triple in _USUAL:
        if any(word in name for word in words):
            return SequenceParameters(*triple)
    return None


_USUAL: tuple[tuple[tuple[str, ...], tuple[float, float, float]], ...] = (
    (("t1flair", "t1fl"), (2479, 9.62, 1055)),
    (("flair",), (9000, 100, 2500)),
    (("stir",), (5000, 40, 160)),
    (("t1",), (600, 10, 0)),
    (("t2",), (5000, 100, 0)),
    (("pd",), (5000, 12, 0)),
)
