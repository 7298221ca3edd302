"""Our network: every voxel a mixture of reference tissues, rendered through the signal equation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.models.base import CRL, SOME, Features
from crl_core.models.codes import N_TISSUE_BASIS
from crl_core.models.conv import Conv3x3
from crl_core.models.dictionary import TissueDictionary, source_code
from crl_core.models.plus import FilmBlock, code_mlp, fuse, pad_to

_CAP = 0.5
_FLOOR = -8.0


class MixtureCRL(CRL):
    """Tissue shares from one or several sources, rendered as the sum of the tissues' signals.

    In every voxel the intensities of the sources give each of M reference tissues a probability,
    by the signal equation alone; what the network adds is context. It sees these probabilities and
    the sources, and corrects the shares and the amount. An image is then
    ``amount * sum_m share_m |Mz_m| exp(-TE / T2_m) * (1 + 0.5 tanh r)``, where r sees features and
    the target's TR and TI. With an uncertain tissue the sum is the expected signal, which is the
    estimate of least squared error; and as no factor grows with TE, neither does any voxel.

    Parameters
    ----------
    widths
        Channels at full resolution and each halving after it.
    code_width
        Length of a parameter code.
    residual_width
        Channels of the learned correction.
    max_sources
        How many scans can be fused.
    atoms
        Number of reference tissues besides air.

    Notes
    -----
    Parameters may carry a fourth number after TR, TE and TI: 1 where fat was suppressed. Images
    are in units of the first source. Features are ``tissue`` (B, M, H, W), shares times amount,
    ``hidden`` and ``doubt``, from which `spread` is rendered.
    """

    intensity_rule = "robust"
    carries_residual = True
    optimiser = "muon"
    knows_up = True
    knows_fat = True
    knows_doubt = True
    knows_brightness = True
    falls_with_te = True
    # Measured: 27 to 42 dB in sources of one digital subject and of the real slice, 22 and 23
    # where a FLAIR with shading and unstated times was among them.
    gives_back = 26.0

    def __init__(
        self,
        widths: list[int] = [32, 64, 96, 128, 192],  # noqa: B006  (read only)
        code_width: int = 64,
        residual_width: int = 32,
        max_sources: int = 4,
        atoms: int = 48,
        entries: int = 192,
    ) -> None:
        super().__init__()
        self.max_sources = max_sources
        self.levels = len(widths)
        self.tissues = TissueDictionary(atoms, entries)
        first = widths[0]
        self.source_code = code_mlp(N_TISSUE_BASIS + 1, code_width)
        self.source_stem = nn.Conv2d(1, first, 3, padding=1)
        self.source_block = FilmBlock(first, code_width)
        self.share_stem = nn.Conv2d(atoms + 3, first, 1)
        self.code_mix = nn.Sequential(nn.Linear(code_width, code_width), nn.SiLU())
        self.down_blocks = nn.ModuleList(FilmBlock(w, code_width) for w in widths[1:])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.context = nn.Linear(widths[-1], code_width)
        self.merge = nn.ModuleList(Conv3x3(a + b, a) for a, b in pairs)
        self.up_blocks = nn.ModuleList(FilmBlock(w, code_width) for w in widths)
        self.shares = nn.Conv2d(first, atoms + 1, 1)
        self.amount = nn.Conv2d(first, 1, 1)
        self.trust = nn.Parameter(torch.tensor(1.0))
        self.hidden = nn.Conv2d(first, residual_width, 1)
        self.target_code = code_mlp(N_TISSUE_BASIS + 1, code_width)
        self.target_film = nn.Linear(code_width, 2 * residual_width)
        self.correction = nn.Conv2d(residual_width, 1, 1)
        self.doubt = nn.Conv2d(first, residual_width, 1)
        self.doubt_film = nn.Linear(code_width, 2 * residual_width)
        self.doubt_out = nn.Conv2d(residual_width, 1, 1)
        self._start_plausible()

    def _start_plausible(self) -> None:
        """Begin with what the intensities alone say, and no correction."""
        for layer in (self.shares, self.amount, self.correction, self.doubt_out, self.context):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        assert self.doubt_out.bias is not None
        nn.init.constant_(self.doubt_out.bias, -3.0)

    def signals(self, parameters: Tensor) -> Tensor:
        """Return the magnitude of each tissue's signal, (..., M), for parameters (..., 3 or 4).

        In units of pure water's signal per unit of proton density, see `TissueDictionary`.
        """
        return self.tissues.signed_signals(parameters).abs()

    # the network -------------------------------------------------------------------------------

    def encode(self, images: Tensor, parameters: Tensor, present: Tensor | None = None) -> Features:
        """See `CRL.encode`; H and W of any size (padded inside)."""
        _, s, h, w = images.shape
        if s > self.max_sources:
            raise ValueError(f"this network takes up to {self.max_sources} sources, not {s}")
        given = _Given.of(images, parameters, present, 2 ** (self.levels - 1))
        known = self._overview
        with torch.no_grad(), _precisely(images):
            factor = self._factors(given)
            gain = self.tissues.usual_gain(given.parameters) * factor.exp()
            found = self.tissues.posterior(given.images, given.parameters, gain, given.present)
        x, code = self._fused(given, factor, found)
        scales = self._contract(x, code)
        seen = _mean(scales[-1]) if known is None else known
        top = self._expand(scales, code + self.context(_normed(seen)))[:, :, :h, :w]
        share, held, _ = (f[:, :, :h, :w] for f in found)
        logits = self.trust * share.clamp_min(1e-9).log().clamp_min(_FLOOR)
        corrected = torch.softmax(logits + self.shares(top).float(), dim=1)[:, :-1]
        change = torch.exp(torch.tanh(self.amount(top).float()))
        pd = self.tissues.log_pd.exp()[None, :, None, None]
        unit = gain[:, 0, None, None, None]
        tissue = corrected * _amount(share[:, :-1], held) * (change * unit) * pd
        features = {"tissue": tissue, "hidden": self.hidden(top), "doubt": self.doubt(top.detach())}
        if self.training:
            some = given.images[..., :h:SOME, :w:SOME]
            features["intensity"] = self._held(some, given, factor)
        return features

    def overview(
        self, images: Tensor, parameters: Tensor, present: Tensor | None = None
    ) -> Tensor | None:
        """See `CRL.overview`: what is known of the subject."""
        given = _Given.of(images, parameters, present, 2 ** (self.levels - 1))
        factor = self._factors(given)
        gain = self.tissues.usual_gain(given.parameters) * factor.exp()
        found = self.tissues.posterior(given.images, given.parameters, gain, given.present)
        x, code = self._fused(given, factor, found)
        return _mean(self._contract(x, code)[-1])

    def brightness(
        self, images: Tensor, parameters: Tensor, present: Tensor | None = None
    ) -> Tensor | None:
        """See `CRL.brightness`."""
        given = _Given.of(images, parameters, present, 1)
        with _precisely(images):
            return self.tissues.fit_gains(given.images, given.parameters, given.present)

    def render_intensity(self, features: Features, parameters: Tensor) -> Tensor | None:
        """See `CRL.render_intensity`."""
        if "intensity" not in features:
            return None
        with _precisely(parameters):
            signal = self.signals(parameters) * self.tissues.log_pd.exp()
            return torch.einsum("bmhw,bpm->bphw", features["intensity"], signal)

    def by_intensity(self, images: Tensor, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return what the intensities of some voxels alone say, (B, P, H, W).

        Shapes and units as in `encode` and `render_many`; H x W may be any selection of voxels.
        """
        given = _Given.of(images, parameters, None, 1)
        held = self._held(given.images, given, self._factors(given))
        image = self.render_intensity({"intensity": held}, targets)
        assert image is not None
        return image

    def _held(self, some: Tensor, given: _Given, factor: Tensor) -> Tensor:
        """Return amounts of each tissue in some voxels, (B, M, H', W'), without context."""
        with _precisely(some):
            gain = self.tissues.usual_gain(given.parameters) * factor.exp()
            held = self.tissues.posterior(some, given.parameters, gain, given.present)[1]
            return held * gain[:, 0, None, None, None]

    def _factors(self, given: _Given) -> Tensor:
        if self._brightness is not None:
            return self._brightness
        return self.tissues.fit_gains(given.images, given.parameters, given.present)

    def _fused(
        self, given: _Given, factor: Tensor, found: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Put all sources together at full resolution; returns features and the code."""
        b, s = given.images.shape[:2]
        weight = given.present / given.present.sum(dim=1, keepdim=True).clamp_min(1e-6)
        codes = self.source_code(source_code(given.parameters))
        images = given.images * torch.exp(-factor)[:, :, None, None].to(given.images.dtype)
        x = self.source_stem(images.reshape(b * s, 1, *images.shape[2:]))
        x = fuse(self.source_block(x, codes.reshape(b * s, -1)), weight)
        share, held, evidence = found
        told = [share, held.sum(1, keepdim=True), 0.2 * evidence.clamp(-20.0, 20.0)]
        x = x + self.share_stem(torch.cat(told, dim=1))
        return x, self.code_mix((codes * weight[:, :, None]).sum(dim=1))

    def _contract(self, x: Tensor, code: Tensor) -> list[Tensor]:
        scales = [x]
        for step, block in zip(self.down, self.down_blocks, strict=True):
            x = block(step(F.relu(x)), code)
            scales.append(x)
        return scales

    def _expand(self, scales: list[Tensor], code: Tensor) -> Tensor:
        x: Tensor = self.up_blocks[-1](scales[-1], code)
        for level in range(self.levels - 2, -1, -1):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.merge[level](F.relu(torch.cat([scales[level], x], dim=1)))
            x = self.up_blocks[level](x, code)
        return F.relu(x)

    def render(self, features: Features, parameters: Tensor) -> Tensor:
        """See `CRL.render`; never negative, and in no voxel brighter at a longer TE."""
        return self.render_many(features, parameters[:, None])

    def render_many(self, features: Features, parameters: Tensor) -> Tensor:
        """See `CRL.render_many`."""
        return self._corrected(features, parameters, parameters)

    def render_echoes(self, features: Features, parameters: Tensor) -> Tensor:
        """See `CRL.render_echoes`; what does not depend on TE is computed once."""
        return self._corrected(features, parameters, parameters[:, :1])

    def _corrected(self, features: Features, parameters: Tensor, others: Tensor) -> Tensor:
        """Render with the correction for `others`, (B, P or 1, 3 or 4)."""
        with _precisely(parameters):
            signal = self.signals(parameters)
            image = torch.einsum("bmhw,bpm->bphw", features["tissue"].float(), signal)
        fixed = others.float().clone()
        fixed[..., 1] = 20.0  # the correction must not depend on TE
        film = self.target_film(self.target_code(source_code(fixed)))
        r = _conditioned(features["hidden"], film, self.correction)
        return image * (1.0 + _CAP * torch.tanh(r))

    def spread_many(self, features: Features, parameters: Tensor) -> Tensor | None:
        """See `CRL.spread_many`: the scale of a Laplace distribution."""
        film = self.doubt_film(self.target_code(source_code(parameters.float())).detach())
        raw = _conditioned(features["doubt"], film, self.doubt_out)
        return torch.exp(raw.clamp(-8.0, 2.0))


def _precisely(x: Tensor) -> torch.autocast:
    """Leave half precision: probabilities and sums of many tissues need more."""
    return torch.autocast(x.device.type, enabled=False)


@dataclass(frozen=True)
class _Given:
    """Sources padded to what the network can halve; (B, S, H, W), (B, S, 3 or 4) and (B, S)."""

    images: Tensor
    parameters: Tensor
    present: Tensor

    @classmethod
    def of(
        cls, images: Tensor, parameters: Tensor, present: Tensor | None, multiple: int
    ) -> _Given:
        there = images.new_ones(images.shape[:2]) if present is None else present.to(images.dtype)
        return cls(pad_to(images, multiple), parameters, there)


def _amount(share: Tensor, held: Tensor) -> Tensor:
    """Return how much of each tissue there is per share of it, (B, M, H, W).

    Where there is hardly any, the network may still find some: as much as of the others.
    """
    others = held.sum(1, keepdim=True) / share.sum(1, keepdim=True).clamp_min(1e-3)
    few = 1e-3
    return (held + few * others.clamp(0.2, 2.0)) / (share + few)


def _conditioned(hidden: Tensor, films: Tensor, out: nn.Conv2d) -> Tensor:
    """Scale and shift channels by each target's code, then one linear map per voxel.

    (B, C, H, W) and (B, P, 2C) in, (B, P, H, W) out.
    """
    found = []
    for film in films.to(hidden.dtype).unbind(dim=1):
        scale, shift = film[:, :, None, None].chunk(2, dim=1)
        found.append(out(F.relu(hidden * (1.0 + scale) + shift)).float())
    return torch.cat(found, dim=1)


def _mean(x: Tensor) -> Tensor:
    """Average the features of an image, (B, C, H, W) to (B, C)."""
    return F.relu(x).float().mean(dim=(2, 3))


def _normed(x: Tensor) -> Tensor:
    """Take size out of features: they scale what they are the mean of, and would run away."""
    return F.layer_norm(x, x.shape[-1:])
