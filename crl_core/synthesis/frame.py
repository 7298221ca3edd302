"""One finished rendering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crl_core.scan import FloatArray
from crl_core.sequence import SequenceParameters

Quality = Literal["preview", "exact"]


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """A synthesised image and how it came about.

    Parameters
    ----------
    image
        (rows, columns) of a slice or (x, y, z) of a volume, model units.
    parameters
        What it was rendered for.
    quality
        Whether the network itself or an approximation was evaluated.
    milliseconds
        Time taken.
    generation
        Number of the request it answers; newer requests have larger ones.
    """

    image: FloatArray
    parameters: SequenceParameters
    quality: Quality
    milliseconds: float
    generation: int = 0
