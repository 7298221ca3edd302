"""Baselines that use several acquired scans at once."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.evaluation.benchmark.learnt import SAME_CLASS
from crl_core.evaluation.benchmark.people import Case, Sample, Training
from crl_core.physics.signal import fse_signal
from crl_core.physics.tissues import PD, T1, T2, draw_table
from crl_core.scan import FloatArray
from crl_core.sequence import SequenceParameters

if TYPE_CHECKING:
    from crl_core.evaluation.benchmark.methods import Kind

Values = NDArray[np.float64]
Singles = NDArray[np.float32]


class TwoSourceTE:
    """Two sources that differ in TE alone: the logarithm of the signal is linear in TE.

    Up to a quarter of the distance beyond either source is extrapolated. The gains of the two
    acquisitions only make one common factor.
    """

    name = "two-source-te"
    title = "two sources of one TR and TI, log-linear in TE"
    kind: Kind = "baseline"

    def fit(self, training: Training) -> None:
        """Learn nothing."""

    def predict(self, case: Case) -> FloatArray | None:
        """Interpolate between the shortest and the longest TE that fit; a dash without two."""
        known = [(s, s.parameters) for s in case.sources if s.parameters is not None]
        wanted = case.parameters
        fitting = [(s, p) for s, p in known if _one_class(p, wanted)]
        if len(fitting) < 2:
            return None
        fitting.sort(key=lambda item: item[1].te)
        (low, p_low), (high, p_high) = fitting[0], fitting[-1]
        if p_high.te < 1.2 * p_low.te:
            return None
        share = (wanted.te - p_low.te) / (p_high.te - p_low.te)
        if not -0.25 <= share <= 1.25:
            return None
        a, b = (np.maximum(case.in_units(s), 1e-4) for s in (low, high))
        return np.asarray(a ** (1 - share) * b**share, dtype=np.float32)


def _one_class(a: SequenceParameters, b: SequenceParameters) -> bool:
    if a.inverted != b.inverted or abs(math.log(a.tr / b.tr)) > SAME_CLASS:
        return False
    return not a.inverted or abs(math.log(a.ti / b.ti)) < 0.1


_BINS = {2: 64, 3: 24, 4: 12}
"""Steps along each source, by the number of sources."""


class JointTable:
    """Mean target intensity of each combination of source intensities, of the training people.

    Fitted for every target, held-back ones included: a generous reference for unseen contrasts.
    Combinations that nobody had take the nearest one that somebody had. A single source makes the
    table of `learnt`, so only groups are answered.
    """

    name = "joint-table"
    title = "joint table of several sources, fitted on other people for every target"
    kind: Kind = "baseline"

    def __init__(self) -> None:
        self._samples: tuple[Sample, ...] = ()
        self._tables: dict[tuple[tuple[str, ...], str], Values] = {}

    def fit(self, training: Training) -> None:
        """Keep the voxels; tables are made when first asked for."""
        self._samples = training.samples

    def predict(self, case: Case) -> FloatArray | None:
        """Look every voxel up."""
        sources, target = case.task.sources, case.task.target
        bins = _BINS.get(len(sources))
        if bins is None:
            return None
        table = self._tables.get((sources, target))
        if table is None:
            table = self._fitted(sources, target, bins)
            if table is None:
                return None
            self._tables[sources, target] = table
        place = tuple(_step(s.scale.to_model(s.data), bins) for s in case.sources)
        return np.asarray(table[place], dtype=np.float32)

    def _fitted(self, sources: tuple[str, ...], target: str, bins: int) -> Values | None:
        sums, counts = np.zeros(bins ** len(sources)), np.zeros(bins ** len(sources))
        shape = (bins,) * len(sources)
        for sample in self._samples:
            if not {*sources, target} <= set(sample.values):
                continue
            place = np.ravel_multi_index(
                tuple(_step(sample.values[k] / sample.scales[k], bins) for k in sources), shape
            )
            y = sample.values[target] / sample.scales[sources[0]]
            sums += np.bincount(place, weights=y, minlength=sums.size)
            counts += np.bincount(place, minlength=sums.size)
        if not counts.any():
            return None
        means = (sums / np.maximum(counts, 1)).reshape(shape)
        missing = counts.reshape(shape) == 0
        where = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
        return np.asarray(means[tuple(where)])


def _step(values: NDArray[np.floating], bins: int) -> NDArray[np.intp]:
    """Return the step of intensities in units of the scan; 1.2 and above are the last."""
    return np.asarray(np.clip(values * (bins / 1.2), 0, bins - 1), dtype=np.intp)


class LeastSquares:
    """PD, T1 and T2 of every voxel by least squares with a tissue prior: classic synthetic MRI.

    The prior is a dictionary of draws from the published ranges of all tissues, mixed with water
    in steps; each entry weighs by how well it explains the sources, with noise of 2 % of the unit,
    and the target is the weighted mean of what the entries would show. The one unknown factor
    between proton density and the unit is that under which the sources are most probable.
    """

    name = "least-squares"
    title = "PD, T1, T2 per voxel by least squares with a tissue prior"
    kind: Kind = "baseline"
    _DRAWS, _NOISE, _CHUNK = 12, 0.02, 20_000

    def __init__(self) -> None:
        self._made: tuple[tuple[object, ...], dict[str, FloatArray]] | None = None
        self._contrasts: dict[str, SequenceParameters] = {}

    def fit(self, training: Training) -> None:
        """Learn nothing from people; the tissue table is published."""
        self._contrasts = dict(training.protocol.contrasts)

    def predict(self, case: Case) -> FloatArray | None:
        """Fit the sources once and render every contrast of the visit from the fit."""
        key = (case.visit.label, case.task.sources)
        if self._made is None or self._made[0] != key:
            self._made = key, self._rendered(case)
        return self._made[1].get(case.task.target)

    @cached_property
    def _entries(self) -> Values:
        """PD, T1, T2 of every entry, (n, 3)."""
        rng = np.random.default_rng(5)
        draws = [draw_table(rng)[1:] for _ in range(self._DRAWS)]
        whole = np.concatenate(draws).astype(np.float64)
        # Voxels at a border hold less signal than a tissue has.
        thin = whole[rng.permutation(len(whole))[: len(whole) // 2]].copy()
        thin[:, PD] *= rng.uniform(0.1, 0.9, len(thin))
        return np.concatenate([whole, thin])

    def _signals(self, parameters: SequenceParameters) -> Singles:
        e = self._entries
        return np.asarray(fse_signal(e[:, PD], e[:, T1], e[:, T2], parameters), dtype=np.float32)

    def _rendered(self, case: Case) -> dict[str, FloatArray]:
        mask = case.sources[0].mask
        parameters = [s.parameters for s in case.sources if s.parameters is not None]
        atoms = np.stack([self._signals(p) for p in parameters])
        # In one unit: the gains of the acquisitions are not known apart.
        given = np.stack([case.in_units(s)[mask] for s in case.sources])
        gain = self._gain(atoms, given)
        scans = case.visit.scans
        targets = {k: p for k, s in scans.items() if (p := s.parameters) is not None}
        shown = np.stack([gain * self._signals(p) for p in targets.values()])
        found = np.zeros((len(targets), given.shape[1]), np.float32)
        for start in range(0, given.shape[1], self._CHUNK):
            part = slice(start, start + self._CHUNK)
            found[:, part] = shown @ _weights(gain * atoms, given[:, part], self._NOISE)
        return {k: _filled(v, mask) for k, v in zip(targets, found, strict=True)}

    def _gain(self, atoms: Singles, given: Singles) -> np.float32:
        """Return what proton density 1 is worth in the unit."""
        some = given[:, :: max(1, given.shape[1] // 600)]
        candidates = np.geomspace(0.3, 12.0, 40)
        scores = [_evidence(np.float32(g) * atoms, some, 0.05) for g in candidates]
        return np.float32(candidates[int(np.argmax(scores))])


def _exponents(atoms: Singles, given: Singles, noise: float) -> Singles:
    """Return log likelihoods up to a constant, (entries, voxels)."""
    squares = (atoms**2).sum(axis=0)[:, None] - 2 * atoms.T @ given + (given**2).sum(axis=0)
    return np.asarray(squares * np.float32(-0.5 / noise**2))


def _weights(atoms: Singles, given: Singles, noise: float) -> Singles:
    found = _exponents(atoms, given, noise)
    found -= found.max(axis=0)
    np.exp(found, out=found)
    found /= found.sum(axis=0)
    return found


def _evidence(atoms: Singles, given: Singles, noise: float) -> float:
    found = _exponents(atoms, given, noise)
    top = found.max(axis=0)
    # One voxel that nothing explains must not decide.
    logs = top + np.log(np.exp(found - top).mean(axis=0))
    return float(np.maximum(logs, -50.0).mean())


def _filled(values: Singles, mask: NDArray[np.bool_]) -> FloatArray:
    out = np.zeros(mask.shape, np.float32)
    out[mask] = values
    return out
