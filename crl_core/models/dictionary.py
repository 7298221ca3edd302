"""What the intensities of a voxel alone say: a learnt dictionary of tissues and their mixtures."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from crl_core.models.codes import N_TISSUE_BASIS, reference_gain, signed_mz, tissue_basis_code

T1_BOUNDS = (120.0, 6000.0)
T2_BOUNDS = (4.0, 3000.0)

# (PD, T1, T2, share of fat, rough share of the head) of what a head is made of, at 3 T and 1.5 T.
# They are where training starts, not claims: all of it is learnt.
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

_SPREAD, _AMOUNT_SPREAD, _AIR_SPREAD = 0.03, 0.15, 0.03
_MIXED = 0.3
"""Share of the head that holds more than one tissue, where training starts."""
_BLOCK = 4096
_HEAD = 0.08
"""Voxels darker than this in every source, of water's signal, tell nothing about gains."""
_GAIN_SPREAD, _GAIN_WEIGHT = 0.08, 0.02
_GAIN_STEPS = 12
_UNLIKELY = -8.0


class TissueDictionary(nn.Module):
    """Entries, each a mixture of reference tissues, and how probable each is in a voxel.

    A voxel's intensities x_s, in units of water's signal, are taken as ``c B_sk + noise`` for one
    of K entries: B_sk is the magnitude of the signed sum of the entry's tissues in source s, c an
    amount near 1 that is integrated out, the noise that of the entry. All values are learnt.

    Parameters
    ----------
    tissues
        M, reference tissues besides air.
    entries
        K, at least M; the first M hold one tissue each where training starts.
    """

    def __init__(self, tissues: int = 48, entries: int = 192) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(20)
        table = torch.tensor(_TISSUES)
        repeats = math.ceil(tissues / len(table))
        rows = table.repeat(repeats, 1)[:tissues]
        shift = 0.25 * torch.randn(tissues, 3, generator=generator)
        shift[: len(table)] = 0.0  # those of the table as they are, then the same moved
        low = torch.tensor([math.log(T1_BOUNDS[0]), math.log(T2_BOUNDS[0])]) + 0.01
        high = torch.tensor([math.log(T1_BOUNDS[1]), math.log(T2_BOUNDS[1])]) - 0.01
        times = (rows[:, 1:3].log() + shift[:, 1:]).clamp(low, high)
        self.log_t1 = nn.Parameter(times[:, 0].clone())
        self.log_t2 = nn.Parameter(times[:, 1].clone())
        self.log_pd = nn.Parameter(rows[:, 0].log() + 0.3 * shift[:, 0])
        self.fat = nn.Parameter(torch.logit(rows[:, 3].clamp(0.01, 0.97)))
        share = [row[4] for row in _TISSUES] * repeats
        mixture, prior = _mixtures(share[:tissues], max(entries, tissues))
        self.mixture = nn.Parameter((mixture + 2e-4).log())
        self.log_prior = nn.Parameter(prior.log())
        self.log_spread = nn.Parameter(torch.full_like(prior, math.log(_SPREAD)))
        self.log_amount_spread = nn.Parameter(torch.full_like(prior, math.log(_AMOUNT_SPREAD)))
        self.log_air = nn.Parameter(torch.tensor([math.log(0.02), math.log(_AIR_SPREAD)]))
        last = nn.Linear(32, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.brightness = nn.Sequential(nn.Linear(N_TISSUE_BASIS + 1, 32), nn.SiLU(), last)

    def signed_signals(self, parameters: Tensor) -> Tensor:
        """Return each tissue's signal with its sign, (..., M), per unit of proton density.

        The equation is that of `crl_core.physics.signal` with the last echo at `LAST_ECHO`;
        parameters are (..., 3 or 4), see `CRL.encode`.
        """
        tr, te, ti = (parameters[..., k, None].float() for k in range(3))
        t1 = self.log_t1.clamp(*(math.log(b) for b in T1_BOUNDS)).exp()
        t2 = self.log_t2.clamp(*(math.log(b) for b in T2_BOUNDS)).exp()
        # A train longer than what TR leaves after TI cannot be.
        last = torch.minimum(torch.full_like(tr, LAST_ECHO), 0.5 * (tr - ti)).clamp_min(0.0)
        signal = signed_mz(tr, last, ti, t1) * torch.exp(-te / t2)
        if parameters.shape[-1] > 3:
            suppressed = parameters[..., 3, None].float() * torch.sigmoid(self.fat)
            signal = signal * (1.0 - (1.0 - FAT_LEFT) * suppressed)
        return signal

    def usual_gain(self, parameters: Tensor) -> Tensor:
        """Return what water's signal divided by one model unit usually is, (...)."""
        learnt: Tensor = self.brightness(source_code(parameters))[..., 0]
        return reference_gain(parameters[..., :3].float()) * learnt.clamp(-1.5, 1.5).exp()

    def entries(self, parameters: Tensor) -> Tensor:
        """Return the magnitude of each entry, (..., K), in units of water's signal."""
        pure = self.signed_signals(parameters) * self.log_pd.exp()
        return (pure @ self.mixture.softmax(dim=1).T).abs()

    def explain(self, x: Tensor, basis: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return how probable each entry is, its projection, and the likelihood of each voxel.

        Parameters
        ----------
        x
            (B, N, S), intensities of N voxels in units of water's signal.
        basis
            (B, S, K), the magnitudes of the entries.
        present
            (B, S): which sources count, or how much, 0 to 1.

        Returns
        -------
        share, cross, evidence
            (B, N, K + 1), air last; (B, N, K), which divided by the power of `_widths` is the
            amount; and (B, N), logarithm.
        """
        x = (x * present[:, None, :]).clamp_min(0.0)
        noise, lam, power = self._widths(basis * present[:, :, None])
        count = present.sum(dim=1)[:, None]
        # The integral over the amount, a normal distribution around 1, in closed form.
        constant = (self.log_prior - count * self.log_spread + 0.5 * lam.log()
                    - 0.5 * power.log() - 0.5 * lam / noise)  # fmt: skip
        prior, spread = self.log_air
        air = torch.stack(
            [prior - count * spread, -0.5 * torch.exp(-2.0 * spread).expand_as(count)]
        )
        linear = torch.stack([constant, (-0.5 / noise).expand_as(constant)])
        # One row for what does not depend on the voxel, one for its energy; air has no signal.
        linear = torch.cat([linear, air], dim=2).transpose(0, 1)
        energy = x.square().sum(dim=2, keepdim=True)
        cross = torch.baddbmm(lam.expand_as(power)[:, None], x, basis * present[:, :, None])
        known = torch.cat([torch.ones_like(energy), energy], dim=2) @ linear
        pure = torch.addcmul(known[..., :-1], cross * cross, (0.5 / (noise * power))[:, None])
        joint = torch.cat([pure, known[..., -1:]], dim=2)
        best = joint.detach().amax(dim=2, keepdim=True)
        likely = (joint - best).exp()
        total = likely.sum(dim=2, keepdim=True)
        return likely / total, cross, (best + total.log())[..., 0]

    def _widths(self, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the noise of each entry, its ratio to the spread of amounts, and the power.

        (K), (K), both squared, and (B, K), which divides `cross` into the amount.
        """
        noise = (2.0 * self.log_spread).exp()
        lam = noise / (2.0 * self.log_amount_spread).exp()
        return noise, lam, basis.square().sum(dim=1) + lam

    @torch.no_grad()
    def fit_gains(
        self, images: Tensor, parameters: Tensor, present: Tensor, voxels: int = 1024
    ) -> Tensor:
        """Return by which factor each source is brighter than usual, (B, S), as a logarithm.

        One unit of a source is worth something else in every scan. The factors sought are those
        under which the intensities of all voxels together are most likely, found by gradient
        ascent with momentum; far from usual ones are unlikely.

        Parameters
        ----------
        images, parameters, present
            As in `CRL.encode`.
        voxels
            About how many voxels to look at, spread evenly.
        """
        b, s, h, w = images.shape
        step = max(1, int((h * w / voxels) ** 0.5))
        some = images[:, :, step // 2 :: step, step // 2 :: step].float().flatten(2).transpose(1, 2)
        x = some / self.usual_gain(parameters)[:, None, :] * present[:, None, :]
        basis = self.entries(parameters)
        head = (x.amax(dim=2) > _HEAD).float()
        noise, _, power = self._widths(basis * present[:, :, None])
        back = (basis / (noise * power)[:, None, :]).transpose(1, 2)
        found, speed = x.new_zeros(b, s), x.new_zeros(b, s)
        for _ in range(_GAIN_STEPS):
            scaled = x * torch.exp(-found)[:, None, :]
            share, cross, evidence = self.explain(scaled, basis, present)
            # By Fisher's identity the slope of the evidence is the mean slope of the entries.
            pure = share[..., :-1]
            square = scaled.square() * (pure @ (1.0 / noise))[..., None]
            slope = square - scaled * ((pure * cross) @ back) - 1.0
            counts = (head * (evidence > _UNLIKELY))[..., None]
            total = counts.sum(dim=1) + 1.0
            pull = (slope * counts).sum(dim=1) / total - _GAIN_WEIGHT * found / _GAIN_SPREAD**2
            bend = (square * counts).sum(dim=1) / total + 1.0 + _GAIN_WEIGHT / _GAIN_SPREAD**2
            speed = 0.7 * speed + pull / bend
            found = (found + speed).clamp(-0.4, 0.4)
        return found * present

    def posterior(
        self, images: Tensor, parameters: Tensor, gains: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the intensities of each voxel alone say about its tissues.

        Parameters
        ----------
        images, parameters, present
            As in `CRL.encode`.
        gains
            (B, S), how many model units of each source water's signal is.

        Returns
        -------
        share, amount, evidence
            (B, M + 1, H, W), air last; (B, M, H, W), the share of each tissue times its amount;
            and (B, 1, H, W).
        """
        h, w = images.shape[2:]
        x = (images.float() / gains[:, :, None, None]).flatten(2).transpose(1, 2)
        basis, mixture = self.entries(parameters), self.mixture.softmax(dim=1)
        _, _, power = self._widths(basis * present[:, :, None])
        weighed = mixture / power[:, :, None]
        parts = []
        for some in x.split(_BLOCK, dim=1):  # small enough for a processor's cache
            share, cross, evidence = self.explain(some, basis, present)
            pure, air = share[..., :-1], share[..., -1:]
            held = (pure * cross) @ weighed
            parts.append(torch.cat([pure @ mixture, air, held, evidence[..., None]], dim=2))
        whole = torch.cat(parts, dim=1).transpose(1, 2).unflatten(2, (h, w))
        m = mixture.shape[1]
        share, held, evidence = whole.split([m + 1, m, 1], dim=1)
        return share, held, evidence


def source_code(parameters: Tensor) -> Tensor:
    """Return the tissue-basis code and whether fat was suppressed."""
    times = parameters[..., :3].float()
    fat = parameters[..., 3:4].float() if parameters.shape[-1] > 3 else times[..., :1] * 0.0
    return torch.cat([tissue_basis_code(times), fat], dim=-1)


def _mixtures(share: list[float], entries: int) -> tuple[Tensor, Tensor]:
    """Return what entries hold, (K, M), and how frequent they are: pure ones, then pairs."""
    rng = np.random.default_rng(20)
    tissues, mixed = len(share), entries - len(share)
    mixture = np.zeros((entries, tissues), dtype=np.float32)
    mixture[:tissues] = np.eye(tissues)
    chance = np.array(share) / np.sum(share)
    for k in range(tissues, entries):
        part = rng.random()
        mixture[k, rng.choice(tissues, 2, replace=False, p=chance)] = part, 1.0 - part
    prior = np.concatenate([chance, np.full(mixed, _MIXED / max(1, mixed))])
    prior = (prior / prior.sum()).astype(np.float32)
    return torch.tensor(mixture.tolist()), torch.tensor(prior.tolist())
