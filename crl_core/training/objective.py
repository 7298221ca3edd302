"""From a batch to a loss, for networks with one source and with several."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from crl_core.models import CRL
from crl_core.models.paper import PaperCRL
from crl_core.training.config import TrainingConfig
from crl_core.training.losses import (
    AIR_WEIGHT,
    gradient_l1,
    structure,
    weighted_l1,
    windowed_structure,
)
from crl_core.training.sampling import Batch


@dataclass(frozen=True)
class TensorBatch:
    """A `Batch` on the device; same shapes."""

    images: Tensor
    scales: Tensor
    parameters: Tensor
    mask: Tensor

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> TensorBatch:
        """Copy a batch to a device."""
        parts = (batch.images, batch.scales, batch.parameters, batch.mask)
        return cls(*(torch.from_numpy(p).to(device, non_blocking=True) for p in parts))


def n_sources(step: int, config: TrainingConfig) -> int:
    """Return how many sources a step uses; follows from the seed and the step alone."""
    share = np.array(config.source_share[: config.contrasts - 1], dtype=float)
    rng = np.random.default_rng([config.seed, 11, step])
    return int(rng.choice(len(share), p=share / share.sum())) + 1


def loss_of_step(
    model: CRL, batch: TensorBatch, step: int, config: TrainingConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a step and its parts.

    Every contrast of the batch is a target, the sources included (identity). Networks that fuse
    sources see the first one to three contrasts together; the others encode `config.encoded`
    contrasts one by one, each once, and render every target from each.
    """
    weight = batch.mask[:, None] * (1 - AIR_WEIGHT) + AIR_WEIGHT
    if model.max_sources > 1:
        k = min(n_sources(step, config), model.max_sources)
        features = model.encode(batch.images[:, :k], batch.parameters[:, :k])
        parts = _render_all(model, features, batch, 0, weight)
    else:
        parts, common = [], []
        for source in range(min(config.encoded, batch.images.shape[1])):
            one = slice(source, source + 1)
            features = model.encode(batch.images[:, one], batch.parameters[:, one])
            parts += _render_all(model, features, batch, source, weight)
            common.append(model.common(features))
    total = torch.stack([l1 + config.gradient_loss * gradient for l1, gradient in parts]).mean()
    named = {"l1": torch.stack([p[0] for p in parts]).mean()}
    named["gradient"] = torch.stack([p[1] for p in parts]).mean()
    if config.structure_loss > 0 and model.max_sources == 1:
        # The paper compares local windows, the authors' code whole crops.
        term = windowed_structure if isinstance(model, PaperCRL) else structure
        pairs = [
            term(a.float(), b.float())
            for a, b in combinations(common, 2)
            if a is not None and b is not None
        ]
        if pairs:
            named["structure"] = torch.stack(pairs).mean()
            total = total + config.structure_loss * named["structure"]
    return total, named


def _render_all(
    model: CRL, features: dict[str, Tensor], batch: TensorBatch, source: int, weight: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Render every contrast and compare, in units of the target's own scale."""
    found = []
    for j in range(batch.images.shape[1]):
        image = model.render(features, batch.parameters[:, j]).float()
        # Rendered in units of the source; one unit of the target is this many of them.
        ratio = (batch.scales[:, source] / batch.scales[:, j])[:, None, None, None]
        image, target = image * ratio, batch.images[:, j : j + 1]
        found.append((weighted_l1(image, target, weight), gradient_l1(image, target, weight)))
    return found
