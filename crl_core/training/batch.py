"""What samplers hand out: batches of crops to train on, and whole slices to validate on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crl_core.models.turning import Turn
from crl_core.scan import BoolArray, FloatArray
from crl_core.sequence import SequenceParameters
from crl_core.trust import TrainingCoverage


@dataclass(frozen=True)
class Batch:
    """Crops of several contrasts of the same anatomy.

    Parameters
    ----------
    images
        (B, P, H, W), each contrast in its own model units.
    scales
        (B, P): what one model unit of each contrast is worth in a unit shared by the subject.
    parameters
        (B, P, 3) ms.
    mask
        (B, H, W), 1 in the head and 0 in air.
    """

    images: FloatArray
    scales: FloatArray
    parameters: FloatArray
    mask: FloatArray


@dataclass(frozen=True)
class WholeSlice:
    """One slice of one person in every contrast there is, to validate on and to look at.

    Parameters
    ----------
    images
        (P, H, W), each contrast in its own model units.
    scales
        (P,), as in `Batch`.
    parameters
        (P, 3) ms.
    mask
        (H, W), the head.
    held
        (P,): which contrasts are held back from training.
    names
        What to call each contrast.
    about
        Whose slice it is and whether anybody trains on that person.
    affine, axis
        4x4 to RAS+ mm of the volume it was taken from, and along which array axis; tells which
        way up it is shown.
    turn
        How it is turned for networks that know which way is up.
    source
        The only contrast to render from, where the network knows a single pair; None for any.
    """

    images: FloatArray
    scales: FloatArray
    parameters: FloatArray
    mask: BoolArray
    held: BoolArray
    names: tuple[str, ...]
    about: str
    affine: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    axis: int = 2
    turn: Turn = Turn()  # noqa: RUF009  (frozen)
    source: int | None = None


class Sampler(Protocol):
    """Anything that can produce the batch of a step.

    A batch is a pure function of the seed and the step, and each of its rows of the seed, the step
    and the row: a resumed run sees exactly what an uninterrupted one would have seen, any number
    of processes can prepare batches ahead, and each of several devices makes only its own rows.

    Attributes
    ----------
    voxel_mm
        In-plane voxel size of the batches, mm.
    """

    voxel_mm: float | None

    def batch(self, step: int, progress: float, rows: range | None = None) -> Batch:
        """Return the batch of a step, or some of its rows; `progress` in [0, 1] drives ramps."""
        ...

    def slices(self, count: int) -> list[WholeSlice]:
        """Return up to `count` fixed slices in all contrasts, those held back included."""
        ...

    def describe(self) -> str:
        """Say in one sentence what the data are."""
        ...

    def coverage(self) -> TrainingCoverage:
        """Return the part of the parameter space that batches come from."""
        ...


Row = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def stacked(rows: list[Row]) -> Batch:
    """Put rows of images, scales, parameters and mask together."""
    return Batch(*(np.stack(part).astype(np.float32) for part in zip(*rows, strict=True)))


def random_window(
    rng: np.random.Generator, mask: FloatArray, crop: int, anywhere: float = 0.0
) -> tuple[slice, slice]:
    """Choose a window around a random point of the head.

    Parameters
    ----------
    rng
        Source of randomness.
    mask
        (H, W), the head.
    crop
        Side of the window.
    anywhere
        Share of the windows that may lie anywhere in the image. Around the head alone a network
        never sees air far from it, nor what lies beyond the field of view.
    """
    points = np.argwhere(mask > 0)
    if anywhere and rng.random() < anywhere:
        centre = np.array([rng.integers(size) for size in mask.shape])
    else:
        centre = points[rng.integers(len(points))] if len(points) else np.array(mask.shape) // 2
    top, left = (
        int(np.clip(middle - crop // 2, 0, size - crop))
        for middle, size in zip(centre, mask.shape, strict=True)
    )
    return slice(top, top + crop), slice(left, left + crop)


TURNED = 0.25
"""Share of crops turned at random, for networks whose slices are turned the way anatomies lie; the
others lie that way. For other networks every crop is turned at random."""


def random_flip(rng: np.random.Generator, knows_up: bool) -> NDArray[np.int64]:
    """Draw how a crop is turned, for `turned`."""
    flip = rng.integers(0, 2, size=3)
    often = TURNED if knows_up else 1.0
    return flip * int(rng.random() < often)


def turned(image: FloatArray, flip: NDArray[np.int64]) -> FloatArray:
    """Mirror and transpose the last two axes at random; anatomy has no preferred side here."""
    if flip[0]:
        image = image[..., ::-1]
    if flip[1]:
        image = image[..., ::-1, :]
    if flip[2]:
        image = image.swapaxes(-1, -2)
    return image


def setting_name(p: SequenceParameters) -> str:
    """Return a short name of a setting: TR, TE, and TI where there is one, ms."""
    inversion = f" TI {p.ti:.4g}" if p.inverted else ""
    return f"TR {p.tr:.5g} TE {p.te:.3g}{inversion}"
