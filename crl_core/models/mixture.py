"""Our network: every voxel a mixture of reference tissues, rendered through the signal equation."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.models.base import CRL, Features
from crl_core.models.codes import N_TISSUE_BASIS, reference_gain, signed_mz, tissue_basis_code
from crl_core.models.plus import FilmBlock, code_mlp, fuse, pad_to

_T1_BOUNDS = (120.0, 6000.0)
_T2_BOUNDS = (4.0, 3000.0)

# (PD, T1, T2, share of fat, rough share of the head) of what a head is made of, at 3 T and 1.5 T.
# They are where training starts, not claims: all but the shares of the head are learnt.
_TISSUES = (
    (0.68, 850.0, 74.0, 0.0, 0.16), (0.68, 660.0, 82.0, 0.0, 0.05),  # white matter
    (0.72, 1020.0, 66.0, 0.0, 0.05), (0.66, 780.0, 64.0, 0.0, 0.05),
    (0.80, 1450.0, 88.0, 0.0, 0.14), (0.80, 1000.0, 100.0, 0.0, 0.05),  # cortex
    (0.82, 1700.0, 100.0, 0.0, 0.04), (0.79, 1300.0, 76.0, 0.0, 0.04),
    (0.80, 1300.0, 68.0, 0.0, 0.02), (0.76, 1150.0, 73.0, 0.0, 0.02),  # deep grey matter
    (0.72, 1000.0, 48.0, 0.0, 0.01), (0.74, 1050.0, 75.0, 0.0, 0.02),
    (1.00, 4200.0, 1900.0, 0.0, 0.08), (0.98, 4400.0, 2300.0, 0.0, 0.03),  # fluid
    (0.98, 3700.0, 430.0, 0.0, 0.01), (0.92, 2600.0, 350.0, 0.0, 0.01),
    (0.86, 1350.0, 125.0, 0.0, 0.01), (0.86, 1750.0, 150.0, 0.0, 0.01),  # lesions
    (0.84, 1500.0, 110.0, 0.0, 0.01), (0.88, 2000.0, 220.0, 0.0, 0.01),
    (0.80, 1600.0, 60.0, 0.0, 0.01), (0.40, 1700.0, 60.0, 0.0, 0.01),  # blood, slow and fast
    (0.78, 1300.0, 36.0, 0.0, 0.03), (0.78, 1000.0, 38.0, 0.0, 0.02),  # muscle
    (0.60, 900.0, 24.0, 0.0, 0.02), (0.65, 850.0, 18.0, 0.0, 0.02),  # skin, fascia
    (0.22, 220.0, 5.0, 0.0, 0.04), (0.12, 400.0, 12.0, 0.0, 0.03),  # bone
    (0.93, 375.0, 125.0, 0.97, 0.07), (0.93, 280.0, 140.0, 0.97, 0.03),  # fat
    (0.50, 420.0, 95.0, 0.7, 0.03), (0.75, 600.0, 100.0, 0.5, 0.01),  # marrow
    (0.40, 2500.0, 400.0, 0.0, 0.02), (0.50, 1500.0, 150.0, 0.0, 0.02),  # edges of fluid
)  # fmt: skip

FAT_LEFT = 0.08
"""Share of fat's signal that suppression leaves."""

LAST_ECHO = 110.0
"""When the echo train ends, ms. It is a property of the train, so that a longer TE on the slider
does not shorten the recovery; brightness then falls with TE in every voxel."""

_SPREAD = 0.05
"""How far intensities stray from a tissue's, in units of pure water's signal: texture, shading,
and scales that are known only roughly."""
_PD_SPREAD = 0.15
_CAP = 0.5
_FLOOR = -6.0


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
    knows_up = True
    knows_fat = True
    knows_doubt = True

    def __init__(
        self,
        widths: list[int] = [32, 48, 96, 160, 224],  # noqa: B006  (read only)
        code_width: int = 64,
        residual_width: int = 32,
        max_sources: int = 4,
        atoms: int = 64,
    ) -> None:
        super().__init__()
        self.max_sources = max_sources
        self.levels = len(widths)
        self._make_atoms(atoms)
        first = widths[0]
        self.source_code = code_mlp(N_TISSUE_BASIS + 1, code_width)
        self.source_stem = nn.Conv2d(1, first, 3, padding=1)
        self.source_block = FilmBlock(first, code_width)
        self.share_stem = nn.Conv2d(atoms + 2, first, 1)
        self.code_mix = nn.Sequential(nn.Linear(code_width, code_width), nn.SiLU())
        self.down_blocks = nn.ModuleList(FilmBlock(w, code_width) for w in widths[1:])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.context = nn.Linear(widths[-1], code_width)
        self.merge = nn.ModuleList(nn.Conv2d(a + b, a, 3, padding=1) for a, b in pairs)
        self.up_blocks = nn.ModuleList(FilmBlock(w, code_width) for w in widths)
        self.shares = nn.Conv2d(first, atoms + 1, 1)
        self.amount = nn.Conv2d(first, 1, 1)
        self.trust = nn.Parameter(torch.tensor(0.3))
        self.hidden = nn.Conv2d(first, residual_width, 1)
        self.target_code = code_mlp(N_TISSUE_BASIS + 1, code_width)
        self.target_film = nn.Linear(code_width, 2 * residual_width)
        self.correction = nn.Conv2d(residual_width, 1, 1)
        self.doubt = nn.Conv2d(first, residual_width, 1)
        self.doubt_film = nn.Linear(code_width, 2 * residual_width)
        self.doubt_out = nn.Conv2d(residual_width, 1, 1)
        self._start_plausible()

    def _make_atoms(self, count: int) -> None:
        """Place the reference tissues: those of the table, then the same with other values."""
        generator = torch.Generator().manual_seed(20)
        table = torch.tensor(_TISSUES)
        repeats = math.ceil(count / len(table))
        rows = table.repeat(repeats, 1)[:count]
        shift = 0.25 * torch.randn(rows.shape[0], 3, generator=generator)
        shift[: len(table)] = 0.0
        low = torch.tensor([math.log(_T1_BOUNDS[0]), math.log(_T2_BOUNDS[0])]) + 0.01
        high = torch.tensor([math.log(_T1_BOUNDS[1]), math.log(_T2_BOUNDS[1])]) - 0.01
        times = (rows[:, 1:3].log() + shift[:, 1:]).clamp(low, high)
        self.log_t1 = nn.Parameter(times[:, 0].clone())
        self.log_t2 = nn.Parameter(times[:, 1].clone())
        self.log_pd = nn.Parameter(rows[:, 0].log() + 0.3 * shift[:, 0])
        self.fat = nn.Parameter(torch.logit(rows[:, 3].clamp(0.01, 0.97)))
        self.log_prior = nn.Parameter((rows[:, 4] / repeats).log())

    def _start_plausible(self) -> None:
        """Begin with what the intensities alone say, and no correction."""
        for layer in (self.shares, self.amount, self.correction, self.doubt_out, self.context):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        assert self.doubt_out.bias is not None
        nn.init.constant_(self.doubt_out.bias, -3.0)

    # tissues -----------------------------------------------------------------------------------

    def signals(self, parameters: Tensor) -> Tensor:
        """Return the magnitude of each tissue's signal, (..., M), for parameters (..., 3 or 4).

        In units of pure water's signal per unit of proton density; the equation is that of
        `crl_core.physics.signal` with the last echo at `LAST_ECHO`.
        """
        tr, te, ti = (parameters[..., k, None].float() for k in range(3))
        t1 = self.log_t1.clamp(*(math.log(b) for b in _T1_BOUNDS)).exp()
        t2 = self.log_t2.clamp(*(math.log(b) for b in _T2_BOUNDS)).exp()
        # A train longer than what TR leaves after TI cannot be.
        last = torch.minimum(torch.full_like(tr, LAST_ECHO), 0.5 * (tr - ti)).clamp_min(0.0)
        signal = signed_mz(tr, last, ti, t1).abs() * torch.exp(-te / t2)
        if parameters.shape[-1] > 3:
            suppressed = parameters[..., 3, None].float() * torch.sigmoid(self.fat)
            signal = signal * (1.0 - (1.0 - FAT_LEFT) * suppressed)
        return signal

    def posterior(
        self, images: Tensor, parameters: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what the intensities of each voxel alone say about its tissue.

        Parameters
        ----------
        images, parameters, present
            As in `encode`.

        Returns
        -------
        log_share, amount
            (B, M + 1, H, W), air last; and (B, M, H, W), by which factor its proton density would
            differ from each tissue's. That factor is free within 15 % and integrated out;
            intensities stray by 5 % of water's signal.
        """
        x = images.float() / reference_gain(parameters[..., :3].float())[:, :, None, None]
        basis = self.signals(parameters) * self.log_pd.exp()  # (B, S, M)
        if present is not None:
            x = x * present[:, :, None, None]
            basis = basis * present[:, :, None]
        lam = (_SPREAD / _PD_SPREAD) ** 2
        cross = torch.einsum("bshw,bsm->bmhw", x, basis) + lam
        power = basis.square().sum(dim=1)[:, :, None, None] + lam
        energy = x.square().sum(dim=1, keepdim=True)
        misfit = energy + lam - cross.square() / power
        prior = self.log_prior[None, :, None, None] - 0.5 * power.log()
        log_tissue = prior - 0.5 * misfit / _SPREAD**2
        log_air = math.log(0.02) - 0.5 * math.log(lam) - 0.5 * energy / _SPREAD**2
        log_share = torch.log_softmax(torch.cat([log_tissue, log_air], dim=1), dim=1)
        return log_share, cross / power

    # the network -------------------------------------------------------------------------------

    def encode(self, images: Tensor, parameters: Tensor, present: Tensor | None = None) -> Features:
        """See `CRL.encode`; H and W of any size (padded inside)."""
        _, s, h, w = images.shape
        if s > self.max_sources:
            raise ValueError(f"this network takes up to {self.max_sources} sources, not {s}")
        with torch.no_grad(), _precisely(images):
            padded = pad_to(images, 2 ** (self.levels - 1))
            log_share, amount = self.posterior(padded, parameters, present)
        x, code = self._fused(padded, parameters, present, log_share.exp(), amount)
        scales = self._contract(x, code)
        seen = _mean(scales[-1]) if self._overview is None else self._overview
        top = self._expand(scales, code + self.context(_normed(seen)))[:, :, :h, :w]
        logits = self.trust * log_share[:, :, :h, :w].clamp_min(_FLOOR) + self.shares(top).float()
        share = torch.softmax(logits, dim=1)[:, :-1]
        change = torch.exp(torch.tanh(self.amount(top).float()))
        gain = reference_gain(parameters[:, 0, :3].float())[:, None, None, None]
        pd = self.log_pd.exp()[None, :, None, None]
        tissue = share * amount[:, :, :h, :w].clamp_min(0.0) * (change * gain) * pd
        return {"tissue": tissue, "hidden": self.hidden(top), "doubt": self.doubt(top.detach())}

    def overview(
        self, images: Tensor, parameters: Tensor, present: Tensor | None = None
    ) -> Tensor | None:
        """See `CRL.overview`: about the subject, and about the scales of the sources."""
        images = pad_to(images, 2 ** (self.levels - 1))
        log_share, amount = self.posterior(images, parameters, present)
        x, code = self._fused(images, parameters, present, log_share.exp(), amount)
        return _mean(self._contract(x, code)[-1])

    def _fused(
        self,
        images: Tensor,
        parameters: Tensor,
        present: Tensor | None,
        share: Tensor,
        amount: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Put all sources together at full resolution; returns features and the code."""
        b, s = images.shape[:2]
        weight = images.new_ones(b, s) if present is None else present.to(images.dtype)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-6)
        codes = self.source_code(_code(parameters))
        x = self.source_stem(images.reshape(b * s, 1, *images.shape[2:]))
        x = fuse(self.source_block(x, codes.reshape(b * s, -1)), weight)
        expected = (share[:, :-1] * amount).sum(1, keepdim=True)
        x = x + self.share_stem(torch.cat([share, expected], dim=1))
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
        with _precisely(parameters):
            signal = self.signals(parameters)
            image = torch.einsum("bmhw,bpm->bphw", features["tissue"].float(), signal)
        fixed = parameters.float().clone()
        fixed[..., 1] = 20.0  # the correction must not depend on TE
        film = self.target_film(self.target_code(_code(fixed)))
        r = _conditioned(features["hidden"], film, self.correction)
        return image * (1.0 + _CAP * torch.tanh(r))

    def spread_many(self, features: Features, parameters: Tensor) -> Tensor | None:
        """See `CRL.spread_many`: the scale of a Laplace distribution."""
        film = self.doubt_film(self.target_code(_code(parameters.float())).detach())
        raw = _conditioned(features["doubt"], film, self.doubt_out)
        return torch.exp(raw.clamp(-8.0, 2.0))


def _precisely(x: Tensor) -> torch.autocast:
    """Leave half precision: probabilities and sums of many tissues need more."""
    return torch.autocast(x.device.type, enabled=False)


def _code(parameters: Tensor) -> Tensor:
    """Return the tissue-basis code and whether fat was suppressed."""
    times = parameters[..., :3].float()
    fat = parameters[..., 3:4].float() if parameters.shape[-1] > 3 else times[..., :1] * 0.0
    return torch.cat([tissue_basis_code(times), fat], dim=-1)


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
