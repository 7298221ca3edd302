"""Parts that more than one of the comparison networks is made of."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.errors import CheckpointError

Norm = Literal["instance", "batch"]

_INIT_STD = 0.02


class BatchNorm(nn.Module):
    """Batch normalisation of images (Ioffe and Szegedy, ICML 2015), momentum 0.1.

    As torch's own, without its count of batches: a checkpoint of this program holds floating
    point numbers only.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W): by the batch in training, by running values otherwise."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, 1e-5
        )


def norm_layer(norm: Norm, width: int) -> nn.Module:
    """Return an instance normalisation without weights, or a batch normalisation with them."""
    return BatchNorm(width) if norm == "batch" else nn.InstanceNorm2d(width)


def normed(convolution: nn.Module, norm: Norm, width: int) -> list[nn.Module]:
    """Return a convolution, its normalisation and a ReLU."""
    return [convolution, norm_layer(norm, width), nn.ReLU()]


def has_bias(norm: Norm) -> bool:
    """Return whether a convolution before a normalisation has a bias; batch norm brings its own."""
    return norm == "instance"


def contracting(inputs: int, width: int, norm: Norm) -> nn.Sequential:
    """Return the encoder: 7x7 to `width`, then two halvings to four times as many channels."""
    bias = has_bias(norm)
    layers: list[nn.Module] = [nn.ReflectionPad2d(3)]
    layers += normed(nn.Conv2d(inputs, width, 7, bias=bias), norm, width)
    for here in (width, 2 * width):
        step = nn.Conv2d(here, 2 * here, 3, stride=2, padding=1, bias=bias)
        layers += normed(step, norm, 2 * here)
    return nn.Sequential(*layers)


def doubling(inputs: int, width: int, norm: Norm) -> list[nn.Module]:
    """Return a transposed convolution to twice the size, with its normalisation and a ReLU."""
    step = nn.ConvTranspose2d(
        inputs, width, 3, stride=2, padding=1, output_padding=1, bias=has_bias(norm)
    )
    return normed(step, norm, width)


def expanding(width: int, norm: Norm) -> nn.Sequential:
    """Return the decoder: two doublings from 4 `width` channels, 7x7 to one, tanh."""
    layers = doubling(4 * width, 2 * width, norm) + doubling(2 * width, width, norm)
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh()]
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with reflected borders, added to the input.

    Parameters
    ----------
    width
        Channels.
    norm
        Normalisation after each convolution.
    dropout
        Share of values left out between the two in training.
    """

    def __init__(self, width: int, norm: Norm, dropout: float = 0.0) -> None:
        super().__init__()
        bias = has_bias(norm)
        layers: list[nn.Module] = [nn.ReflectionPad2d(1)]
        layers += normed(nn.Conv2d(width, width, 3, bias=bias), norm, width)
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias)]
        self.body = nn.Sequential(*layers, norm_layer(norm, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        out: Tensor = x + self.body(x)
        return out


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each added to its normalised input's origin.

    The encoder block of the vision transformer (Dosovitskiy et al., ICLR 2021).

    Parameters
    ----------
    width
        Length of a token.
    heads
        Heads of the attention; must divide `width`.
    mlp_ratio
        Hidden width of the perceptron over `width`.
    dropout
        Share of values left out inside and after the perceptron in training.
    qkv_bias
        Whether queries, keys and values have a bias.
    eps
        Added to the variance in the normalisations.

    Raises
    ------
    CheckpointError
        When the heads do not divide the width.
    """

    def __init__(
        self, width: int, heads: int, mlp_ratio: int, dropout: float, qkv_bias: bool, eps: float
    ) -> None:
        super().__init__()
        if width % heads:
            raise CheckpointError(f"{heads} heads do not divide {width} channels")
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(mlp_ratio * width, width), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, width) to the same shape."""
        x = x + self.out(self._attended(self.norm1(x)))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _attended(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        split = self.qkv(x).reshape(b, n, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        found = F.scaled_dot_product_attention(q, k, v)
        return found.transpose(1, 2).reshape(b, n, width)


def as_tokens(image: Tensor) -> Tensor:
    """Turn an image (B, C, H, W) into tokens (B, H W, C), row by row."""
    return image.flatten(2).transpose(1, 2)


def as_image(tokens: Tensor, height: int, width: int) -> Tensor:
    """Turn tokens (B, H W, C) back into an image (B, C, H, W)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)


def start_small(module: nn.Module) -> None:
    """Draw the weights of convolutions from N(0, 0.02), their biases zero.

    As published for all critics and for pGAN; the generator of ResViT begins as torch has it.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, std=_INIT_STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
