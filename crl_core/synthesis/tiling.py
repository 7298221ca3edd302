"""Encoding in tiles, for when a whole slice does not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from crl_core.models import CRL, Features

HALO = 48
"""Pixels of context around a tile; beyond it the encoders hardly look."""


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def encode_in_tiles(
    model: CRL, images: Tensor, parameters: Tensor, tile: int, present: Tensor | None = None
) -> Features:
    """Encode a slice piece by piece.

    Parameters
    ----------
    model
        The network.
    images
        (1, S, H, W).
    parameters
        (1, S, 3) ms.
    tile
        Side of a tile without its halo, pixels.
    present
        (1, S), as in `CRL.encode`.

    Returns
    -------
    features
        As `CRL.encode`; equal to it up to what lies further than `HALO` from each tile.
    """
    with model.knowing(brightness=_brightness(model, images, parameters, present)):
        overview = _overview(model, images, parameters, present, tile)
        with model.knowing(overview=overview):
            return _encoded(model, images, parameters, present, tile)


def _brightness(
    model: CRL, images: Tensor, parameters: Tensor, present: Tensor | None
) -> Tensor | None:
    known = model.known_brightness
    return model.brightness(images, parameters, present) if known is None else known


def _overview(
    model: CRL, images: Tensor, parameters: Tensor, present: Tensor | None, tile: int
) -> Tensor | None:
    """Average what tiles tell of the whole image."""
    views, total = [], 0
    for rows, columns in _tiles(images.shape[-2], images.shape[-1], tile):
        seen = model.overview(images[..., rows, columns], parameters, present)
        if seen is None:
            return None
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        views.append(seen * area)
        total += area
    return torch.stack(views).sum(dim=0) / total


def _encoded(
    model: CRL, images: Tensor, parameters: Tensor, present: Tensor | None, tile: int
) -> Features:
    height, width = images.shape[-2:]
    result: Features = {}
    for rows, columns in _tiles(height, width, tile):
        top, left = max(0, rows.start - HALO), max(0, columns.start - HALO)
        bottom, right = min(height, rows.stop + HALO), min(width, columns.stop + HALO)
        # The encoders halve the image several times; tiles must start on their coarsest grid.
        top, left = top - top % 16, left - left % 16
        part = model.encode(images[..., top:bottom, left:right], parameters, present)
        for name, value in part.items():
            if name not in result:
                result[name] = value.new_empty((*value.shape[:2], height, width))
            inner = value[
                ..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
            result[name][..., rows, columns] = inner
    return result


def _tiles(height: int, width: int, tile: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield (
                slice(top, min(top + tile, height)),
                slice(left, min(left + tile, width)),
            )
