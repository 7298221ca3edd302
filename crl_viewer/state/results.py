"""What the rendering thread has made, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crl_core.evaluation.metrics import Comparison
from crl_core.scan import FloatArray
from crl_viewer.state.requests import RenderRequest


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One finished rendering.

    Parameters
    ----------
    request
        What was asked for.
    synthesised
        2-D, array order of `Scan.slice`, model units.
    error
        Signed error, percent of the range, NaN where not judged; None without a reference.
    gain
        The factor the synthesised image was multiplied by before `error` was taken.
    foreground_top
        99.5th percentile of the synthesised slice inside the head mask, for automatic windows.
    expected
        How far off the network expects to be, percent of the range, NaN outside the head; None
        where it was not asked for, or the network does not tell.
    """

    request: RenderRequest
    synthesised: FloatArray
    error: FloatArray | None
    gain: float
    foreground_top: float
    expected: FloatArray | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """The numbers of one slice."""

    request: RenderRequest
    comparison: Comparison
    peak: float


@dataclass(frozen=True, eq=False, slots=True)
class VolumeCompared:
    """The numbers of the whole volume."""

    request: RenderRequest
    comparison: Comparison


@dataclass(frozen=True, eq=False, slots=True)
class Agreed:
    """How well the sources fit together, found out at rest.

    Parameters
    ----------
    request
        Whose sources.
    psnr
        How well the network gives each source back from all of them, dB.
    contradicting
        Which of them does not fit the others and therefore counts less; None where all fit.
    """

    request: RenderRequest
    psnr: tuple[float, ...]
    contradicting: int | None


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """The network's signal at one voxel along one parameter; x in ms, y in model units."""

    request: RenderRequest
    x: NDArray[np.float64]
    y: NDArray[np.float64]
