"""The acquired scans an engine synthesises from, as the numbers a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crl_core.errors import CRLError, GridError
from crl_core.models.turning import Turn
from crl_core.scan import IntensityScale, Scan

_SAME_VOXEL = 1.25
"""In-plane voxel sizes within this factor of the training's are used as they are."""


@dataclass(frozen=True, eq=False)
class Sources:
    """Scans of one subject on one grid, each with its scale.

    Parameters
    ----------
    scans
        The first sets the grid and the unit.
    scales
        Of each, to model units.
    """

    scans: tuple[Scan, ...] = ()
    scales: tuple[IntensityScale, ...] = ()

    @classmethod
    def of(cls, scans: Sequence[Scan], *, robust: bool) -> Sources:
        """Take scans on one grid that carry parameters.

        Raises
        ------
        ParameterError
            When a scan carries no parameters or impossible ones.
        GridError
            When the scans lie on different grids.
        InputError
            When a scan is empty.
        """
        for scan in scans:
            scan.playable_parameters()
            if not scan.same_grid(scans[0]):
                raise GridError(
                    f"it lies on another grid than '{scans[0].name}'",
                    path=scan.path,
                    remedy="Resample one onto the other first",
                )
        return cls(tuple(scans), tuple(s.scale if robust else s.range_scale for s in scans))

    @property
    def first(self) -> Scan:
        """The scan that sets grid and unit.

        Raises
        ------
        CRLError
            When there is none.
        """
        if not self.scans:
            raise CRLError("no source was chosen", remedy="Open a scan first")
        return self.scans[0]

    @property
    def slice_axis(self) -> int:
        """The array axis along which slices are taken."""
        return self.first.slice_axis

    @property
    def plane(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        rows, columns = (n for a, n in enumerate(self.first.shape) if a != self.slice_axis)
        return rows, columns

    def images(self, index: int, device: torch.device) -> Tensor:
        """Return one slice of every source in model units, (1, S, H, W)."""
        axis = self.slice_axis
        planes = [
            scale.to_model(scan.slice(index, axis))
            for scan, scale in zip(self.scans, self.scales, strict=True)
        ]
        return torch.from_numpy(np.stack(planes))[None].to(device)

    def sample(self, device: torch.device, turn: Turn, voxels: int = 2000) -> Tensor:
        """Return voxels from all over the head side by side, (1, S, H, W), model units.

        The same ones however the file lies, about as many as asked for.

        Parameters
        ----------
        device
            Where to.
        turn
            How slices are turned for the network.
        voxels
            About how many.
        """
        axis = self.slice_axis
        held = self.first.mask.sum(axis=tuple(a for a in range(3) if a != axis))
        holding = np.flatnonzero(held > 0.1 * held.max())
        # As many slices are left out at either end.
        apart = next(k for k in range(max(1, len(holding) // 12), 0, -1)
                     if (len(holding) - 1) % k % 2 == 0)  # fmt: skip
        some = holding[(len(holding) - 1) % apart // 2 :: apart]
        step = max(1, round((len(some) * np.prod(self.plane) / voxels) ** 0.5))
        planes = [
            turn.there(self.images(int(k), device))[..., step // 2 :: step, step // 2 :: step]
            for k in some
        ]
        return torch.cat(planes, dim=-1)

    def parameters(self, device: torch.device) -> Tensor:
        """Return the parameters of every source, (1, S, 4)."""
        known = [s.parameters.numbers for s in self.scans if s.parameters is not None]
        return torch.tensor([known], device=device)

    def fullest(self) -> tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
        """Return the slice with most head, and where in it the head is."""
        axis = self.slice_axis
        mask = self.first.mask
        index = int(mask.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())
        return index, np.take(mask, index, axis=axis).copy()

    def size_at(self, trained_mm: float | None) -> tuple[int, ...]:
        """Return rows and columns at the in-plane voxel size of a training, mm.

        Those of the scan where the training names none, or about the scan's.
        """
        if trained_mm is None:
            return self.plane
        voxel = [v for a, v in enumerate(self.first.voxel_size) if a != self.slice_axis]
        ratios = [v / trained_mm for v in voxel]
        if all(1 / _SAME_VOXEL <= r <= _SAME_VOXEL for r in ratios):
            return self.plane
        return tuple(max(16, round(n * r)) for n, r in zip(self.plane, ratios, strict=True))
