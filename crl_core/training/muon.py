"""An optimiser that takes convolutions further with each step than Adam does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

RATE = 10.0
"""Rate of the orthogonal steps, in units of Adam's rate for the other weights."""

_MEMORY = 0.95
# The quintic iteration x <- a x + b x^3 + c x^5 brings singular values from 0..1 to about 1; these
# numbers are the published ones. They overshoot a little, which does no harm and is fast.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


class Muon(torch.optim.Adam):
    """Momentum made orthogonal for the weights of convolutions, Adam for all others.

    A gradient has a few large directions and many small ones. What is learnt here are all of them
    alike: each step is the matrix nearest to the momentum all of whose singular values are one.

    Parameters
    ----------
    network
        What to train. Convolutions that look at neighbours and have more than one input take
        orthogonal steps.
    learning_rate
        Adam's. The rate of each group of weights is this times its ``"factor"``.

    References
    ----------
    K. Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; the matrix is
    a kernel's outputs against its inputs and taps.
    """

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        orthogonal, others = split_weights(network)
        groups = [
            {"params": others, "factor": 1.0, "orthogonal": False},
            {"params": orthogonal, "factor": RATE, "orthogonal": True},
        ]
        groups = [group for group in groups if group["params"]]
        super().__init__(groups, lr=learning_rate)
        for group in self.param_groups:
            group["lr"] = learning_rate * group["factor"]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step; `closure` as in other optimisers."""
        whole = self.param_groups
        self.param_groups = [g for g in whole if not g["orthogonal"]]
        try:
            told = super().step(closure)
        finally:
            self.param_groups = whole
        for group in whole:
            if group["orthogonal"]:
                self._turn(group["params"], group["lr"])
        return told

    def _turn(self, weights: Iterable[Tensor], rate: float) -> None:
        for weight in weights:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if "exp_avg" not in state:
                state["exp_avg"] = torch.zeros_like(weight)
                state["step"] = torch.zeros(())  # Adam looks for it when it gets its state back
            state["step"] += 1
            momentum = state["exp_avg"]
            momentum.mul_(_MEMORY).add_(weight.grad)
            # A look ahead, as Nesterov's.
            ahead = torch.add(weight.grad, momentum, alpha=_MEMORY).flatten(1)
            step = orthogonal(ahead)
            length = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
            weight.add_(step.view_as(weight), alpha=-rate * length)


def split_weights(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights that take orthogonal steps, and all others."""
    turned = [
        part.weight
        for part in network.modules()
        if isinstance(part, nn.Conv2d) and part.in_channels > 1 and max(part.kernel_size) > 1
    ]
    ids = {id(weight) for weight in turned}
    others: list[Tensor] = [w for w in network.parameters() if id(w) not in ids]
    return list(turned), others


def orthogonal(matrix: Tensor) -> Tensor:
    """Return the nearest matrix with singular values of about one, (R, C).

    They come out between 0.7 and 1.2; those of a matrix that are a thousandth of its largest or
    less stay below.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.float() / (wide.norm() + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        polynomial = torch.addmm(square, square, square, beta=_B, alpha=_C)
        x = torch.addmm(x, polynomial, x, beta=_A)
    found: Tensor = x if matrix.shape[0] <= matrix.shape[1] else x.T
    back: Tensor = found.to(matrix.dtype)
    return back
