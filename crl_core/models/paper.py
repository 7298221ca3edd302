"""CRL as the paper words it, made runnable."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crl_core.errors import CheckpointError
from crl_core.models.base import CRL, Features, PixelMLP, check_single
from crl_core.models.codes import authors_code
from crl_core.models.edsr import ResidualEncoder


class CrossAttention(nn.Module):
    """Multi-head attention of voxels (queries) over parameter embeddings (keys and values).

    With a single token, which is what the paper describes, the softmax runs over one key and is
    one: every voxel receives the same vector ``W_o W_v e + b``, whatever the image holds. That
    vector is computed once and broadcast, which is exact; queries and keys are used only where
    there are several tokens.

    Parameters
    ----------
    features
        Length of queries, keys and values.
    heads
        Number of heads; divides `features`.
    """

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        if features % heads:
            raise CheckpointError(f"{heads} attention heads do not divide {features} features")
        self.heads = heads
        self.q_proj = nn.Linear(features, features)
        self.k_proj = nn.Linear(features, features)
        self.v_proj = nn.Linear(features, features)
        self.out_proj = nn.Linear(features, features)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Attend from an image (B, C, H, W) to tokens (B, T, C); returns (B, C, H, W)."""
        if tokens.shape[1] == 1:
            shift: Tensor = self.out_proj(self.v_proj(tokens[:, 0]))
            return shift[:, :, None, None].expand_as(image)
        b, c, h, w = image.shape
        query = self._split(self.q_proj(image.flatten(2).transpose(1, 2)))
        key, value = self._split(self.k_proj(tokens)), self._split(self.v_proj(tokens))
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(b, h * w, c))
        return joined.transpose(1, 2).reshape(b, c, h, w)

    def _split(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        return x.reshape(b, n, self.heads, c // self.heads).transpose(1, 2)


class PaperCRL(CRL):
    """Encoder, cross-attention with the source's parameters, the same with the target's, decoder.

    ``Z = CR_x + A(CR_x, e(p_x))``, ``CR_y = Z + A(Z, e(p_y))``, ``y = decoder(CR_y)``. Without
    the residual connection the image would be erased (see `CrossAttention`). The paper leaves
    open how p_y modulates Z; the same module is used for both directions.

    Parameters
    ----------
    features
        Channels of the encoder and length of an embedding.
    blocks
        Residual blocks of the encoder.
    residual_scale
        Factor on each residual block.
    heads
        Attention heads.
    code_hidden
        Hidden widths of the embedding f_xi (three of them make the paper's four layers).
    decoder_hidden
        Hidden widths of the decoder (four of them make the paper's five layers).
    """

    intensity_rule = "minmax"
    carries_residual = False

    def __init__(
        self,
        features: int = 256,
        blocks: int = 32,
        residual_scale: float = 0.1,
        heads: int = 8,
        code_hidden: list[int] = [256, 256, 256],  # noqa: B006  (read only)
        decoder_hidden: list[int] = [256, 256, 256, 256],  # noqa: B006
    ) -> None:
        super().__init__()
        self.encoder = ResidualEncoder(features, blocks, residual_scale)
        self.embedding = PixelMLP(3, list(code_hidden), features)
        self.attention = CrossAttention(features, heads)
        self.decoder = PixelMLP(features, list(decoder_hidden), 1)

    def _attend(self, image: Tensor, parameters: Tensor) -> Tensor:
        token = self.embedding(authors_code(parameters))[:, None]
        out: Tensor = image + self.attention(image, token)
        return out

    def encode(self, images: Tensor, parameters: Tensor, present: Tensor | None = None) -> Features:
        """See `CRL.encode`; takes one source."""
        check_single(images)
        return {"common": self._attend(self.encoder(images), parameters[:, 0])}

    def render(self, features: Features, parameters: Tensor) -> Tensor:
        """See `CRL.render`."""
        return self.decoder.on_image(self._attend(features["common"], parameters))
