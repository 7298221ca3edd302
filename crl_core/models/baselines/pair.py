"""What the comparison networks have in common, and how they appear as a `CRL`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crl_core.errors import CheckpointError, InputError
from crl_core.models.base import CRL, Features, check_single
from crl_core.models.codes import log_code

N_CONDITIONS = 8
"""Channels a conditioned network sees beside the image: four numbers each of both settings."""

LEAST_SIDE = 8
"""Smaller images get air around them; the deepest layers need two pixels."""


class PairNetwork(CRL):
    """A generator that turns one contrast into another, behind the interface of `CRL`.

    The generator works in [-1, 1] and ends in a tanh; images come and go in [0, 1], each contrast
    by its own minimum and maximum. Encoding keeps the image and rendering runs the generator:
    instance normalisation and attention look at the whole image, so it cannot be done in tiles.
    For the same reason the features must not be cut before they are rendered.

    Parameters
    ----------
    generator
        Maps (B, C, H, W) to (B, 1, H, W).
    multiple
        Sides of the image have to be a multiple of this.
    size
        The only side the generator takes; None for any.
    conditioned
        Tell the generator TR, TE and TI of source and target: further channels hold the image
        times each number of `crl_core.models.codes.log_code`. Constant channels would be lost,
        because the normalisation after the first convolution takes out what is constant. Not in
        the papers: one network then learns all pairs.

    Attributes
    ----------
    one_pair
        Whether the network knows a single pair of contrasts and ignores all parameters.

    Notes
    -----
    Used in evaluation mode: no dropout, running values in batch normalisation. The published
    code of pGAN and ResViT never leaves training mode, so that its dropout and, in ResViT, the
    normalisation by a batch of one are on when images are synthesised.
    """

    max_sources = 1
    intensity_rule = "minmax"
    carries_residual = False
    by_voxel = False
    one_pair: bool = True

    def __init__(
        self, generator: nn.Module, multiple: int, size: int | None, conditioned: bool
    ) -> None:
        super().__init__()
        if size is not None and size % multiple:
            raise CheckpointError(f"its size must be a multiple of {multiple}, not {size}")
        self.generator = generator
        self.multiple, self.size = multiple, size
        self.conditioned = conditioned
        self.one_pair = not conditioned

    def encode(self, images: Tensor, parameters: Tensor, present: Tensor | None = None) -> Features:
        """Return the image and, of a conditioned network, the code of its setting; see `CRL`."""
        check_single(images)
        if not self.conditioned:
            return {"image": images}
        code = _code(parameters[:, 0]).to(images.dtype)
        return {"image": images, "source": code.expand(-1, -1, *images.shape[-2:])}

    def render(self, features: Features, parameters: Tensor) -> Tensor:
        """Run the generator; the parameters count only where the network is conditioned.

        The output has the size of the input. Where the generator takes one size, a smaller image
        gets air around it, and of a larger one the middle is translated and the rest is air.

        Raises
        ------
        InputError
            For a single voxel: cut out of an image, it would get a value of its own.
        """
        image = features["image"]
        if image.shape[-2:] == (1, 1):
            raise InputError("this network draws whole images, not single voxels")
        edges = self._edges(image.shape[-2], image.shape[-1])
        padded = F.pad(image, edges)
        seen = 2.0 * padded - 1.0
        if self.conditioned:
            # The same number everywhere, up to the rounding of whoever resampled it.
            source = features["source"].mean(dim=(-2, -1), keepdim=True)
            codes = torch.cat([source, _code(parameters).to(source)], dim=1)
            seen = torch.cat([seen, codes * padded], dim=1)
        drawn: Tensor = self.generator(seen)
        return F.pad(0.5 * (drawn.float() + 1.0), [-e for e in edges])

    def known(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Return what the generator is given, for a critic to judge by, (B, 1 or 9, H, W).

        Parameters
        ----------
        images
            (B, 1, H, W), the sources in [0, 1].
        parameters
            (B, 2, 3 or 4): settings of source and target, ms.
        """
        seen = 2.0 * images - 1.0
        if not self.conditioned:
            return seen
        codes = torch.cat([_code(one) for one in parameters.unbind(dim=1)], dim=1)
        return torch.cat([seen, codes.to(seen) * images], dim=1)

    def _edges(self, height: int, width: int) -> list[int]:
        """Return what to add left, right, above and below; less than zero cuts off."""
        found = []
        for side in (width, height):
            least = max(side, LEAST_SIDE)
            wanted = self.size or least + -least % self.multiple
            before = (wanted - side) // 2
            found += [before, wanted - side - before]
        return found


def check_shares(**entries: float) -> None:
    """Refuse shares outside [0, 1).

    Raises
    ------
    CheckpointError
        Naming the entry.
    """
    for name, value in entries.items():
        if not 0 <= value < 1:
            raise CheckpointError(f"its entry '{name}' must be at least 0 and below 1")


def inputs_of(conditioned: bool) -> int:
    """Return the channels a generator sees."""
    return 1 + N_CONDITIONS * conditioned


def _code(parameters: Tensor) -> Tensor:
    """Return the code of settings (B, 3 or 4) as an image of one pixel, (B, 4, 1, 1)."""
    return log_code(parameters.float())[:, :, None, None]
