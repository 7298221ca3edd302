"""ResViT: residual blocks, two with a transformer (Dalmaz et al., IEEE TMI 2022;41:2598)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.errors import CheckpointError
from crl_core.models.baselines.layers import (
    BatchNorm,
    ResidualBlock,
    TransformerBlock,
    as_image,
    as_tokens,
    contracting,
    doubling,
    expanding,
    normed,
)
from crl_core.models.baselines.pair import PairNetwork, check_shares, inputs_of

_EPS = 1e-6


class SharedTransformer(nn.Module):
    """The encoder of ViT-B/16 without its embedding; one serves all blocks that use it."""

    def __init__(self, width: int, layers: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerBlock(width, heads, mlp_ratio, dropout, True, _EPS) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to the same shape."""
        for layer in self.layers:
            tokens = layer(tokens)
        out: Tensor = self.norm(tokens)
        return out


class Aggregation(nn.Module):
    """Tokens of a feature map through the transformer and back, merged with the map.

    Parameters
    ----------
    width
        Channels of the map.
    tokens
        Length of a token.
    grid
        Tokens along a side; the map is four times as large.
    dropout
        Share of embedded values left out in training.
    """

    def __init__(self, width: int, tokens: int, grid: int, dropout: float) -> None:
        super().__init__()
        self.grid = grid
        down: list[nn.Module] = []
        for here in (width, 2 * width):
            step = nn.Conv2d(here, 2 * here, 3, stride=2, padding=1, bias=False)
            down += normed(step, "batch", 2 * here)
        self.down = nn.Sequential(*down)
        self.embed = nn.Conv2d(4 * width, tokens, 1)
        self.position = nn.Parameter(torch.zeros(1, grid * grid, tokens))
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Sequential(
            *doubling(tokens, 2 * width, "batch"), *doubling(2 * width, width, "batch")
        )
        self.compress = nn.Sequential(
            *normed(nn.Conv2d(2 * width, width, 3, padding=1, bias=False), "batch", width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            BatchNorm(width),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(2 * width, width, 1, bias=False), BatchNorm(width))

    def forward(self, x: Tensor, transformer: SharedTransformer) -> Tensor:
        """Map (B, width, 4 grid, 4 grid) to the same shape."""
        tokens = as_tokens(self.embed(self.down(x))) + self.position
        seen = as_image(transformer(self.dropout(tokens)), self.grid, self.grid)
        both = torch.cat([self.up(seen), x], dim=1)
        return F.relu(self.compress(both) + self.shortcut(both))


class ResViTGenerator(nn.Module):
    """Encoder, residual blocks of which some begin with an `Aggregation`, and decoder.

    The transformer is held once and handed to every block that uses it.
    """

    inserted: Tensor

    def __init__(
        self, inputs: int, width: int, blocks: int, aggregations: dict[int, Aggregation],
        transformer: SharedTransformer | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = contracting(inputs, width, "batch")
        self.blocks = nn.ModuleList(ResidualBlock(4 * width, "batch") for _ in range(blocks))
        self.aggregations = nn.ModuleDict({str(n): a for n, a in aggregations.items()})
        self.transformer = transformer
        self.decoder = expanding(width, "batch")
        # Part of the weights, because it belongs to them: a network of the first stage of its
        # training must be used without the transformer, which has learnt nothing yet.
        self.register_buffer("inserted", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) in [-1, 1] to (B, 1, H, W)."""
        x = self.encoder(x)
        whole = self.transformer is not None and bool(self.inserted > 0)
        for number, block in enumerate(self.blocks, start=1):
            if whole and str(number) in self.aggregations:
                x = self.aggregations[str(number)](x, self.transformer)
            x = block(x)
        out: Tensor = self.decoder(x)
        return out


class ResViT(PairNetwork):
    """ResViT for images of one size; 123,441,537 values at 256 pixels as published.

    Parameters
    ----------
    size
        Side of the images, pixels, a multiple of 16: the positions of tokens are learned. At 192
        there are 12 x 12 tokens (123,269,505 values), where the published code fails.
    width
        Channels at full resolution, four times as many in the blocks.
    blocks
        Residual blocks.
    transformers
        Numbers of the blocks that begin with the transformer, from 1; none makes the network of
        convolutions alone that the published training begins with (11,370,881 values), which
        takes images of any size.
    tokens, layers, heads, mlp_ratio
        The transformer: length of a token, depth, heads, hidden width over `tokens`.
    dropout
        Share of values left out in the transformer, in training only; see `PairNetwork`.
    conditioned
        See `PairNetwork`.

    Notes
    -----
    The published training starts from a transformer trained on ImageNet-21k. Here, as in the
    comparison of the CRL paper, all weights are trained from scratch, which handicaps this
    network.
    """

    def __init__(
        self,
        size: int = 256,
        width: int = 64,
        blocks: int = 9,
        transformers: list[int] = [1, 6],  # noqa: B006  (read only)
        tokens: int = 768,
        layers: int = 12,
        heads: int = 12,
        mlp_ratio: int = 4,
        dropout: float = 0.1,
        conditioned: bool = False,
    ) -> None:
        check_shares(dropout=dropout)
        if any(number > blocks for number in transformers):
            raise CheckpointError(f"its entry 'transformers' names a block above {blocks}")
        aggregations = {
            n: Aggregation(4 * width, tokens, max(1, size // 16), dropout) for n in transformers
        }
        shared = SharedTransformer(tokens, layers, heads, mlp_ratio, dropout)
        generator = ResViTGenerator(
            inputs_of(conditioned), width, blocks, aggregations, shared if aggregations else None
        )
        if aggregations:
            super().__init__(generator, 16, size, conditioned)
        else:
            super().__init__(generator, 4, None, conditioned)

    @property
    def staged(self) -> bool:
        """Whether there is a transformer to insert after a first stage without it."""
        return len(self._parts.aggregations) > 0

    def insert(self, whole: bool) -> None:
        """Use the transformer from now on, or leave it out."""
        self._parts.inserted.fill_(float(whole))

    @property
    def _parts(self) -> ResViTGenerator:
        assert isinstance(self.generator, ResViTGenerator)
        return self.generator
