"""CRL as the authors' code runs it: features divided by one code and multiplied by another."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from crl_core.errors import CheckpointError
from crl_core.models.base import CRL, Features, PixelMLP, check_single
from crl_core.models.codes import N_TISSUE_BASIS, authors_code, tissue_basis_code
from crl_core.models.edsr import ResidualEncoder

Convention = Literal["authors", "tissues"]


class RatioCRL(CRL):
    """Encoder, per-channel ratio of parameter codes, and a decoder applied voxel by voxel.

    ``Z = encoder(x) / g(p_x)`` and ``y = decoder(Z * g(p_y))``. The names of the parts are those
    of the authors' state dictionary, so that their weights load unchanged.

    Parameters
    ----------
    features
        Channels of the encoder and length of a code.
    blocks
        Residual blocks of the encoder.
    residual_scale
        Factor on each residual block.
    code_hidden
        Widths of the hidden layers of g.
    decoder_hidden
        Widths of the hidden layers of the decoder.
    convention
        ``"authors"``: g sees [TR/100, TE, TI/100] and its output is used as it is, as published.
        ``"tissues"``: g sees `tissue_basis_code` and its output is bounded and exponentiated, so
        that no code comes near zero and the division is safe.
    """

    def __init__(
        self,
        features: int = 256,
        blocks: int = 32,
        residual_scale: float = 0.1,
        code_hidden: list[int] = [256, 256, 256, 256],  # noqa: B006  (read only)
        decoder_hidden: list[int] = [256, 256, 256, 256, 256],  # noqa: B006
        convention: str = "authors",
    ) -> None:
        super().__init__()
        if convention not in ("authors", "tissues"):
            raise CheckpointError(f"unknown parameter convention '{convention}'")
        self.convention: Convention = "authors" if convention == "authors" else "tissues"
        inputs = 3 if convention == "authors" else N_TISSUE_BASIS
        self.encoder = ResidualEncoder(features, blocks, residual_scale)
        self.codemapping_mlp = PixelMLP(inputs, list(code_hidden), features)
        self.imnet = PixelMLP(features, list(decoder_hidden), 1)
        published = self.convention == "authors"
        self.intensity_rule = "minmax" if published else "robust"
        self.carries_residual = not published
        if not published:
            last = self.codemapping_mlp.layers[-1]
            assert isinstance(last, nn.Linear)
            # Start near a code of one: the first steps then train the encoder, not the ratio.
            nn.init.normal_(last.weight, std=0.02)
            nn.init.zeros_(last.bias)

    def code(self, parameters: Tensor) -> Tensor:
        """Return g(p), (B, features), for parameters (B, 3) in ms."""
        if self.convention == "authors":
            # Some numbers come close to zero, and features are divided by them. In single precision
            # they would depend on what else is in the batch, in half precision be noise.
            return self.codemapping_mlp.exactly(authors_code(parameters))
        # exp of a bounded number: between 1/20 and 20, never near zero.
        return torch.exp(
            3.0 * torch.tanh(self.codemapping_mlp(tissue_basis_code(parameters)) / 3.0)
        )

    def encode(self, images: Tensor, parameters: Tensor, present: Tensor | None = None) -> Features:
        """See `CRL.encode`; takes one source."""
        check_single(images)
        features = self.encoder(images)
        common = features / self.code(parameters[:, 0])[:, :, None, None]
        return {"common": common.to(features.dtype)}

    def render(self, features: Features, parameters: Tensor) -> Tensor:
        """See `CRL.render`."""
        common = features["common"]
        turned = common * self.code(parameters)[:, :, None, None]
        return self.imnet.on_image(turned.to(common.dtype))
