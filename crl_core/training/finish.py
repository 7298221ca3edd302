"""The card of a network from a run, and from the best network to one that can be shared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from crl_core.card import Card
from crl_core.checkpoint import load_checkpoint, save_checkpoint
from crl_core.devices import hardware
from crl_core.errors import CRLError, InputError
from crl_core.models import CRL, architecture_of
from crl_core.training import events
from crl_core.training.adversarial import told_settings
from crl_core.training.config import TrainingConfig
from crl_core.training.coverage import merged, never_seen
from crl_core.training.data import TrainingData
from crl_core.training.digital import DigitalSampler
from crl_core.training.folder import BEST, MODEL, STATE, RunFolder
from crl_core.training.state import at_rest


@dataclass(frozen=True)
class CardMaker:
    """Writes the cards of a run's networks.

    Parameters
    ----------
    config
        The run's settings.
    data
        What it learns from.
    start
        Card of the network the run went on from.
    device
        Where it computes.
    """

    config: TrainingConfig
    data: TrainingData
    start: Card | None = None
    device: torch.device = torch.device("cpu")  # noqa: RUF009  (frozen)

    def card(self, model: CRL, step: int, seconds: float, metrics: dict[str, Any]) -> Card:
        """Return the card of the network of a step.

        Paths are left out: a card travels with the network, and folders may name a person.
        """
        config, train = self.config, self.data.train
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(config).items()}
        settings.pop("perceptual_weights")
        training: dict[str, Any] = {
            "data": train.describe(),
            "people": dict(self.data.people),
            "steps": step,
            "hours": round(seconds / 3600, 2),
            "hardware": hardware(self.device),
            "settings": settings,
            **told_settings(config),
        }
        coverage = train.coverage()
        if self.start is not None:
            training["went on from"] = {
                "name": self.start.name,
                "sha256": self.start.sha256,
                "training": self.start.training,
            }
            if config.rehearse > 0:
                coverage = merged(self.start.coverage, coverage)
            # What it began with is part of it, rehearsed or not.
            coverage = never_seen(coverage, self.start.coverage, self.start.training)
        return Card(
            name=f"{config.preset}, {self._kind()}",
            preset=config.preset,
            architecture=architecture_of(config.preset, config.architecture),
            intensity_rule=model.intensity_rule,
            in_plane_mm=train.voxel_mm if model.intensity_rule == "robust" else None,
            coverage=coverage,
            training=training,
            metrics=metrics,
        )

    def _kind(self) -> str:
        """Tell a network from the shipped one of the same preset, in no words of the user's."""
        if self.start is not None:
            return "fine-tuned"
        train = self.data.train
        if isinstance(train, DigitalSampler) or getattr(train, "simulated", False):
            return "trained on digital subjects"
        count = self.data.people.get("train", 0)
        return f"trained on {count} people" if count != 1 else "trained on one person"


def write_model(folder: RunFolder, early: bool) -> Path:
    """Make the best network of a run its finished one; returns the file.

    Parameters
    ----------
    folder
        The run; it must hold a best network.
    early
        Whether the run was ended before its time, which the card says.
    """
    best = load_checkpoint(folder / BEST)
    training = {**best.card.training, "finished early": True} if early else best.card.training
    save_checkpoint(
        folder / MODEL, best.model, replace(best.card, training=training), overwrite=True
    )
    return folder / MODEL


def step_of_best(folder: RunFolder) -> int | None:
    """Return the step of the best network on disk; None where there is none that can be read."""
    from crl_core.checkpoint import read_card

    try:
        return int(read_card(folder / BEST).training["steps"])
    except (CRLError, KeyError, TypeError, ValueError):
        return None


def finish_at_rest(path: Path) -> Path:
    """Write the finished network of a run nobody is working on, from its best step.

    Raises
    ------
    InputError
        When the folder holds no run, or no network yet.
    OutputError
        When another process trains it.
    """
    folder = RunFolder(path)
    folder.check_run()
    with folder.owned():
        folder.tidy()
        if step_of_best(folder) is None:
            _best_from_state(folder)
        model = write_model(folder, early=True)
        step = step_of_best(folder) or 0
        folder.log(events.Finished(step, model, step))
        return model


def _best_from_state(folder: RunFolder) -> None:
    """Take the network as last saved for the best, where none was judged yet."""
    if not (folder / STATE).exists():
        raise InputError("holds no network yet", path=folder.path, remedy="Go on with --resume")
    found = load_checkpoint(folder / STATE)
    save_checkpoint(folder / BEST, found.model, at_rest(found.card), overwrite=True)
