"""What the rendering thread is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crl_core.scan import BoolArray, Scan
from crl_core.sequence import SequenceParameters

Voxel = tuple[int, int, int]
Axis = Literal["tr", "te", "ti"]


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One picture the worker is asked for.

    Parameters
    ----------
    generation
        Rises by one with each request; a result of an older one never replaces a newer one.
    sources
        What the network reads; empty means "only load the checkpoint".
    reference
        The acquired scan to compare with, on the first source's grid.
    parameters, index
        The setting and the slice.
    checkpoint
        Path, or None for the bundled default.
    gain
        Whether the error map is made after one least-squares gain.
    expected
        Whether the error that the network expects is wanted too.
    voxel, curve_axis
        Where and along which parameter the signal curve runs, computed on rest.
    issued
        `time.perf_counter` at the event that asked, seconds.
    covered
        Where a resampled reference had measured anything; None where it has the source's grid.
    refreshed
        Rises when newer weights lie at the same `checkpoint`, as while a network is in training.
    learning
        Whether it is in training right now: what takes long would not live to be read then, and
        take its time from the training.
    """

    generation: int
    sources: tuple[Scan, ...]
    reference: Scan | None
    parameters: SequenceParameters
    index: int
    checkpoint: Path | None = None
    gain: bool = False
    expected: bool = False
    voxel: Voxel | None = None
    curve_axis: Axis = "te"
    issued: float = 0.0
    covered: BoolArray | None = field(default=None, compare=False)
    refreshed: int = 0
    learning: bool = False

    @property
    def scene(self) -> tuple[object, ...]:
        """What must agree for a frame to be of use: everything but the sliders."""
        return (self.checkpoint, self.refreshed, self.sources, self.index, self.reference)

    @property
    def image(self) -> tuple[object, ...]:
        """What decides the synthesised pixels."""
        return (self.checkpoint, self.refreshed, self.sources, self.index, self.parameters)
