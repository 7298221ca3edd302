"""PTNet, the 2-D form: two pyramids of performers (Zhang et al., IEEE TMI 2022;41:2925)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.errors import CheckpointError
from crl_core.models.baselines.layers import TransformerBlock, as_image, as_tokens
from crl_core.models.baselines.pair import PairNetwork, inputs_of

_EPS = 1e-12


def positive_features(x: Tensor, directions: Tensor, *, per_token: bool) -> Tensor:
    """Return exp(w x - |x|^2 / 2) for every direction w, up to a factor that attention cancels.

    With directions drawn from N(0, 1) the mean over them of the product of two such features is
    exp(x y), the kernel of softmax attention (Choromanski et al., ICLR 2021, lemma 1).

    Parameters
    ----------
    x
        (B, N, D).
    directions
        (M, D).
    per_token
        Whether the largest exponent is taken out token by token, which only queries allow, or
        image by image.
    """
    exponent = x @ directions.T - 0.5 * x.square().sum(dim=-1, keepdim=True)
    most = exponent.amax(dim=-1 if per_token else (-2, -1), keepdim=True)
    return torch.exp(exponent - most)


def performer_attention(q: Tensor, k: Tensor, v: Tensor, directions: Tensor) -> Tensor:
    """Return an estimate of softmax(q k) v, at a cost linear in the number of tokens.

    FAVOR+ (Choromanski et al., ICLR 2021). In single precision whatever the rest is computed in:
    exponentials do not survive half precision.

    Parameters
    ----------
    q, k, v
        (B, N, D).
    directions
        (M, D); see `orthogonal_directions`. Rows as long as those of a matrix from N(0, 1)
        estimate softmax attention without bias.
    """
    with torch.autocast(q.device.type, enabled=False):
        directions = directions.float()
        queries = positive_features(q.float(), directions, per_token=True)
        keys = positive_features(k.float(), directions, per_token=False)
        total = queries @ keys.sum(dim=1).unsqueeze(-1)
        mixed = queries @ (keys.transpose(1, 2) @ v.float())
        found: Tensor = mixed / (total + _EPS)
        return found.to(v.dtype)


def orthogonal_directions(count: int, width: int, length: float) -> Tensor:
    """Draw `count` directions of a length, orthogonal to each other as far as `width` allows."""
    drawn = torch.empty(-(-count // width), width, width).normal_()
    if drawn.is_meta:
        return drawn.reshape(-1, width)[:count]
    # The sign makes the rotations uniform, whatever the convention of the decomposition.
    turned, upper = torch.linalg.qr(drawn)
    turned = turned * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    made: Tensor = length * turned.transpose(1, 2).reshape(-1, width)[:count]
    return made


class TokenPerformer(nn.Module):
    """One layer of linear attention that also changes the length of a token.

    The token performer of T2T-ViT (Yuan et al., ICCV 2021).

    Parameters
    ----------
    inputs, width
        Length of a token before and after.

    Notes
    -----
    There are width / 2 fixed directions, and as in the published code their length is the root
    of that number, where rows from N(0, 1) are about as long as the root of `width`: the
    estimated kernel is flatter than softmax.
    """

    directions: Tensor

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        count = max(1, width // 2)
        self.norm1 = nn.LayerNorm(inputs)
        self.kqv = nn.Linear(inputs, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("directions", orthogonal_directions(count, width, count**0.5))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, inputs) to (B, N, width)."""
        k, q, v = self.kqv(self.norm1(tokens)).chunk(3, dim=-1)
        y = v + self.out(performer_attention(q, k, v, self.directions))
        out: Tensor = y + self.mlp(self.norm2(y))
        return out


class Pyramid(nn.Module):
    """Three performers down to an eighth of the size, transformer blocks, four performers up.

    Parameters
    ----------
    inputs
        Channels of the image.
    size
        Side of the image, pixels, a multiple of 8.
    widths
        Length of a token at full, half and quarter size.
    width, blocks, heads, mlp_ratio
        Of the transformer at an eighth of the size.
    joined
        Channels of another network's output at half size that come in on the way up.
    """

    position: Tensor

    def __init__(
        self, inputs: int, size: int, widths: list[int], width: int, blocks: int, heads: int,
        mlp_ratio: int, joined: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        a, b, c = widths
        self.grid = size // 8
        self.down = nn.ModuleList(
            [TokenPerformer(49 * inputs, a), TokenPerformer(9 * a, b), TokenPerformer(9 * b, c)]
        )
        self.embed = nn.Linear(9 * c, width)
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, heads, mlp_ratio, 0.0, False, 1e-5) for _ in range(blocks))
        )
        self.leave = nn.Linear(width, c)
        self.up = nn.ModuleList(
            [
                TokenPerformer(c // 4 + c, b),
                TokenPerformer(b // 4 + b, a),
                TokenPerformer((a + joined) // 4 + a, a),
                TokenPerformer(a + inputs, a),
            ]
        )
        self.register_buffer("position", sinusoids(self.grid**2, width))

    def forward(self, x: Tensor, half: Tensor | None = None) -> Tensor:
        """Map (B, inputs, size, size) to (B, widths[0], size, size).

        Parameters
        ----------
        x
            The image.
        half
            (B, joined, size / 2, size / 2), where the network was built for it.
        """
        skips = [on_patches(self.down[0], x, 7, 1)]
        for step in list(self.down)[1:]:
            skips.append(on_patches(step, skips[-1], 3, 2))
        tokens = self.embed(patches(skips[-1], 3, 2)) + self.position
        y = as_image(self.leave(self.blocks(tokens)), self.grid, self.grid)
        for level, step in enumerate(list(self.up)[:3]):
            if level == 2 and half is not None:
                y = torch.cat([y, half], dim=1)
            y = on_pixels(step, torch.cat([F.pixel_shuffle(y, 2), skips[2 - level]], dim=1))
        return on_pixels(self.up[3], torch.cat([y, x], dim=1))


def sinusoids(count: int, width: int) -> Tensor:
    """Return the fixed code of positions 0 to `count` - 1, (1, count, width).

    Sine and cosine in turn (Vaswani et al., NeurIPS 2017).
    """
    # By numpy: any arithmetic without memory makes torch import its compiler.
    channel = np.arange(width)
    angle = np.arange(count)[:, None] / 10_000.0 ** (2 * (channel // 2) / width)
    code = np.where(channel % 2 == 0, np.sin(angle), np.cos(angle))
    return torch.from_numpy(code.astype(np.float32))[None]


def patches(image: Tensor, side: int, stride: int) -> Tensor:
    """Return overlapping patches of (B, C, H, W) as tokens, (B, N, C side^2)."""
    return F.unfold(image, side, padding=side // 2, stride=stride).transpose(1, 2)


def on_patches(layer: nn.Module, image: Tensor, side: int, stride: int) -> Tensor:
    """Apply a layer for tokens to the patches of an image; returns an image."""
    height, width = image.shape[-2] // stride, image.shape[-1] // stride
    return as_image(layer(patches(image, side, stride)), height, width)


def on_pixels(layer: nn.Module, image: Tensor) -> Tensor:
    """Apply a layer for tokens to every pixel of an image."""
    return as_image(layer(as_tokens(image)), *image.shape[-2:])


class PTNetGenerator(nn.Module):
    """A pyramid on the image, helped by one on the image at half its size."""

    def __init__(self, local: Pyramid, whole: Pyramid, width: int) -> None:
        super().__init__()
        self.local, self.whole = local, whole
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, size, size) in [-1, 1] to (B, 1, size, size)."""
        small = F.interpolate(x, scale_factor=0.5, mode="bilinear")
        out: Tensor = torch.tanh(on_pixels(self.out, self.local(x, self.whole(small))))
        return out


class PTNet(PairNetwork):
    """PTNet for slices of one size.

    Parameters
    ----------
    size
        Side of the images, pixels, a multiple of 16: the code of positions belongs to it.
    widths
        Length of a token at full, half and quarter size, each a multiple of 4.
    local_width, global_width
        Length of a token in the transformers of the two pyramids.
    blocks, heads, mlp_ratio
        Of both transformers.
    conditioned
        See `PairNetwork`.

    Notes
    -----
    25,469,401 values at the published sizes. The published code holds 27,640,826: with two
    performers from 1152 to 256 channels and a linear layer from 32 to 1 that it never uses.
    """

    def __init__(
        self,
        size: int = 192,
        widths: list[int] = [32, 64, 128],  # noqa: B006  (read only)
        local_width: int = 256,
        global_width: int = 512,
        blocks: int = 9,
        heads: int = 4,
        mlp_ratio: int = 2,
        conditioned: bool = False,
    ) -> None:
        if len(widths) != 3 or any(w % 4 for w in widths):
            raise CheckpointError("its entry 'widths' needs three multiples of 4")
        inputs, a = inputs_of(conditioned), widths[0]
        local = Pyramid(inputs, size, widths, local_width, blocks, heads, mlp_ratio, joined=a)
        whole = Pyramid(inputs, size // 2, widths, global_width, blocks, heads, mlp_ratio)
        super().__init__(PTNetGenerator(local, whole, a), 16, size, conditioned)
