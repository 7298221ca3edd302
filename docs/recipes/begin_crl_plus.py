"""Make the network that the training of the shipped crl-plus begins with.

Run once by a maintainer::

    python docs/recipes/begin_crl_plus.py OLDER.safetensors -o BEGIN.safetensors \
        --labels training_seg_{01..12}.nii.gz

Two things save hours on a processor. Layers that mean the same are taken over from the network that
crl-plus was before (``train-older-plus.json``), whose U-Net had been trained for two and a half
hours. And the dictionary, which needs no context, is fitted first, voxel by voxel, at a learning
rate that the U-Net would not stand.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import typer
from torch import Tensor, nn

from crl_core.checkpoint import load_checkpoint, save_checkpoint
from crl_core.models import CRL, architecture_of, build_model
from crl_core.models.base import SOME
from crl_core.models.mixture import MixtureCRL
from crl_core.training.anatomy import load_anatomy
from crl_core.training.config import TrainingConfig
from crl_core.training.digital import DigitalSampler
from crl_core.training.losses import weighted_l1, weighted_rms
from crl_core.training.objective import TensorBatch, n_sources

STEPS, RATE, WARM_UP = 400, 0.02, 50


def taken_over(old: dict[str, Tensor], model: MixtureCRL) -> int:
    """Copy what means the same; returns how many tensors that were.

    The older network had no flag for suppressed fat, which is the last column of a code, and no
    fifth level: its new skip starts as a pass-through.
    """
    own = model.state_dict()
    renamed = {_renamed(name): value for name, value in old.items()}
    count = 0
    for name, value in renamed.items():
        if name not in own:
            continue
        count += 1
        if own[name].shape == value.shape:
            own[name].copy_(value)
        else:
            own[name].zero_()
            own[name][:, : value.shape[1]] = value
    deepest = model.levels - 2
    width = own[f"merge.{deepest}.bias"].shape[0]
    skip = own[f"merge.{deepest}.weight"].mul_(0.1)
    skip[range(width), range(width), 1, 1] += 1.0
    own[f"merge.{deepest}.bias"].zero_()
    own["code_mix.0.weight"].copy_(torch.eye(*own["code_mix.0.weight"].shape))
    own["code_mix.0.bias"].zero_()
    own["share_stem.weight"].mul_(0.3)
    model.load_state_dict(own)
    return count


def _renamed(name: str) -> str:
    """Return what a layer of the older network is called now."""
    head, _, rest = name.partition(".")
    if head == "stem":
        return f"source_stem.{rest}"
    if head == "down_blocks":
        level, _, rest = rest.partition(".")
        return f"source_block.{rest}" if level == "0" else f"down_blocks.{int(level) - 1}.{rest}"
    return "" if head in ("maps", "correction") else name


def fit_dictionary(model: MixtureCRL, sampler: DigitalSampler, config: TrainingConfig) -> None:
    """Fit what intensities alone say, on every `SOME`-th voxel of fresh subjects."""
    weights = list(model.tissues.parameters())
    adam = torch.optim.Adam(weights, lr=RATE)
    for step in range(STEPS):
        fall = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * step / STEPS))
        adam.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * fall
        batch = TensorBatch.of(sampler.batch(step, 1.0), torch.device("cpu"))
        images = batch.images[..., ::SOME, ::SOME]
        k = n_sources(step, config, images.shape[1], model.max_sources)
        found = model.by_intensity(images[:, :k], batch.parameters[:, :k], batch.parameters)
        weight = batch.mask[:, None, ::SOME, ::SOME] * 0.9 + 0.1
        found = found * (batch.scales[:, :1] / batch.scales)[:, :, None, None]
        loss = weighted_rms(found, images, weight)
        loss = loss + 0.5 * weighted_l1(found, images, weight.expand_as(images))
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        adam.step()
        if (step + 1) % 50 == 0:
            typer.echo(f"step {step + 1}: {loss.item():.4f}")


def begun(old: CRL, labels: Sequence[Path], config: TrainingConfig) -> MixtureCRL:
    """Return the network to begin with."""
    torch.manual_seed(config.seed)
    model = build_model(config.preset, **config.architecture)
    assert isinstance(model, MixtureCRL)
    typer.echo(f"{taken_over(old.state_dict(), model)} tensors taken over")
    fit_dictionary(model, DigitalSampler([load_anatomy(p) for p in labels], config), config)
    return model


def main() -> None:
    """Make it and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("older", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--labels", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    config = TrainingConfig.load(Path(__file__).with_name("train-crl-plus.json"))
    older = load_checkpoint(options.older)
    model = begun(older.model, options.labels, config)
    architecture = architecture_of(config.preset, config.architecture)
    card = replace(older.card, preset=config.preset, architecture=architecture)
    save_checkpoint(options.output, model, card)


if __name__ == "__main__":
    main()
