"""pGAN: a residual convolutional generator (Dar et al., IEEE TMI 2019;38:2375)."""

from __future__ import annotations

from torch import Tensor, nn

from crl_core.models.baselines.layers import ResidualBlock, contracting, expanding, start_small
from crl_core.models.baselines.pair import PairNetwork, check_shares, inputs_of


class ResidualGenerator(nn.Module):
    """Two halvings, residual blocks with dropout, two doublings; instance normalisation.

    Parameters
    ----------
    inputs
        Channels of the input: one slice, or three neighbouring ones.
    width
        Channels at full resolution.
    blocks
        Residual blocks.
    dropout
        Share of values left out inside each block in training.
    """

    def __init__(self, inputs: int, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        inner = [ResidualBlock(4 * width, "instance", dropout) for _ in range(blocks)]
        self.encoder = contracting(inputs, width, "instance")
        self.blocks = nn.Sequential(*inner)
        self.decoder = expanding(width, "instance")
        start_small(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) in [-1, 1] to (B, 1, H, W); sides are multiples of 4."""
        out: Tensor = self.decoder(self.blocks(self.encoder(x)))
        return out


class PGAN(PairNetwork):
    """The generator of pGAN for one slice; 11,365,633 values as published.

    Parameters
    ----------
    width
        Channels at full resolution, four times as many in the middle.
    blocks
        Residual blocks.
    dropout
        Share of values left out inside each block, in training only; see `PairNetwork`.
    conditioned
        See `PairNetwork`.

    Notes
    -----
    The published run shows the network three neighbouring slices (11,371,905 values, see
    `ResidualGenerator`); here every network sees one.
    """

    def __init__(
        self, width: int = 64, blocks: int = 9, dropout: float = 0.5, conditioned: bool = False
    ) -> None:
        check_shares(dropout=dropout)
        generator = ResidualGenerator(inputs_of(conditioned), width, blocks, dropout)
        super().__init__(generator, 4, None, conditioned)
