"""From a batch to a loss, for networks with one source and with several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, pairwise

import numpy as np
import torch
from torch import Tensor, nn

from crl_core.models import CRL
from crl_core.models.base import SOME, Features
from crl_core.models.paper import PaperCRL
from crl_core.training.batch import Batch
from crl_core.training.config import TrainingConfig
from crl_core.training.losses import (
    doubt_of,
    gradient_l1,
    structure,
    weighted_l1,
    weighted_rms,
    windowed_structure,
)


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

    def __len__(self) -> int:
        return len(self.images)

    def split(self, parts: int) -> Iterator[TensorBatch]:
        """Cut the rows into up to `parts` parts."""
        each = (getattr(self, f.name).chunk(parts) for f in fields(self))
        yield from (TensorBatch(*some) for some in zip(*each, strict=True))


def n_sources(step: int, config: TrainingConfig, contrasts: int, most: int) -> int:
    """Return how many sources a step fuses; follows from the seed and the step alone."""
    share = np.array(config.source_share[: contrasts - 1], dtype=float)
    rng = np.random.default_rng([config.seed, 11, step])
    return min(int(rng.choice(len(share), p=share / share.sum())) + 1, most)


def pairs_of_step(model: CRL, config: TrainingConfig, contrasts: int) -> int:
    """Return how many images a row of a batch is rendered and compared in a step."""
    if model.max_sources > 1:
        return contrasts
    sources = min(config.encoded, contrasts)
    return sources * (contrasts if config.identity else contrasts - 1)


class StepLoss(nn.Module):
    """The network with what it is trained for; one call is one step, or one part of one.

    Wrapping both in one module lets several devices share the gradient of a single call.

    Parameters
    ----------
    model
        The network.
    config
        The run's settings.
    """

    def __init__(self, model: CRL, config: TrainingConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def forward(
        self, images: Tensor, scales: Tensor, parameters: Tensor, mask: Tensor, sources: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts; shapes as in `TensorBatch`.

        Every contrast of the batch is a target, the sources included (identity) unless the
        settings leave that out. Networks that fuse see the first `sources` contrasts together; the
        others encode `config.encoded` contrasts, each once, and render every target from each.
        """
        batch = TensorBatch(images, scales, parameters, mask)
        if self.model.max_sources > 1:
            return self._fused(batch, sources)
        return self._single(batch)

    def _fused(self, batch: TensorBatch, k: int) -> tuple[Tensor, dict[str, Tensor]]:
        features = self.model.encode(batch.images[:, :k], batch.parameters[:, :k])
        weight = self._weight(batch.mask)
        images = self.model.render_many(features, batch.parameters).float()
        # Rendered in units of the source; one unit of the target is this many of them.
        ratio = (batch.scales[:, :1] / batch.scales)[:, :, None, None]
        named = self._terms(images * ratio, batch.images, weight)
        doubt = self.config.doubt_loss and self.model.spread_many(features, batch.parameters)
        if isinstance(doubt, Tensor):
            apart = (images * ratio - batch.images).detach().abs()
            named["doubt"] = doubt_of(apart, doubt.float() * ratio, weight)
        alone = self.config.intensity_loss and self.model.render_intensity(
            features, batch.parameters
        )
        if isinstance(alone, Tensor):
            some = (..., slice(None, None, SOME), slice(None, None, SOME))
            named["intensity"] = weighted_rms(alone * ratio, batch.images[some], weight[some])
        return self._total(named), named

    def _terms(self, images: Tensor, targets: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Compare (B, P, H, W) with as many targets."""
        c = self.config
        named = {"l1": weighted_l1(images, targets, weight.expand_as(images))}
        if c.squared_loss:
            named["rms"] = weighted_rms(images, targets, weight)
        if c.gradient_loss:
            named["gradient"] = gradient_l1(images, targets, weight)
        return named

    def _total(self, named: dict[str, Tensor]) -> Tensor:
        c = self.config
        share = {"l1": 1.0, "rms": c.squared_loss, "gradient": c.gradient_loss,
                 "doubt": c.doubt_loss, "intensity": c.intensity_loss}  # fmt: skip
        return torch.stack([share[name] * value for name, value in named.items()]).sum()

    def _single(self, batch: TensorBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode all sources in one go, source by source in the first axis."""
        rows, count = batch.images.shape[:2]
        sources = min(self.config.encoded, count)
        images = batch.images[:, :sources].transpose(0, 1).reshape(-1, 1, *batch.images.shape[2:])
        shown = batch.parameters[:, :sources].transpose(0, 1).flatten(0, 1)[:, None]
        features = self.model.encode(images.contiguous(), shown)
        # Cut once: what comes back from each target is then added source by source, where slices
        # of the whole would each bring back a tensor as large as the whole.
        cut = {name: value.split(rows) for name, value in features.items()}
        weight = self._weight(batch.mask)
        parts = []
        for j in range(count):
            others = [s for s in range(sources) if self.config.identity or s != j]
            if not others:
                continue
            some = features if len(others) == sources else _chosen(cut, others)
            image = self.model.render(some, batch.parameters[:, j].repeat(len(others), 1)).float()
            ratio = torch.cat([batch.scales[:, s] / batch.scales[:, j] for s in others])
            target = batch.images[:, j : j + 1].repeat(len(others), 1, 1, 1)
            compared = self._compare(
                image * ratio[:, None, None, None], target, weight.repeat(len(others), 1, 1, 1)
            )
            parts += [compared] * len(others)
        total, named = self._sum(parts)
        return self._with_structure(total, named, features, rows)

    def _with_structure(
        self, total: Tensor, named: dict[str, Tensor], features: Features, rows: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the term that compares what two sources of one subject have in common."""
        common = self.model.common(features)
        if self.config.structure_loss == 0 or common is None or len(common) <= rows:
            return total, named
        # The paper compares local windows, the authors' code whole crops.
        term = windowed_structure if isinstance(self.model, PaperCRL) else structure
        each = common.float().split(rows)
        chosen = pairwise(each) if self.config.structure_pairs == "consecutive" else None
        pairs = [term(a, b) for a, b in chosen or combinations(each, 2)]
        named["structure"] = torch.stack(pairs).mean()
        return total + self.config.structure_loss * named["structure"], named

    def _weight(self, mask: Tensor) -> Tensor:
        air = self.config.air_weight
        return mask[:, None] * (1 - air) + air

    def _compare(self, image: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        l1 = weighted_l1(image, target, weight)
        if self.config.gradient_loss == 0:
            return l1, l1.new_zeros(())
        return l1, gradient_l1(image, target, weight)

    def _sum(self, parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        named = {"l1": torch.stack([p[0] for p in parts]).mean()}
        if self.config.gradient_loss == 0:
            return named["l1"], named
        named["gradient"] = torch.stack([p[1] for p in parts]).mean()
        return named["l1"] + self.config.gradient_loss * named["gradient"], named


def _chosen(cut: Mapping[str, Sequence[Tensor]], sources: list[int]) -> Features:
    """Take the features of some sources."""
    return {name: torch.cat([parts[s] for s in sources]) for name, parts in cut.items()}
