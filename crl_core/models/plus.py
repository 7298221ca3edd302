"""Our network: tissue maps from one or several scans, rendered through the signal equation."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.models.base import CRL, Features
from crl_core.models.codes import N_TISSUE_BASIS, reference_gain, signed_mz, tissue_basis_code
from crl_core.models.conv import Conv3x3

# Bounds of the effective maps; wider than tissue, because they also absorb what the equation
# leaves out (stimulated echoes, magnetisation transfer, an unknown echo train).
_T1_BOUNDS = (120.0, 6000.0)
_T2_BOUNDS = (6.0, 3000.0)
_PD_MAX = 2.0
_FLUID_T1, _FLUID_T2 = 4200.0, 1700.0
_RESIDUAL_CAP = 0.25


class FilmBlock(nn.Module):
    """Two 3x3 convolutions added to the input; between them a scale and shift per channel."""

    def __init__(self, width: int, code_width: int) -> None:
        super().__init__()
        self.first = Conv3x3(width, width)
        self.second = Conv3x3(width, width)
        self.film = nn.Linear(code_width, 2 * width)
        nn.init.normal_(self.film.weight, std=0.02)
        nn.init.zeros_(self.film.bias)
        nn.init.normal_(self.second.weight, std=0.01)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map (B, C, H, W) under a code (B, K)."""
        scale, shift = self.film(code)[:, :, None, None].to(x.dtype).chunk(2, dim=1)
        h = F.relu(self.first(F.relu(x)) * (1.0 + scale) + shift)
        out: Tensor = x + self.second(h)
        return out


class PlusCRL(CRL):
    """U-Net over one or several sources, physics decoder, small learned correction.

    Every source passes the same encoder, conditioned on its own parameters; the results are
    averaged over the sources that are there, at every scale, so their order does not matter.
    The decoder ends in four maps per voxel: proton density, effective T1 and T2, and the
    fraction of free fluid, a second compartment. The image is the magnitude of the signed sum
    of both compartments' signals times (1 + 0.25 tanh r), where r sees the features and the
    target's parameters.

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

    Notes
    -----
    Images are in units of the first source: its scale carries over to every rendering.
    """

    intensity_rule = "robust"
    carries_residual = True
    optimiser = "muon"

    def __init__(
        self,
        widths: list[int] = [32, 64, 96, 128],  # noqa: B006  (read only)
        code_width: int = 64,
        residual_width: int = 32,
        max_sources: int = 4,
    ) -> None:
        super().__init__()
        self.max_sources = max_sources
        self.levels = len(widths)
        self.source_code = code_mlp(N_TISSUE_BASIS, code_width)
        self.stem = nn.Conv2d(1, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(FilmBlock(w, code_width) for w in widths)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.merge = nn.ModuleList(Conv3x3(a + b, a) for a, b in pairs)
        self.up_blocks = nn.ModuleList(FilmBlock(w, code_width) for w in widths)
        self.maps = nn.Conv2d(widths[0], 4, 1)
        self.hidden = nn.Conv2d(widths[0], residual_width, 1)
        self.target_code = code_mlp(N_TISSUE_BASIS, code_width)
        self.target_film = nn.Linear(code_width, 2 * residual_width)
        self.correction = nn.Conv2d(residual_width, 1, 1)
        self._start_plausible()

    def _start_plausible(self) -> None:
        """Begin with brain-like maps, no free fluid and no correction."""
        nn.init.normal_(self.maps.weight, std=0.02)
        bias = [_logit(0.4), _log_logit(1100.0, _T1_BOUNDS), _log_logit(80.0, _T2_BOUNDS), -3.0]
        with torch.no_grad():
            assert self.maps.bias is not None
            self.maps.bias.copy_(torch.tensor(bias))
        nn.init.zeros_(self.correction.weight)
        assert self.correction.bias is not None
        nn.init.zeros_(self.correction.bias)

    def encode(self, images: Tensor, parameters: Tensor, present: Tensor | None = None) -> Features:
        """See `CRL.encode`; H and W of any size (padded inside)."""
        b, s, h, w = images.shape
        if s > self.max_sources:
            raise ValueError(f"this network takes up to {self.max_sources} sources, not {s}")
        weight = images.new_ones(b, s) if present is None else present.to(images.dtype)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1.0)
        codes = self.source_code(tissue_basis_code(parameters.float()))
        padded = pad_to(images.reshape(b * s, 1, h, w), 2 ** (self.levels - 1))
        scales = self._contract(padded, codes.reshape(b * s, -1))
        fused = [fuse(level, weight) for level in scales]
        mean_code = (codes * weight[:, :, None]).sum(dim=1)
        top = self._expand(fused, mean_code)[:, :, :h, :w]
        maps, hidden = self.maps(top).float(), self.hidden(top)
        gain = reference_gain(parameters[:, 0].float())[:, None]
        return {"maps": _bounded(maps, gain), "hidden": hidden}

    def _contract(self, x: Tensor, code: Tensor) -> list[Tensor]:
        x = self.down_blocks[0](self.stem(x), code)
        scales = [x]
        for step, block in zip(self.down, self.down_blocks[1:], strict=True):
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
        """See `CRL.render`; the magnitude is smooth at zero so that gradients exist there."""
        signal = physics_signal(features["maps"], parameters.float())
        code = self.target_code(tissue_basis_code(parameters.float()))
        scale, shift = self.target_film(code)[:, :, None, None].chunk(2, dim=1)
        hidden = features["hidden"]
        h = F.relu(hidden * (1.0 + scale.to(hidden.dtype)) + shift.to(hidden.dtype))
        r = torch.tanh(self.correction(h).float())
        return torch.sqrt(signal * signal + 1e-6) * (1.0 + _RESIDUAL_CAP * r)


def physics_signal(maps: Tensor, parameters: Tensor) -> Tensor:
    """Return the signed signal (B, 1, H, W) of two compartments.

    Parameters
    ----------
    maps
        (B, 4, H, W): proton density, T1 and T2 in ms, fraction of free fluid.
    parameters
        (B, 3) ms.

    Notes
    -----
    The equation is that of `crl_core.physics.signal` with the last echo at TE. Fluid and tissue
    are added with their signs, so a voxel holding both can cancel as it does on a scanner.
    """
    pd, t1, t2, fluid = maps.split(1, dim=1)
    tr, te, ti = (v[:, None, None, None] for v in parameters[..., :3].unbind(-1))
    tissue = signed_mz(tr, te, ti, t1) * torch.exp(-te / t2)
    t1_fluid = torch.full_like(te, _FLUID_T1)
    free = signed_mz(tr, te, ti, t1_fluid) * torch.exp(-te / _FLUID_T2)
    signal: Tensor = pd * (tissue + fluid * (free - tissue))
    return signal


def code_mlp(inputs: int, width: int) -> nn.Sequential:
    """Return the layers that turn parameters into a code."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())


def _bounded(raw: Tensor, gain: Tensor) -> Tensor:
    """Turn the network's four numbers per voxel into proton density, T1, T2 and fluid."""
    pd, t1, t2, fluid = raw.split(1, dim=1)
    return torch.cat(
        [
            _PD_MAX * torch.sigmoid(pd) * gain[:, :, None, None],
            _log_sigmoid(t1, _T1_BOUNDS),
            _log_sigmoid(t2, _T2_BOUNDS),
            torch.sigmoid(fluid),
        ],
        dim=1,
    )


def _log_sigmoid(x: Tensor, bounds: tuple[float, float]) -> Tensor:
    low, high = math.log(bounds[0]), math.log(bounds[1])
    return torch.exp(low + (high - low) * torch.sigmoid(x))


def _log_logit(value: float, bounds: tuple[float, float]) -> float:
    low, high = math.log(bounds[0]), math.log(bounds[1])
    return _logit((math.log(value) - low) / (high - low))


def _logit(fraction: float) -> float:
    return math.log(fraction / (1.0 - fraction))


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """Pad right and below with zeros (air) to a multiple of the coarsest step."""
    h, w = x.shape[-2:]
    return F.pad(x, (0, -w % multiple, 0, -h % multiple))


def fuse(level: Tensor, weight: Tensor) -> Tensor:
    """Average the sources that are there; (B*S, C, H, W) and (B, S) in, (B, C, H, W) out."""
    b, s = weight.shape
    if s == 1:
        return level
    split = level.unflatten(0, (b, s))
    fused: Tensor = (split * weight[:, :, None, None, None].to(level.dtype)).sum(dim=1)
    return fused
