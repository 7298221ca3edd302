"""Where an image is judged: one rule for the command line, the window and the cards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def judged_mask(source: NDArray[np.bool_], reference: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels that count: head in the source and in the reference.

    Parameters
    ----------
    source, reference
        Head masks on one grid; an empty one (nothing found) does not restrict.

    Returns
    -------
    mask
        The intersection; the larger of the two where they do not meet at all.
    """
    if not source.any():
        return reference
    if not reference.any():
        return source
    both = source & reference
    return both if both.any() else (source if source.sum() >= reference.sum() else reference)
