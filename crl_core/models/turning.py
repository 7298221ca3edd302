"""Slices turned the way the network saw them in training, and what comes of them turned back."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from torch import Tensor

from crl_core.scan import Scan


@dataclass(frozen=True, slots=True)
class Turn:
    """How the in-plane axes of a scan become those of a slice of an anatomy in RAS order.

    Rows and columns of an axial slice then run to the right and to the front, of a sagittal one to
    the front and up, of a coronal one up and to the right.

    Parameters
    ----------
    flips
        Which of rows (-2) and columns (-1) run the other way.
    transpose
        Whether rows and columns change places after that.
    """

    flips: tuple[int, ...] = ()
    transpose: bool = False

    @classmethod
    def of(cls, scan: Scan) -> Turn:
        """Return the turn of a scan; none where its file does not say how it lies."""
        if not scan.orientation_stated:
            return cls()
        orientation = nib.orientations.io_orientation(scan.affine)
        if np.isnan(orientation).any():
            return cls()
        world, sense = orientation[:, 0].astype(int), orientation[:, 1]
        across = scan.slice_axis
        rows, columns = (a for a in range(3) if a != across)
        flips = tuple(d for d, a in ((-2, rows), (-1, columns)) if sense[a] < 0)
        return cls(flips, transpose=world[rows] != (world[across] + 1) % 3)

    def there(self, x: Tensor) -> Tensor:
        """Turn (..., rows, columns) the way of the training."""
        x = x.flip(self.flips) if self.flips else x
        return x.transpose(-1, -2) if self.transpose else x

    def back(self, x: Tensor) -> Tensor:
        """Undo `there`."""
        x = x.transpose(-1, -2) if self.transpose else x
        return x.flip(self.flips) if self.flips else x
