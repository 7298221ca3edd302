"""The signal of every voxel of a slab of tissue, for many sequences at little cost.

Voxels are kept in one list sorted by tissue, air left out, so that everything that depends on the
tissue alone is worked out once a sequence, and the rest is plain arithmetic on long arrays. The
same arithmetic runs on numpy arrays and on torch tensors of any device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crl_core.physics.epg import (
    EchoTrain,
    echo_amplitudes,
    longitudinal_left,
    longitudinal_map,
)
from crl_core.physics.labels import Tissues
from crl_core.physics.lesions import Inclusions
from crl_core.physics.realism import Realism
from crl_core.physics.tissues import GROUPS, PD, T1, T2, Group, Table, tissue_groups, tissue_index
from crl_core.scan import FloatArray
from crl_core.sequence import SequenceParameters

Engine = Literal["epg", "closed"]
ENGINES: tuple[Engine, ...] = ("epg", "closed")

_CALM: dict[Group, float] = {"solid": 1.0, "fluid": 0.15, "blood": 0.3, "fat": 0.5}
"""How much of the texture a group of tissues shows."""

_FIELD = (-0.32, 0.18)
"""Departures of the transmit field over which the polynomials are fitted."""

_SHORT_T2 = 8.0
"""Below this no refocusing angle leaves anything at an echo, ms."""

_SPIN_ECHO_FAT = 0.55
"""T2 of fat after a single refocusing pulse over that in a train (68 against 125 ms at 3 T)."""


@dataclass(frozen=True)
class Voxels:
    """Tissue and properties of every voxel that is not air.

    Parameters
    ----------
    shape
        (sub-slices, rows, columns) of the slab.
    place
        Flat index of each voxel in the slab.
    edges
        Voxels of the tissue ``order()[k]`` are those from ``edges[k]`` to ``edges[k + 1]``.
    pd, t1, t2
        Properties of each voxel.
    log_t1, log_t2
        Logarithm of T1 and T2 over the tissue's own in `table`.
    b1
        Transmit field minus 1; None where it is nominal throughout.
    table
        The subject's tissues.
    """

    shape: tuple[int, int, int]
    place: Any
    edges: NDArray[np.intp]
    pd: Any
    t1: Any
    t2: Any
    log_t1: Any
    log_t2: Any
    b1: Any
    table: Table

    def on(self, device: str) -> Voxels:
        """Return the same as torch tensors on a device."""
        import torch

        names = ("place", "pd", "t1", "t2", "log_t1", "log_t2", "b1")
        moved: dict[str, Any] = {
            name: torch.from_numpy(np.ascontiguousarray(value)).to(device)
            for name in names
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)

    def spread(self, values: Any, low: int, high: int) -> Any:
        """Put values of the voxels from `low` to `high` into a slab of zeros."""
        whole = _like(self.pd, int(np.prod(self.shape)))
        whole[self.place[low:high]] = values
        return whole.reshape(self.shape)

    def group(self, group: Group) -> tuple[int, int]:
        """Return where the voxels of a group begin and end."""
        first, last = _group_spans()[group]
        return int(self.edges[first]), int(self.edges[last])


def _like(array: Any, count: int) -> Any:
    """Return zeros of the kind and device of an array."""
    if isinstance(array, np.ndarray):
        return np.zeros(count, dtype=np.float32)
    return array.new_zeros(count)


@cache
def order() -> tuple[int, ...]:
    """Return the rows of the tissue table, group after group."""
    groups = tissue_groups()
    return tuple(sorted(range(len(groups)), key=lambda k: (GROUPS.index(groups[k]), k)))


@cache
def _group_spans() -> dict[Group, tuple[int, int]]:
    groups = [tissue_groups()[k] for k in order()]
    return {g: (groups.index(g), groups.index(g) + groups.count(g)) for g in GROUPS}


def make_voxels(
    tissues: Tissues,
    table: Table,
    *,
    water: FloatArray | None = None,
    iron: FloatArray | None = None,
    inclusions: Inclusions | None = None,
    b1: FloatArray | None = None,
) -> Voxels:
    """List the voxels of a slab.

    Parameters
    ----------
    tissues
        Rows of the tissue table, (sub-slices, rows, columns).
    table
        PD, T1, T2 per tissue, (n, 3).
    water, iron
        Texture: the first moves PD, T1 and T2 together, the second T2 alone; logarithms, of a
        shape that broadcasts to the slab.
    inclusions
        Lesions in the slab.
    b1
        Transmit field, fraction of nominal, of a shape that broadcasts to the slab.
    """
    kind = tissues
    if inclusions is not None and inclusions.any:
        kind = np.where(inclusions.kind > 0, inclusions.kind, tissues)
    rank = np.empty(len(order()), dtype=np.uint8)
    rank[list(order())] = np.arange(len(order()), dtype=np.uint8)
    flat = rank[kind.ravel()]
    filled = np.flatnonzero(kind.ravel())
    place = filled[np.argsort(flat[filled], kind="stable")]
    counts = np.bincount(flat[place], minlength=len(rank))
    edges = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    row = kind.ravel()[place]
    log_t1 = np.zeros(len(place), dtype=np.float32)
    log_t2, more = np.zeros_like(log_t1), np.ones_like(log_t1)
    calm = np.array([_CALM[g] for g in tissue_groups()], dtype=np.float32)[row]
    if water is not None:
        wave = _picked(water, tissues.shape, place) * calm
        more += np.float32(0.33) * wave
        log_t1 += wave
        log_t2 += np.float32(0.8) * wave
    if iron is not None:
        log_t2 += _picked(iron, tissues.shape, place) * calm
    base = table[row]
    pd = base[:, PD] * more
    if kind is not tissues and inclusions is not None:
        _blend(pd, log_t1, log_t2, tissues, inclusions, place, table, more)
    return Voxels(
        (tissues.shape[0], tissues.shape[1], tissues.shape[2]),
        place,
        edges,
        pd,
        base[:, T1] * np.exp(log_t1),
        base[:, T2] * np.exp(log_t2),
        log_t1,
        log_t2,
        None if b1 is None else _picked(b1, tissues.shape, place) - np.float32(1.0),
        table,
    )


def _picked(field: FloatArray, shape: tuple[int, ...], place: NDArray[np.intp]) -> FloatArray:
    """Return a field at the voxels; a field of the plane is shared by all sub-slices."""
    if field.ndim == 2:
        return np.asarray(field.ravel()[place % (shape[1] * shape[2])], dtype=np.float32)
    return np.asarray(field.ravel()[place], dtype=np.float32)


def _blend(
    pd: FloatArray,
    log_t1: FloatArray,
    log_t2: FloatArray,
    tissues: Tissues,
    inclusions: Inclusions,
    place: NDArray[np.intp],
    table: Table,
    more: FloatArray,
) -> None:
    """Move voxels at the rim of an inclusion towards the tissue it lies in, in place."""
    weight = inclusions.weight.ravel()[place]
    rim = np.flatnonzero((weight > 0) & (weight < 1))
    share = (1.0 - weight[rim]).astype(np.float32)
    host = table[tissues.ravel()[place[rim]]]
    own = table[inclusions.kind.ravel()[place[rim]]]
    pd[rim] = (own[:, PD] + share * (host[:, PD] - own[:, PD])) * more[rim]
    log_t1[rim] += share * np.log(host[:, T1] / own[:, T1])
    log_t2[rim] += share * np.log(host[:, T2] / own[:, T2])


class SequenceSignal:
    """One sequence on one scanner: the signal of any list of voxels.

    For refocusing below 180 degrees the echo is ``exp(-TE/T2)`` times a factor that changes
    slowly with T1, T2 and the transmit field. Its logarithm is fitted for every tissue by a
    polynomial to the extended phase graph around the tissue's values; the magnetisation left
    after the train is taken at the tissue's own T1. Against the graph in every voxel this is
    accurate to 1 % of the tissue's fully relaxed signal (``tests/core/test_slab.py``).

    Parameters
    ----------
    parameters
        The sequence.
    table
        The subject's tissues.
    realism
        Refocusing, inversion, flow and fat suppression of the session.
    engine
        ``"closed"`` ignores the refocusing angle and the transmit field.
    varied
        Whether voxels will carry a transmit field.
    """

    def __init__(
        self,
        parameters: SequenceParameters,
        table: Table,
        realism: Realism,
        *,
        engine: Engine = "epg",
        varied: bool = True,
    ) -> None:
        parameters.check_order()
        self.parameters = parameters
        self.engine = engine
        angle = realism.refocusing if engine == "epg" else 180.0
        self.train = EchoTrain.of(parameters, angle, inversion=realism.inversion)
        # Ideal refocusing leaves the closed form, without and with a varied field alike.
        graph = engine == "epg" and (angle < 180.0 or varied)
        self.varied = graph and varied
        self.terms = _fit(self.train, table, parameters.te, self.varied) if graph else None
        self.kept, self.gained = _fit_longitudinal(self.train, table, self.varied, graph)
        self.scale = _scales(parameters, self.train, realism)
        self.stretch = np.ones(len(table))
        if self.train.length == 1:
            for row, group in enumerate(tissue_groups()):
                self.stretch[row] = _SPIN_ECHO_FAT if group == "fat" else 1.0
        self.rest = max(parameters.tr - parameters.ti - self.train.duration, 0.0)

    def of(self, voxels: Voxels) -> Any:
        """Return the signed signal of every voxel, in the order of the list."""
        xp = _space(voxels.pd)
        signal = _like(voxels.pd, len(voxels.pd))
        for k, row in enumerate(order()):
            low, high = int(voxels.edges[k]), int(voxels.edges[k + 1])
            if high > low and self.scale[row] > 0:
                signal[low:high] = self._part(xp, voxels, row, slice(low, high))
        return signal

    def _part(self, xp: Any, voxels: Voxels, row: int, part: slice) -> Any:
        b = voxels.b1[part] if self.varied and voxels.b1 is not None else None
        mz = self._longitudinal(xp, voxels.t1[part], row, b)
        exponent = -self.parameters.te / (voxels.t2[part] * float(self.stretch[row]))
        signal = voxels.pd[part] * float(self.scale[row]) * mz
        if self.terms is not None:
            exponent += _polynomial(self.terms[:, row], voxels.log_t2[part], voxels.log_t1[part], b)
            if b is not None:
                signal *= xp.cos(b * (np.pi / 2.0))
        return signal * xp.exp(exponent)

    def _longitudinal(self, xp: Any, t1: Any, row: int, b: Any) -> Any:
        """Return Mz before the excitation; `crl_core.physics.epg.steady_longitudinal` in short."""
        p, perfect = self.parameters, self.train.inversion
        rest = xp.exp(-self.rest / t1)
        mz = 1.0 + (_horner(self.gained[:, row], b) - 1.0) * rest
        wait = xp.exp(-p.ti / t1) if p.inverted else None
        if wait is not None:
            mz = 1.0 - (1.0 + perfect * mz) * wait
        if b is None:  # a perfect excitation leaves nothing to be kept
            return mz
        kept = _horner(self.kept[:, row], b) * rest
        if wait is not None:
            kept = kept * wait * -perfect
        return mz / (1.0 - kept)


def _space(array: Any) -> Any:
    """Return the module whose functions take such arrays."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def _polynomial(terms: NDArray[np.float64], x: Any, y: Any, b: Any) -> Any:
    """Evaluate the fitted polynomial: in x, y and the field, the field's powers first."""
    if len(terms) == 3:
        return float(terms[0]) + x * (float(terms[1]) + float(terms[2]) * x)
    parts = np.split(terms, np.cumsum(_powers(True))[:-1])
    plain, by_x, by_xx, by_y = (_horner(part, b) for part in parts)
    return plain + x * (by_x + by_xx * x) + by_y * y


def _powers(varied: bool) -> tuple[int, int, int, int]:
    """Return how many powers of the field go with 1, x, x squared and y."""
    return (7, 4, 2, 3) if varied else (1, 1, 1, 0)


@cache
def _nodes(varied: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points (x, y, b) of the fit and the matrix that turns values there into terms."""
    x = np.linspace(-0.7, 0.7, 5) if varied else np.array([-0.5, 0.0, 0.5])
    y = np.array([-0.4, 0.0, 0.4]) if varied else np.zeros(1)
    b = np.linspace(_FIELD[0], _FIELD[1], 9) if varied else np.zeros(1)
    points = np.stack([p.ravel() for p in np.meshgrid(x, y, b, indexing="ij")])
    one = np.ones(points.shape[1])
    columns = [
        factor * points[2] ** power
        for factor, count in zip(
            (one, points[0], points[0] ** 2, points[1]), _powers(varied), strict=True
        )
        for power in range(count)
    ]
    return points, np.asarray(np.linalg.pinv(np.stack(columns, axis=-1)))


def _fit(train: EchoTrain, table: Table, te: float, varied: bool) -> NDArray[np.float64]:
    """Fit the logarithm of echo over exp(-TE/T2) for every tissue, (terms, tissues)."""
    number = train.echo(te)
    points, solve = _nodes(varied)
    usable = np.flatnonzero(table[:, T2] > _SHORT_T2)
    t1 = table[usable, T1].astype(np.float64)[:, None] * np.exp(points[1])
    t2 = table[usable, T2].astype(np.float64)[:, None] * np.exp(points[0])
    # Pulses after the echo change nothing about it.
    upto = replace(train, length=number)
    echo = echo_amplitudes(t1, t2, upto, 1.0 + points[2])[-1]
    # Where T2 is so short that stimulated echoes of either sign are all there is, nothing shows.
    decay = np.exp(-number * train.spacing / t2)
    ratio = np.log(np.maximum(echo, 0.3 * decay) / decay)
    terms = np.zeros((solve.shape[0], len(table)))
    terms[:, usable] = solve @ ratio.T
    return terms


def _horner(terms: NDArray[np.float64], b: Any) -> Any:
    """Evaluate a polynomial in the transmit field; its constant where that is nominal."""
    if b is None:
        return float(terms[0])
    total = float(terms[-1])
    for term in terms[-2::-1]:
        total = total * b + float(term)
    return total


def _fit_longitudinal(
    train: EchoTrain, table: Table, varied: bool, graph: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit what a repetition keeps of Mz and what a train leaves, as polynomials in the field.

    The first includes what the excitation leaves along the field. Both (terms, tissues).
    """
    if not graph:
        return np.zeros((1, len(table))), np.zeros((1, len(table)))
    t1, t2 = table[:, T1].astype(np.float64), table[:, T2].astype(np.float64)
    if not varied:
        return np.zeros((1, len(table))), longitudinal_left(t1, t2, train)[None]
    b = np.linspace(_FIELD[0], _FIELD[1], 25)[:, None]
    kept, gained = longitudinal_map(t1, t2, train, 1.0 + b)
    kept = kept * np.cos(np.deg2rad(train.excitation) * (1.0 + b))
    solve = np.asarray(np.linalg.pinv(b ** np.arange(11)))
    return solve @ kept, solve @ gained


def _scales(
    parameters: SequenceParameters, train: EchoTrain, realism: Realism
) -> NDArray[np.float64]:
    """Return what flow and fat suppression leave of every tissue's signal."""
    scale = np.ones(len(tissue_groups()))
    # Blood gives signal only while it is still in the slice for every pulse up to the echo
    # (Bradley, AJR 1988;150:983); what stays is dephased as well, the more the faster it flows.
    gone = parameters.te - train.spacing / 2.0
    for name, speed in (
        ("arterial blood", realism.artery_speed),
        ("venous blood", realism.vein_speed),
    ):
        crossed = speed * gone / 1000.0 / _SLICE_MM
        scale[tissue_index(name)] = max(0.0, 1.0 - crossed) * np.exp(-speed / 400.0)
    if parameters.fat_suppression:
        for row, group in enumerate(tissue_groups()):
            if group == "fat":
                scale[row] = realism.fat_left
    return scale


_SLICE_MM = 5.0
"""Thickness that flowing blood has to cross, mm; that of usual slices."""
