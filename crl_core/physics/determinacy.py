"""Whether the sources hold what a target needs: tissues a source cannot tell apart.

A network can only separate in the target what at least one source separates, apart from what it
guesses from shape. The closed-form signal of usual tissues says where that happens, before any
image is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from crl_core.physics.signal import fse_signal
from crl_core.physics.tissues import tissue
from crl_core.sequence import SequenceParameters

NAMES = ("white matter", "cortical grey matter", "cerebrospinal fluid", "white matter lesion")
_WORDS = {
    "cortical grey matter": "grey matter",
    "cerebrospinal fluid": "fluid",
    "white matter lesion": "lesions",
}

ALIKE = 0.06
"""Below this difference, as a fraction of the brightest tissue, texture and noise win."""

DIFFERENT = 0.2
"""From this difference on a reader would use the contrast in the target."""


@dataclass(frozen=True, slots=True)
class Undetermined:
    """Two tissues that differ in the target and look alike in every source.

    `difference` is how far apart they are in the target, fraction of the brightest tissue.
    """

    first: str
    second: str
    difference: float

    @property
    def brief(self) -> str:
        """The same in few words, for the margin of an image."""
        return f"Source hardly separates {self.first} from {self.second}"

    def __str__(self) -> str:
        return (
            f"The source hardly separates {self.first} from {self.second}, "
            f"which differ by {100 * self.difference:.0f} % here: their contrast is a guess."
        )


def undetermined(
    sources: Sequence[SequenceParameters],
    target: SequenceParameters,
    field_strength: float = 3.0,
) -> Undetermined | None:
    """Return the worst pair of tissues that the sources cannot tell apart but the target would.

    Parameters
    ----------
    sources
        Parameters of the acquired scans in use, at least one.
    target
        What is to be synthesised.
    field_strength
        1.5 or 3 tesla; chooses the relaxation times.

    Returns
    -------
    pair
        None where every pair that matters is separated by some source. Magnitudes are compared,
        because the sign of an inverted signal is not in the image.
    """
    wanted = _signals(target, field_strength)
    given = [_signals(p, field_strength) for p in sources]
    worst: Undetermined | None = None
    for i, j in combinations(range(len(NAMES)), 2):
        apart = float(abs(wanted[i] - wanted[j]))
        seen = max(float(abs(s[i] - s[j])) for s in given)
        if apart > DIFFERENT and seen < ALIKE and (worst is None or apart > worst.difference):
            words = [_WORDS.get(NAMES[k], NAMES[k]) for k in (i, j)]
            worst = Undetermined(words[0], words[1], apart)
    return worst


def _signals(parameters: SequenceParameters, field_strength: float) -> NDArray[np.float64]:
    """Return the magnitudes of the tissues of `NAMES`, brightest 1."""
    found = [tissue(name, field_strength) for name in NAMES]
    values = [fse_signal(t.pd[1], t.t1[1], t.t2[1], parameters) for t in found]
    signals = np.array([float(v) for v in values])
    return np.asarray(signals / max(float(signals.max()), 1e-9))
