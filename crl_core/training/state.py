"""The state of a run on disk: everything needed to go on as if nothing had happened.

A safetensors file, which cannot carry code. It holds the weights, their running average and the
optimiser's moments for each weight; its metadata holds the rest as JSON, and the card of the
network as it is, so that the file serves as a checkpoint of a network in training too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from crl_core.card import NOTE, Card
from crl_core.checkpoint import IN_TRAINING
from crl_core.errors import InputError
from crl_core.io.atomic import as_disk_error, atomic_path

MODEL, AVERAGE, OPTIMISER = "model/", IN_TRAINING, "optimiser/"

_IN_TRAINING = ", in training, step "


@dataclass(frozen=True)
class Progress:
    """The numbers of a state.

    Parameters
    ----------
    step, seconds
        Steps done and time used.
    skipped
        Steps left out in a row, because their loss was not a number.
    accumulate
        Parts a batch is computed in.
    looked
        The last step whose network was judged or shown, where that was due.
    best_step, best_score
        Which network is the best so far and its score, dB; None before the first.
    random, random_device
        State of torch's random numbers, hexadecimal.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    accumulate: int = 1
    looked: int = 0
    best_step: int = 0
    best_score: float | None = None
    random: str = ""
    random_device: str = ""


def write_state(
    path: Path,
    weights: dict[str, Tensor],
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    card: Card,
    further: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a state under a temporary name, flush it, and put it in place.

    `further` holds what only some runs have, under names of its own.

    Raises
    ------
    OutputError
        When the disk refuses; an older state stays as it was.
    """
    tensors = {MODEL + name: value for name, value in weights.items()}
    tensors |= {AVERAGE + name: value for name, value in average.items()}
    tensors |= optimiser_tensors(optimiser) | dict(further or {})
    flat = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"run": json.dumps(_numbers(progress)), "card": card.to_json()}
    with atomic_path(path, overwrite=True) as temporary:
        try:
            safetensors.torch.save_file(flat, temporary, metadata=metadata)
        except safetensors.SafetensorError as error:
            raise as_disk_error(error) or OSError(str(error)) from error


def read_state(path: Path) -> tuple[dict[str, Tensor], Progress]:
    """Read the tensors of a state, by name, and its numbers.

    Raises
    ------
    InputError
        When it is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        return tensors, Progress(**json.loads(metadata["run"]))
    except FileNotFoundError:
        raise InputError("the run holds no saved state", path=path) from None
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"the saved state cannot be used ({reason})",
            path=path,
            remedy="Finish the run from its best step with crl train --finish -o RUN",
        ) from None


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}


def optimiser_tensors(
    optimiser: torch.optim.Optimizer, prefix: str = OPTIMISER
) -> dict[str, Tensor]:
    """Return the moments of Adam or Muon, by number of the weight and name."""
    state = optimiser.state_dict()["state"]
    return {
        f"{prefix}{number}/{name}": moment
        for number, moments in state.items()
        for name, moment in moments.items()
    }


def load_optimiser(
    optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str = OPTIMISER
) -> None:
    """Give Adam or Muon back its moments.

    Raises
    ------
    KeyError, ValueError
        When they are of another network.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in part(tensors, prefix).items():
        number, moment = name.split("/")
        found.setdefault(int(number), {})[moment] = value
    state: dict[str, Any] = {
        "state": found,
        "param_groups": optimiser.state_dict()["param_groups"],
    }
    optimiser.load_state_dict(state)


def random_state(device: torch.device) -> dict[str, str]:
    """Return the state of torch's random numbers, for `Progress`."""
    found = {"random": bytes(torch.get_rng_state().tolist()).hex()}
    if device.type == "cuda":
        found["random_device"] = bytes(torch.cuda.get_rng_state(device).tolist()).hex()
    return found


def restore_random(progress: Progress, device: torch.device) -> None:
    """Put torch's random numbers where they were."""
    if progress.random:
        torch.set_rng_state(_bytes(progress.random))
    if progress.random_device and device.type == "cuda":
        torch.cuda.set_rng_state(_bytes(progress.random_device), device)


def in_training(card: Card, step: int) -> Card:
    """Return the card of a network that is still being trained."""
    return replace(
        card,
        name=f"{card.name}{_IN_TRAINING}{step}",
        note=f"Still in training: this is the network of step {step}. {card.note}",
    )


def at_rest(card: Card) -> Card:
    """Return the card without what `in_training` added."""
    return replace(card, name=card.name.split(_IN_TRAINING)[0], note=NOTE)


def _numbers(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in Progress.__dataclass_fields__}


def _bytes(text: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
