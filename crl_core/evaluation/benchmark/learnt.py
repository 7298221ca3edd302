"""Baselines of one source that are fitted on the training people, as a network is.

Held-back contrasts are neither source nor target of any fit. From a held-back source the fit of
the nearest seen source is used; the unit is then another, which one gain forgives and the absolute
reading does not. Towards a held-back target tables are chosen or interpolated as each class says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crl_core.evaluation.baselines import IntensityTable
from crl_core.evaluation.benchmark.people import SAMPLED, Case, Training, Visit
from crl_core.evaluation.benchmark.protocol import Protocol
from crl_core.physics.signal import fse_signal
from crl_core.scan import FloatArray, Scan
from crl_core.sequence import SequenceParameters, distance

if TYPE_CHECKING:
    from crl_core.evaluation.benchmark.methods import Kind

Values = NDArray[np.float64]

SAME_CLASS = 0.3
"""Repetition times within this factor (as a logarithm), and the same inversion, are one class."""

_LEAST = 1e-4
"""Intensities below this are taken as this before a logarithm."""


def nearest(wanted: SequenceParameters, known: Mapping[str, SequenceParameters]) -> str:
    """Return the key of the setting closest to another."""
    return min(known, key=lambda k: distance(wanted, known[k]))


def neighbours(
    wanted: SequenceParameters, known: Mapping[str, SequenceParameters]
) -> tuple[str, str] | None:
    """Return the settings with the next shorter and the next longer TE in the class of another.

    A class is one inversion time (within a tenth) or none, and one TR within a third. Of several
    with one TE the nearest is taken. None where there is no neighbour on either side.
    """
    alike = {k: p for k, p in known.items() if _same_class(p, wanted)}
    below = {k: p for k, p in alike.items() if p.te <= wanted.te}
    above = {k: p for k, p in alike.items() if p.te >= wanted.te}
    if not below or not above:
        return None
    low = min(below, key=lambda k: (wanted.te - below[k].te, distance(wanted, below[k])))
    high = min(above, key=lambda k: (above[k].te - wanted.te, distance(wanted, above[k])))
    return low, high


def te_weight(te: float, low: float, high: float) -> float:
    """Return the share of the longer echo, linear in TE; 0 where both are one."""
    return 0.0 if high <= low else (te - low) / (high - low)


def _same_class(a: SequenceParameters, b: SequenceParameters) -> bool:
    if a.inverted != b.inverted or abs(math.log(a.tr / b.tr)) > SAME_CLASS:
        return False
    return not a.inverted or abs(math.log(a.ti / b.ti)) < 0.1


class LearntTable:
    """One table a pair, fitted on the training people; the nearest seen one for other targets."""

    name = "learnt-table"
    title = "intensity table of other people (nearest seen target where held back)"
    kind: Kind = "baseline"
    only_held_back = False

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str], IntensityTable] = {}
        self._seen: dict[str, SequenceParameters] = {}
        self._held: tuple[str, ...] = ()

    def fit(self, training: Training) -> None:
        """Fit a table of every seen contrast from every seen contrast."""
        protocol = training.protocol
        self._seen = {k: protocol.contrasts[k] for k in protocol.seen}
        self._held = protocol.held_back
        for source in self._seen:
            for target in self._seen:
                pair = training.pairs(source, target)
                if pair is not None and pair.size:
                    self._tables[source, target] = IntensityTable.fit(pair[0], pair[1])

    def predict(self, case: Case) -> FloatArray | None:
        """Look the source up."""
        if len(case.task.sources) > 1:
            return None
        if self.only_held_back and case.task.target not in self._held:
            return None
        if case.task.target in self._held and case.task.target in case.task.sources:
            return None
        scan = case.sources[0]
        assert scan.parameters is not None
        source = case.task.sources[0]
        if source not in self._seen:
            source = nearest(scan.parameters, self._seen)
        found = {t: table for (s, t), table in self._tables.items() if s == source}
        means = self._means(case, found)
        if means is None:
            return None
        one = next(iter(found.values()))
        return IntensityTable(one.low, one.step, means)(case.in_units(scan))

    def _means(self, case: Case, tables: Mapping[str, IntensityTable]) -> Values | None:
        """Return the target intensity of every step; all tables of a source share their steps."""
        if case.task.target in tables:
            return tables[case.task.target].means
        if not tables:
            return None
        return tables[nearest(case.parameters, {k: self._seen[k] for k in tables})].means


class LinearTables(LearntTable):
    """Tables of the two neighbours in TE, interpolated linearly."""

    name = "te-linear"
    title = "tables interpolated linearly in TE (held-back targets)"
    only_held_back = True

    def _means(self, case: Case, tables: Mapping[str, IntensityTable]) -> Values | None:
        known = {k: self._seen[k] for k in tables}
        found = neighbours(case.parameters, known)
        if found is None:
            return None
        low, high = found
        share = te_weight(case.parameters.te, known[low].te, known[high].te)
        return self._mixed(tables[low].means, tables[high].means, share)

    def _mixed(self, low: Values, high: Values, share: float) -> Values:
        return np.asarray((1 - share) * low + share * high)


class LogTables(LinearTables):
    """Tables of the two neighbours in TE, their logarithms interpolated, as signals decay."""

    name = "te-log"
    title = "tables interpolated log-linearly in TE (held-back targets)"

    def _mixed(self, low: Values, high: Values, share: float) -> Values:
        a, b = (np.log(np.maximum(v, _LEAST)) for v in (low, high))
        return np.asarray(np.exp((1 - share) * a + share * b))


class PseudoPhysics(LearntTable):
    """PD, T1 and T2 of every intensity step fitted to the seen tables, rendered at the target."""

    name = "pseudo-physics"
    title = "PD, T1, T2 fitted to each intensity of the seen tables (held-back targets)"
    only_held_back = True

    def _means(self, case: Case, tables: Mapping[str, IntensityTable]) -> Values | None:
        if len(tables) < 3:
            return None
        t1, t2 = (a.ravel() for a in np.meshgrid(*_GRID, indexing="ij"))
        atoms = np.stack([fse_signal(1.0, t1, t2, self._seen[k]) for k in tables])
        wanted = np.stack([tables[k].means for k in tables])
        # Of every atom the proton density that fits best is known at once.
        best = (atoms.T @ wanted).clip(min=0) / (atoms**2).sum(axis=0)[:, None]
        left = (wanted**2).sum(axis=0) - best**2 * (atoms**2).sum(axis=0)[:, None]
        which = left.argmin(axis=0)
        signal = fse_signal(1.0, t1, t2, case.parameters)
        return np.asarray(best[which, np.arange(wanted.shape[1])] * signal[which])


_GRID = (np.geomspace(150.0, 5000.0, 60), np.geomspace(10.0, 3000.0, 60))
"""T1 and T2 in ms among which is searched."""


class PatchRidge:
    """Ridge regression from the 5 x 5 patch around a voxel and its neighbours in the next slices.

    Towards a held-back target the coefficients of the two neighbours in TE are interpolated, with
    log-linear shares they would have no meaning; a dash where there are no two.
    """

    name = "patch-ridge"
    title = "ridge regression on 5 x 5 patches and both neighbours"
    kind: Kind = "baseline"

    def __init__(self, strength: float = 1e-3) -> None:
        self._strength = strength
        self._weights: dict[tuple[str, str], Values] = {}
        self._seen: dict[str, SequenceParameters] = {}

    def fit(self, training: Training) -> None:
        """Gather the normal equations person by person and solve them."""
        protocol = training.protocol
        self._seen = {k: protocol.contrasts[k] for k in protocol.seen}
        squares: dict[tuple[str, str], Values] = {}
        products: dict[tuple[str, str], Values] = {}
        for number, visit in enumerate(training.visits()):
            self._gather(visit, number, squares, products)
        for pair, square in squares.items():
            ridge = self._strength * np.trace(square) / len(square) * np.eye(len(square))
            ridge[-1, -1] = 0.0  # a constant is free
            self._weights[pair] = np.linalg.solve(square + ridge, products[pair])

    def _gather(
        self,
        visit: Visit,
        number: int,
        squares: dict[tuple[str, str], Values],
        products: dict[tuple[str, str], Values],
    ) -> None:
        keys = [k for k in visit.scans if k in self._seen]
        inside = np.flatnonzero(visit.scans[keys[0]].mask) if keys else np.empty(0, int)
        rng = np.random.default_rng([43, number])
        if inside.size > SAMPLED // 2:
            inside = rng.choice(inside, SAMPLED // 2, replace=False)
        for source in keys:
            scan = visit.scans[source]
            features = np.stack([f.ravel()[inside] for f in patches(scan)]).astype(np.float64)
            square = features @ features.T
            for target in keys:
                y = visit.scans[target].data.ravel()[inside] / scan.scale.scale
                pair = (source, target)
                squares[pair] = squares.get(pair, 0.0) + square
                products[pair] = products.get(pair, 0.0) + features @ y

    def predict(self, case: Case) -> FloatArray | None:
        """Apply the coefficients to every voxel."""
        if len(case.task.sources) > 1:
            return None
        scan = case.sources[0]
        assert scan.parameters is not None
        source = case.task.sources[0]
        if source not in self._seen:
            source = nearest(scan.parameters, self._seen)
        weights = self._weights.get((source, case.task.target))
        if weights is None and case.task.target not in case.task.sources:
            weights = self._interpolated(source, case)
        if weights is None:
            return None
        out = np.zeros(scan.shape, np.float32)
        for weight, feature in zip(weights, patches(scan), strict=True):
            out += np.float32(weight) * feature
        return out

    def _interpolated(self, source: str, case: Case) -> Values | None:
        known = {t: self._seen[t] for s, t in self._weights if s == source}
        found = neighbours(case.parameters, known)
        if found is None:
            return None
        low, high = found
        share = te_weight(case.parameters.te, known[low].te, known[high].te)
        mixed = (1 - share) * self._weights[source, low] + share * self._weights[source, high]
        return np.asarray(mixed)


def patches(scan: Scan) -> list[FloatArray]:
    """Return what a voxel's target is regressed on, each an image of the scan's shape.

    The 25 voxels of the patch in its slice, the voxel before and after it along the slices, and a
    constant; in units of the scan, borders repeated.
    """
    axis = scan.slice_axis
    image = np.moveaxis(scan.scale.to_model(scan.data), axis, 0)
    padded = np.pad(image, ((1, 1), (2, 2), (2, 2)), mode="edge")
    n, rows, columns = image.shape
    found = [padded[1 : n + 1, i : i + rows, j : j + columns] for i in range(5) for j in range(5)]
    found += [padded[k : n + k, 2 : rows + 2, 2 : columns + 2] for k in (0, 2)]
    found.append(np.ones_like(image))
    return [np.moveaxis(f, 0, axis) for f in found]


def needs_held_back(name: str, protocol: Protocol) -> bool:
    """Return whether a method has nothing to say where no contrast is held back."""
    only = {LinearTables.name, LogTables.name, PseudoPhysics.name}
    return name in only and not protocol.held_back
