"""What every network of this program can do: encode once, render any parameters."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Features: TypeAlias = dict[str, Tensor]
"""What `CRL.encode` returns: spatial tensors (B, C, H, W) by name, which may be cut and resampled
like images. Everything `CRL.render` needs besides the target's parameters."""


SOME = 4
"""Along rows and columns, one voxel in so many trains what intensities alone say."""


class CRL(nn.Module, ABC):
    """A network that separates a scan from the parameters it was acquired with.

    Attributes
    ----------
    max_sources
        How many scans `encode` can fuse.
    intensity_rule
        ``"robust"`` or ``"minmax"``: how inputs are scaled (see `crl_core.scan.IntensityScale`).
    carries_residual
        Whether the synthesiser may add what the network misses at the source's own parameters,
        so that the source is returned exactly there.
    by_voxel
        Whether `render` treats every voxel by itself, so that it may be asked for one alone.
    knows_up
        Whether slices should be turned as anatomies in RAS order lie before they are encoded.
    knows_fat
        Whether the fourth parameter, suppressed fat, means anything to it.
    knows_doubt
        Whether it tells how far off it expects to be (`spread_many`).
    knows_brightness
        Whether it asks how bright each source is (`brightness`).
    falls_with_te
        Whether no voxel it renders is brighter at a longer TE.
    optimiser
        What trains it best: ``"adam"``, or ``"muon"``, orthogonal steps for convolutions.
    gives_back
        PSNR, dB, with which sources that fit each other are at least given back from all of them.
    """

    max_sources: int = 1
    intensity_rule: str = "robust"
    carries_residual: bool = True
    by_voxel: bool = True
    knows_up: bool = False
    knows_fat: bool = False
    knows_doubt: bool = False
    knows_brightness: bool = False
    falls_with_te: bool = False
    optimiser: str = "adam"
    gives_back: float = 20.0
    _overview: Tensor | None = None
    _brightness: Tensor | None = None

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the entries of the architecture with their default values."""
        signature = inspect.signature(cls.__init__)
        return {n: p.default for n, p in signature.parameters.items() if n != "self"}

    @abstractmethod
    def encode(self, images: Tensor, parameters: Tensor, present: Tensor | None = None) -> Features:
        """Encode the acquired scans.

        Parameters
        ----------
        images
            (B, S, H, W) in model units.
        parameters
            (B, S, 3 or 4): TR, TE, TI in ms, and 1 where fat was suppressed (0 without it).
        present
            (B, S): which of the sources are there, or how much each counts, 0 to 1; all by default.
        """

    @abstractmethod
    def render(self, features: Features, parameters: Tensor) -> Tensor:
        """Return the image (B, 1, H, W), model units, for target parameters, as in `encode`."""

    def overview(
        self, images: Tensor, parameters: Tensor, present: Tensor | None = None
    ) -> Tensor | None:
        """Return what `encode` takes from the image as a whole, None where it takes nothing.

        An average over the image: those of its parts, weighted with their areas, average to it.
        """
        return None

    def brightness(
        self, images: Tensor, parameters: Tensor, present: Tensor | None = None
    ) -> Tensor | None:
        """Return by which factors the sources are brighter than usual, (B, S), as logarithms.

        None for networks that do not ask. H x W may be any selection of voxels of a subject; the
        more of the head they show, the better.
        """
        return None

    @property
    def known_brightness(self) -> Tensor | None:
        """What is known of it, see `knowing`."""
        return self._brightness

    @contextmanager
    def knowing(
        self, *, overview: Tensor | None = None, brightness: Tensor | None = None
    ) -> Iterator[None]:
        """Inside, `encode` and `overview` get part of a subject of which these are known."""
        before = self._overview, self._brightness
        self._overview = before[0] if overview is None else overview
        self._brightness = before[1] if brightness is None else brightness
        try:
            yield
        finally:
            self._overview, self._brightness = before

    def common(self, features: Features) -> Tensor | None:
        """Return the features that should not depend on the source's contrast, if there are any.

        The structural term of the loss compares them between sources.
        """
        return features.get("common")

    def forward(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Encode and render in one step; shapes as in `encode` and `render`."""
        return self.render(self.encode(images, source), target)

    def render_many(self, features: Features, parameters: Tensor) -> Tensor:
        """Return (B, P, H, W) for P targets of each image, parameters (B, P, 3 or 4)."""
        images = [self.render(features, one) for one in parameters.unbind(dim=1)]
        return torch.cat(images, dim=1)

    def render_echoes(self, features: Features, parameters: Tensor) -> Tensor:
        """Return `render_many` of targets that differ in TE alone for each image."""
        return self.render_many(features, parameters)

    def spread_many(self, features: Features, parameters: Tensor) -> Tensor | None:
        """Return the expected absolute error of each rendering, (B, P, H, W), units of the source.

        None for networks that do not tell.
        """
        return None

    def render_intensity(self, features: Features, parameters: Tensor) -> Tensor | None:
        """Return what intensities alone, without context, make of every `SOME`-th voxel.

        (B, P, H', W'), for features that were encoded in training; None for networks that do not
        work that way. What they start from is trained by it.
        """
        return None

    @property
    def n_parameters(self) -> int:
        """Number of trainable values."""
        return sum(p.numel() for p in self.parameters())


class PixelMLP(nn.Module):
    """Linear layers with ReLU between, applied to vectors or, as 1x1 convolutions, to images.

    Weights are stored as (out, in) matrices under ``layers.0``, ``layers.2`` and so on.
    """

    def __init__(self, inputs: int, hidden: list[int], outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = inputs
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU()]
            width = size
        layers.append(nn.Linear(width, outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis of `x`."""
        out: Tensor = self.layers(x)
        return out

    def exactly(self, x: Tensor) -> Tensor:
        """Map the last axis of `x` in float64 where the device has it; returns float32."""
        if x.device.type == "mps":
            return self.forward(x.float())
        x = x.double()
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                x = nn.functional.linear(x, layer.weight.double(), layer.bias.double())
            else:
                x = layer(x)
        return x.float()

    def on_image(self, x: Tensor) -> Tensor:
        """Map the channels of an image (B, C, H, W), voxel by voxel."""
        b, _, h, w = x.shape
        flat = x.flatten(2).transpose(1, 2)
        return self.forward(flat).transpose(1, 2).reshape(b, -1, h, w)


def check_single(images: Tensor) -> None:
    """Refuse more sources than a single-source network can take."""
    if images.shape[1] != 1:
        raise ValueError(f"this network takes one source, not {images.shape[1]}")
