"""The residual encoder of CRL: EDSR without upsampling (Lim et al., CVPR Workshops 2017)."""

from __future__ import annotations

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between, added to the input at a reduced scale."""

    def __init__(self, features: int, residual_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
        )
        self.residual_scale = residual_scale

    def forward(self, x: Tensor) -> Tensor:
        """Return x + scale * body(x); (B, C, H, W)."""
        out: Tensor = self.body(x) * self.residual_scale + x
        return out


class ResidualEncoder(nn.Module):
    """3x3 convolution, residual blocks, 3x3 convolution, and a skip over the blocks.

    Parameters
    ----------
    features
        Channels throughout.
    blocks
        Number of residual blocks.
    residual_scale
        Factor on the output of each block.
    """

    def __init__(self, features: int, blocks: int, residual_scale: float = 0.1) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, features, 3, padding=1))
        body: list[nn.Module] = [ResidualBlock(features, residual_scale) for _ in range(blocks)]
        body.append(nn.Conv2d(features, features, 3, padding=1))
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1, H, W) to (B, features, H, W)."""
        first: Tensor = self.head(x)
        out: Tensor = self.body(first) + first
        return out
