"""References that are given the answer or the truth: no methods, but marks on the scale.

The table is what a recolouring of the source can reach at best, the oracle what the signal equation
reaches with the true maps. Skill is where a method stands between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crl_core.evaluation import baselines
from crl_core.evaluation.benchmark.people import Case, Training
from crl_core.evaluation.masks import judged_mask
from crl_core.evaluation.metrics import least_squares_gain
from crl_core.physics.signal import fse_signal
from crl_core.scan import BoolArray, FloatArray
from crl_core.sequence import SequenceParameters

if TYPE_CHECKING:
    from crl_core.evaluation.benchmark.methods import Kind
    from crl_core.evaluation.benchmark.people import Truth


class Identity:
    """The first source as it is."""

    name = "identity"
    title = "the source as it is"
    kind: Kind = "baseline"

    def fit(self, training: Training) -> None:
        """Learn nothing."""

    def predict(self, case: Case) -> FloatArray | None:
        """Return the first source."""
        return case.in_units(case.sources[0])


class Affine:
    """a x + b, fitted on the target itself."""

    name = "affine"
    title = "a x + b, fitted on the target itself"
    kind: Kind = "reference"

    def fit(self, training: Training) -> None:
        """Learn nothing."""

    def predict(self, case: Case) -> FloatArray | None:
        """Fit inside the mask that is judged."""
        given, wanted = case.in_units(case.sources[0]), case.in_units(case.answer)
        return baselines.affine(given, wanted, _mask(case))


class Table:
    """One intensity for each intensity of the source, fitted on the target itself."""

    name = "table"
    title = "intensity table, fitted on the target itself"
    kind: Kind = "reference"

    def fit(self, training: Training) -> None:
        """Learn nothing."""

    def predict(self, case: Case) -> FloatArray | None:
        """Fit inside the mask that is judged."""
        given, wanted = case.in_units(case.sources[0]), case.in_units(case.answer)
        return baselines.table(given, wanted, _mask(case))


class Oracle:
    """The signal equation on the true maps, with the receive profile; digital subjects only.

    One T1, T2 and proton density a voxel and ideal refocusing: what mixes in a voxel, stimulated
    echoes and noise are not in it, so it is no upper limit.
    """

    name = "oracle"
    title = "signal equation on the true maps"
    kind: Kind = "reference"

    def fit(self, training: Training) -> None:
        """Learn nothing."""

    def predict(self, case: Case) -> FloatArray | None:
        """Render the truth; its gain is the one that fits the first source best."""
        truth, source = case.visit.truth, case.sources[0]
        if truth is None or source.parameters is None:
            return None
        given = case.in_units(source)
        gain = least_squares_gain(_rendered(truth, source.parameters), given, source.mask)
        return np.asarray(np.float32(gain) * _rendered(truth, case.parameters))


def _rendered(truth: Truth, parameters: SequenceParameters) -> FloatArray:
    # Air has no relaxation times; its proton density is zero.
    t1, t2 = np.maximum(truth.t1, 1.0), np.maximum(truth.t2, 0.1)
    signal = fse_signal(truth.pd * truth.receive, t1, t2, parameters)
    return np.asarray(signal, dtype=np.float32)


def _mask(case: Case) -> BoolArray:
    return judged_mask(case.sources[0].mask, case.answer.mask)
