"""How TR, TE and TI become numbers a network can work with."""

from __future__ import annotations

import torch
from torch import Tensor

# (T1, T2) in ms of eight reference tissues that span the head. They are coordinates of the
# parameter space, not claims about anatomy: fat, white matter, pallidum, deep grey, cortex,
# lesion, oedema, fluid.
_REFERENCE = (
    (300.0, 80.0), (850.0, 72.0), (1000.0, 50.0), (1300.0, 72.0),
    (1450.0, 92.0), (1350.0, 150.0), (2200.0, 250.0), (4200.0, 1700.0),
)  # fmt: skip
_REFERENCE_PD = (0.95, 0.68, 0.72, 0.8, 0.8, 0.86, 0.9, 1.0)

N_TISSUE_BASIS = 4 + 2 * len(_REFERENCE)
"""Length of `tissue_basis_code`."""


def authors_code(parameters: Tensor) -> Tensor:
    """Return [TR/100, TE, TI/100], the convention of the authors' code; (..., 3) ms in."""
    return parameters[..., :3] * parameters.new_tensor([0.01, 1.0, 0.01])


def log_code(parameters: Tensor) -> Tensor:
    """Return four standardised numbers: log TR, log TE, log(TI + 150 ms), inversion or not.

    The scale of TI is linear near zero, where a logarithm would run away.
    """
    tr, te, ti = parameters[..., :3].unbind(-1)
    return torch.stack(
        [
            (torch.log(tr) - 8.3) / 0.8,
            (torch.log(te) - 3.6) / 1.0,
            (torch.log(ti + 150.0) - 6.0) / 1.2,
            (ti > 0).to(tr.dtype) * 2.0 - 1.0,
        ],
        dim=-1,
    )


def reference_signals(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return longitudinal magnetisation, decay and signed signal of the reference tissues.

    Each is (..., 8); the equation is that of `crl_core.physics.signal` with the last echo at TE.
    """
    tissue = parameters.new_tensor(_REFERENCE)
    pd = parameters.new_tensor(_REFERENCE_PD)
    tr, te, ti = (v.unsqueeze(-1) for v in parameters[..., :3].unbind(-1))
    t1, t2 = tissue[:, 0], tissue[:, 1]
    mz = signed_mz(tr, te, ti, t1)
    decay = torch.exp(-te / t2)
    return mz, decay, pd * mz * decay


def signed_mz(tr: Tensor, te: Tensor, ti: Tensor, t1: Tensor) -> Tensor:
    """Longitudinal magnetisation at excitation; all in ms, broadcasting.

    With TI = 0 the general formula gives the negative of the value without inversion, so the
    sign is flipped there and the two agree.
    """
    mz = 1.0 - 2.0 * torch.exp(-ti / t1) + torch.exp(-(tr - te).clamp_min(1.0) / t1)
    return torch.where(ti > 0, mz, -mz)


def tissue_basis_code(parameters: Tensor) -> Tensor:
    """Return log codes and what the reference tissues would show, (..., `N_TISSUE_BASIS`).

    In these coordinates settings nobody trained on are interpolations: the exponentials of the
    signal equation are already in them.
    """
    mz, decay, _ = reference_signals(parameters)
    return torch.cat([log_code(parameters), mz, 2.0 * decay - 1.0], dim=-1)


def reference_gain(parameters: Tensor) -> Tensor:
    """Return 1 / (brightest reference tissue), the gain that brings an image near [0, 1].

    Shape (...,) for parameters (..., 3).
    """
    _, _, signal = reference_signals(parameters)
    return 1.0 / signal.abs().amax(dim=-1).clamp_min(1e-3)


def similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Compare two settings by what six reference tissues of the brain would show.

    Parameters
    ----------
    a, b
        (..., 3) ms.

    Returns
    -------
    cosine, gain
        Cosine between the two vectors of magnitudes, and the least-squares factor from `b`
        to `a`; both (...,).
    """
    return alike(brain_signals(a), brain_signals(b))


def brain_signals(parameters: Tensor) -> Tensor:
    """Return the magnitudes that six reference tissues of the brain would show, (..., 6)."""
    return reference_signals(parameters)[2][..., 1:7].abs()


def alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine between signals of tissues (..., n), and the factor from `b` to `a`."""
    dot, power = (a * b).sum(-1), (b * b).sum(-1).clamp_min(1e-8)
    return dot / (power * (a * a).sum(-1).clamp_min(1e-8)).sqrt(), dot / power
