"""Training against a critic: the losses, optimisers and schedules of pGAN, PTNet and ResViT.

Each step first teaches the critic to tell acquired from drawn images, by least squares (Mao et
al., ICCV 2017), then the generator to draw images that the critic takes for acquired and that
resemble the target. What the three publications do differently is in `PUBLISHED`; every entry is
a setting. All weights start at random, as in the comparison of the CRL paper. The running average
of weights and the sharing of a step among threads (`crl_core.training.lanes`) are not for these:
a critic has to see the very images the generator is taught by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.errors import InputError
from crl_core.models import CRL
from crl_core.models.baselines import PairNetwork, ResViT
from crl_core.models.baselines.layers import Norm
from crl_core.models.baselines.pair import inputs_of
from crl_core.models.baselines.patchgan import Critic
from crl_core.training.batch import Batch
from crl_core.training.config import TrainingConfig
from crl_core.training.objective import TensorBatch
from crl_core.training.perceptual import PerceptualLoss, PerceptualName
from crl_core.training.run import Run, out_of_memory, undisturbed
from crl_core.training.state import load_optimiser, optimiser_tensors, part

CRITIC, CRITIC_OPTIMISER = "critic/", "critic-optimiser/"

_SAME_SETTING = 1e-3
"""Settings of a batch this close to those of the pair, relatively, are those of the pair."""


def _require(fine: bool, name: str, wanted: str) -> None:
    if not fine:
        raise InputError(f"the setting 'adversarial': '{name}' must {wanted}")


@dataclass(frozen=True)
class AdversarialSettings:
    """How a network is trained against a critic.

    Parameters
    ----------
    adversarial_loss, l1_loss, squared_loss
        Weights of the critic's judgement, of L1 and of the mean square, both in [-1, 1].
    feature_loss
        Weight of the L1 distance of the critic's own layers, halved as in pix2pixHD.
    perceptual_loss, perceptual
        Weight of a comparison by `crl_core.training.perceptual`, and by which network.
    beta1, beta2
        Of Adam, for generator and critic.
    critic_width, critic_layers, critic_norm, critic_padding, critic_scales
        See `crl_core.models.baselines.patchgan.Critic`.
    first_stage
        Part of the run in which ResViT learns without its transformer. Critic and optimisers go on
        into the second stage, where the publication starts them anew.
    second_rate
        Peak learning rate once the transformer is in.
    """

    adversarial_loss: float = 1.0
    l1_loss: float = 0.0
    squared_loss: float = 0.0
    feature_loss: float = 0.0
    perceptual_loss: float = 0.0
    perceptual: PerceptualName = "vgg16"
    beta1: float = 0.5
    beta2: float = 0.999
    critic_width: int = 64
    critic_layers: int = 3
    critic_norm: Norm = "instance"
    critic_padding: int = 1
    critic_scales: int = 1
    first_stage: float = 0.0
    second_rate: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse values that no training could start with."""
        for name in ("adversarial_loss", "l1_loss", "squared_loss", "feature_loss",
                     "perceptual_loss"):  # fmt: skip
            _require(getattr(self, name) >= 0, name, "be at least 0")
        for name in ("critic_width", "critic_layers", "critic_scales"):
            _require(1 <= getattr(self, name) <= 1024, name, "lie between 1 and 1024")
        for name in ("beta1", "beta2", "first_stage"):
            _require(0 <= getattr(self, name) < 1, name, "be at least 0 and below 1")
        _require(0 <= self.critic_padding <= 3, "critic_padding", "lie between 0 and 3")
        _require(self.second_rate > 0, "second_rate", "be above 0")
        _require(self.critic_norm in ("instance", "batch"), "critic_norm", "be instance or batch")
        _require(self.perceptual in ("vgg16", "vgg19"), "perceptual", "be vgg16 or vgg19")


PUBLISHED: Mapping[str, AdversarialSettings] = {
    "pgan": AdversarialSettings(l1_loss=100.0, perceptual_loss=100.0),
    "ptnet": AdversarialSettings(
        squared_loss=100.0, feature_loss=10.0, perceptual_loss=10.0, perceptual="vgg19",
        beta1=0.9, critic_padding=2, critic_scales=2,
    ),
    # 100 epochs of the convolutions alone, then 50 with the transformer.
    "resvit": AdversarialSettings(l1_loss=100.0, critic_norm="batch", first_stage=2 / 3),
}  # fmt: skip

EPOCHS: Mapping[str, int] = {"pgan": 100, "ptnet": 2000, "resvit": 150}
"""Published passes over the data: all slices; for PTNet one slice of every volume."""


def published_steps(preset: str, slices: int, volumes: int, batch: int) -> int:
    """Return the steps of the published schedule.

    Parameters
    ----------
    preset
        Name of the network.
    slices, volumes
        How many there are to train on.
    batch
        Images in a step.
    """
    epoch = volumes if preset == "ptnet" else slices
    return EPOCHS[preset] * max(1, -(-epoch // batch))


def adversarial_settings(config: TrainingConfig) -> AdversarialSettings:
    """Return the published settings of a run's network with the run's changes.

    Raises
    ------
    InputError
        When an entry is unknown or has the wrong type.
    """
    base = PUBLISHED[config.preset]
    known = {f.name for f in fields(base)}
    for name, value in config.adversarial.items():
        if name not in known:
            raise InputError(
                f"the setting 'adversarial' has an unknown entry '{name}'",
                remedy=f"Known entries are {', '.join(sorted(known))}",
            )
        example = getattr(base, name)
        kinds: Any = (int, float) if isinstance(example, float) else type(example)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise InputError(f"the setting 'adversarial': '{name}' has the wrong type")
    return replace(base, **config.adversarial)


def adversary_of(model: CRL, config: TrainingConfig, fabric: Fabric) -> Adversary | None:
    """Return what a network is trained against; None for networks that learn alone.

    Raises
    ------
    InputError
        When the settings do not go together with the network.
    """
    if not isinstance(model, PairNetwork):
        for name in ("pair", "adversarial", "perceptual_weights"):
            if getattr(config, name):
                raise InputError(
                    f"the training setting '{name}' is for networks trained against a critic, "
                    f"and {config.preset} is none"
                )
        return None
    if model.one_pair and not config.pair:
        raise InputError(
            f"{config.preset} learns a single pair of contrasts",
            remedy="Set pair to source and target, such as [7, 1]",
        )
    if fabric.world_size > 1:
        raise InputError(f"{config.preset} is trained on one device", remedy="Start one process")
    if config.compile or config.accumulate > 1:
        name = "compile" if config.compile else "accumulate"
        raise InputError(f"the training setting '{name}' is not for {config.preset}")
    return Adversary(model, config, fabric)


def told_settings(config: TrainingConfig) -> dict[str, Any]:
    """Return what a card says about a training against a critic; no paths, no word of others."""
    if config.preset not in PUBLISHED:
        return {}
    chosen = adversarial_settings(config)
    told: dict[str, Any] = {"adversarial": asdict(chosen)}
    remarks = _remarks(config, chosen)
    return {**told, "remarks": remarks} if remarks else told


def _remarks(config: TrainingConfig, chosen: AdversarialSettings) -> list[str]:
    found = []
    if chosen.perceptual_loss > 0 and not config.perceptual_weights:
        found.append(
            f"Trained without the perceptual term of the publication: no weights of "
            f"{chosen.perceptual} were given (perceptual_weights)."
        )
    if config.preset == "resvit":
        found.append("Trained from scratch, without the published start from ImageNet weights.")
    return found


class Adversary:
    """The critic of a run, its optimiser, and the step that trains both networks.

    Parameters
    ----------
    model
        The generator.
    config
        The run's settings.
    fabric
        Where to compute.
    """

    def __init__(self, model: PairNetwork, config: TrainingConfig, fabric: Fabric) -> None:
        self.model, self.config, self.fabric = model, config, fabric
        self.settings = s = adversarial_settings(config)
        self.pair = config.pair_settings()
        self.critic = Critic(
            inputs_of(model.conditioned) + 1, s.critic_width, s.critic_layers, s.critic_norm,
            s.critic_padding, s.critic_scales,
        ).to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # fmt: skip
        self.optimiser = torch.optim.Adam(
            self.critic.parameters(), lr=config.learning_rate, betas=self.betas
        )
        self.perceptual: PerceptualLoss | None = None
        if s.perceptual_loss > 0 and config.perceptual_weights:
            found = PerceptualLoss.load(s.perceptual, Path(config.perceptual_weights))
            self.perceptual = found.to(fabric.device)
        self._insert(0.0)

    @property
    def betas(self) -> tuple[float, float]:
        """Of Adam, for both networks."""
        return self.settings.beta1, self.settings.beta2

    def notes(self) -> list[str]:
        """Say what is other than published, a line each."""
        return _remarks(self.config, self.settings)

    def stage(self, progress: float) -> tuple[float, float]:
        """Return the peak learning rate at a point of the run, and how far its stage is."""
        if not self._staged:
            return self.config.learning_rate, progress
        first = self.settings.first_stage
        if progress < first:
            return self.config.learning_rate, progress / first
        return self.settings.second_rate, (progress - first) / (1.0 - first)

    @property
    def _staged(self) -> bool:
        staged = isinstance(self.model, ResViT) and self.model.staged
        return staged and self.settings.first_stage > 0

    def _insert(self, progress: float) -> None:
        """Leave the transformer of ResViT out of the first stage."""
        if self._staged:
            assert isinstance(self.model, ResViT)
            self.model.insert(progress >= self.settings.first_stage)

    # a step ------------------------------------------------------------------------------------

    def advance(self, run: Run, batch: Batch) -> tuple[float, dict[str, float], bool]:
        """Do one step of critic and generator; see `Run.advance`.

        Raises
        ------
        InputError
            When memory is full, or the batch does not hold the pair.
        """
        self._check(batch)
        rate = run.learning_rate()
        for group in (*run.optimiser.param_groups, *self.optimiser.param_groups):
            group["lr"] = rate
        tensors = TensorBatch.of(batch, self.fabric.device)
        # Running averages change with the forward pass, the critic before the generator: whoever
        # interrupts has to wait for the end of the step.
        with undisturbed(), self._random(run.step):
            run.whole = False
            self._insert(run.progress)
            try:
                parts, usable = self._both(run, tensors)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                raise InputError(
                    "the memory is full", remedy="Set a smaller batch, crop or network"
                ) from error
            if usable:
                run.update_average()
            run.step += 1
            run.whole = True
        return parts.pop("loss"), parts, usable

    def _both(self, run: Run, tensors: TensorBatch) -> tuple[dict[str, float], bool]:
        self.model.train()
        self.critic.train()
        target = 2.0 * tensors.images[:, 1:2] - 1.0
        with self.fabric.autocast():
            features = self.model.encode(tensors.images[:, :1], tensors.parameters[:, :1])
            drawn = 2.0 * self.model.render(features, tensors.parameters[:, 1]) - 1.0
            # What the generator knew, for the critic to judge by.
            known = self.model.known(tensors.images[:, :1], tensors.parameters[:, :2])
            judged = self._judged(known, target, drawn.detach())
        self.optimiser.zero_grad(set_to_none=True)
        judged.backward()
        if not self._stepped(self.critic, self.optimiser, judged):
            return {"loss": float(judged.detach()), "critic": float(judged.detach())}, False
        self.critic.requires_grad_(False)
        with self.fabric.autocast():
            terms = self._terms(known, target, drawn)
        loss = torch.stack([weight * value for weight, value in terms.values()]).sum()
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.critic.requires_grad_(True)
        usable = self._stepped(self.model, run.optimiser, loss)
        parts = {name: float(value.detach()) for name, (_, value) in terms.items()}
        both = {"loss": float(loss.detach()), **parts, "critic": float(judged.detach())}
        return both, usable

    def _stepped(self, network: nn.Module, optimiser: Any, loss: Tensor) -> bool:
        """Do an optimiser's step, unless the loss or its gradient is not a number."""
        limit = self.config.clip or math.inf
        norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
        usable = math.isfinite(float(loss.detach())) and bool(torch.isfinite(norm))
        if usable:
            optimiser.step()
        return usable

    def _judged(self, known: Tensor, target: Tensor, drawn: Tensor) -> Tensor:
        """Return the critic's loss: half the squared distance from 1 and from 0."""
        real = self.critic(torch.cat([known, target], dim=1))
        false = self.critic(torch.cat([known, drawn], dim=1))
        return 0.5 * (_apart(real, 1.0) + _apart(false, 0.0))

    def _terms(
        self, known: Tensor, target: Tensor, drawn: Tensor
    ) -> dict[str, tuple[float, Tensor]]:
        """Return the generator's terms by name, each with its weight."""
        s = self.settings
        layers = self.critic(torch.cat([known, drawn], dim=1))
        terms = {"adversarial": (s.adversarial_loss, _apart(layers, 1.0))}
        # Always told, because everybody asks for it; without a weight it trains nothing.
        terms["l1"] = (s.l1_loss, F.l1_loss(drawn, target))
        if s.squared_loss > 0:
            terms["squared"] = (s.squared_loss, F.mse_loss(drawn, target))
        if s.feature_loss > 0:
            with torch.no_grad():
                wanted = self.critic(torch.cat([known, target], dim=1))
            terms["features"] = (0.5 * s.feature_loss, _features_apart(layers, wanted))
        if self.perceptual is not None:
            terms["perceptual"] = (s.perceptual_loss, self.perceptual(drawn, target))
        return terms

    @contextmanager
    def _random(self, step: int) -> Iterator[None]:
        """Let dropout follow from the seed and the step alone, whatever else draws numbers."""
        device = self.fabric.device
        seed = np.random.default_rng([self.config.seed, 13, step]).integers(2**62)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(seed))
            yield

    def _check(self, batch: Batch) -> None:
        """Refuse a batch that does not hold source and target in this order."""
        if self.pair is None:
            return
        found = batch.parameters[..., :3]
        wanted = np.array([p.triple for p in self.pair])
        if found.shape[1] != 2 or not np.allclose(found, wanted, _SAME_SETTING, _SAME_SETTING):
            raise InputError(
                "the data are not those of the pair that is to be learnt",
                remedy="Open them with crl_core.training.pairs",
            )

    # on disk -----------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Return what belongs into the state of a run: the critic and its optimiser."""
        own = {CRITIC + name: value for name, value in self.critic.state_dict().items()}
        return own | optimiser_tensors(self.optimiser, CRITIC_OPTIMISER)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from the tensors of a state.

        Raises
        ------
        KeyError, ValueError, RuntimeError
            When they are of another critic.
        """
        self.critic.load_state_dict(part(tensors, CRITIC))
        load_optimiser(self.optimiser, tensors, CRITIC_OPTIMISER)


def _apart(scales: list[list[Tensor]], wanted: float) -> Tensor:
    """Return the mean squared distance of the scores from a number, summed over the scales."""
    return torch.stack([(layers[-1].float() - wanted).square().mean() for layers in scales]).sum()


def _features_apart(scales: list[list[Tensor]], wanted: list[list[Tensor]]) -> Tensor:
    """Return the L1 distance of all layers but the scores, summed over layers and scales."""
    terms = [
        F.l1_loss(own, other)
        for layers, others in zip(scales, wanted, strict=True)
        for own, other in zip(layers[:-1], others[:-1], strict=True)
    ]
    return torch.stack(terms).sum()
