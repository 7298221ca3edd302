"""Opens scans, chooses sources and reference, and brings them onto one grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from crl_core.errors import CRLError
from crl_core.preprocess.resample import resample_to
from crl_core.scan import Origin, Scan
from crl_core.sequence import SequenceParameters, distance
from crl_viewer import strings
from crl_viewer.state.model import Aligned, Store, ViewerState
from crl_viewer.views.bases import ShellView
from crl_viewer.workers.loader import Loader

Reader = Callable[[Path, int | None, SequenceParameters | None], "Opened"]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Opened:
    """One file as it was read: the scan and how many volumes the file holds."""

    scan: Scan
    volumes: int = 1


class ScansController:
    """Everything about which scans are there and what they are used for.

    Parameters
    ----------
    store
        The state to change.
    loader
        Runs the slow parts elsewhere.
    shell
        Asks questions and shows what went wrong.
    read
        Reads one file.
    demos
        Demo data by name.
    remember
        Takes the path of each file that was opened.
    """

    def __init__(
        self,
        store: Store,
        loader: Loader,
        shell: ShellView,
        read: Reader,
        demos: Mapping[str, Callable[[], list[Scan]]],
        remember: Callable[[Path], None],
    ) -> None:
        self._store = store
        self._loader = loader
        self._shell = shell
        self._read = read
        self._demos = demos
        self._remember = remember
        self._from_demo = False
        store.changed.connect(self._on_changed)

    # opening -----------------------------------------------------------------------------------

    def open_paths(
        self,
        paths: Sequence[Path],
        parameters: Sequence[SequenceParameters | None] = (),
    ) -> None:
        """Read files; what cannot be read shows as one line and does not stop the others.

        Parameters
        ----------
        paths
            Files in the order in which they are to be listed; the first becomes the source.
        parameters
            What is known of each file from elsewhere, in the same order.
        """
        if not paths:
            return
        given = [*parameters, *([None] * len(paths))][: len(paths)]
        names = strings.listed([p.name for p in paths[:3]])
        self._shell.set_notice(strings.LOADING_FILES.format(name=names))
        pairs = list(zip(paths, given, strict=True))
        self._loader.submit(partial(self._read_all, pairs), self._opened)

    def open_demo(self, name: str) -> None:
        """Replace everything by one of the demos."""
        self._shell.set_notice(strings.LOADING_FILES.format(name="the demo"))
        make = self._demos[name]
        self._loader.submit(lambda: [_prepared(scan) for scan in make()], self._demo_opened)

    def close_all(self) -> None:
        """Forget every scan."""
        self._from_demo = False
        self._store.update(
            scans=(), sources=(), reference=None, crosshair=None, slice_index=0, window=None,
            source_window=None, reference_window=None, frame=None, compared=None, volume=None,
            curve=None, refusal="", banner="", aligned=MappingProxyType({}),
        )  # fmt: skip

    # choosing ----------------------------------------------------------------------------------

    def choose_source(self, index: int) -> None:
        """Make one scan the only source; if it was the reference, the two change places."""
        state = self._store.state
        if state.sources == (index,):
            return
        reference = state.reference
        if reference == index or reference is None:
            reference = state.sources[0] if state.sources else None
        self._use((index,), reference)

    def toggle_source(self, index: int, on: bool) -> None:
        """Add a scan to the sources or take it away; the last one stays."""
        state = self._store.state
        sources = [i for i in state.sources if i != index]
        if on:
            limit = state.model.max_sources if state.model is not None else 1
            if not state.scans[index].same_grid(state.scans[(sources or [index])[0]]):
                self._store.update(
                    banner=f"{state.scans[index].name} lies on another grid than the first source."
                    " Sources must share one."
                )
                return
            sources = [*sources, index][-limit:]
        if not sources:
            return
        reference = state.reference
        if reference in sources:
            reference = self._free_reference(state, tuple(sources))
        self._use(tuple(sources), reference)

    def choose_reference(self, index: int | None) -> None:
        """Compare with another acquired scan, or with none."""
        self._use(self._store.state.sources, index)

    def answer(
        self, scan: Scan, parameters: SequenceParameters | None, volume: int | None
    ) -> None:
        """Take what the user says of a file: its TR, TE, TI, which of its volumes to show."""

        def job() -> Scan:
            fresh = scan
            if volume is not None and scan.path is not None:
                fresh = self._read(scan.path, volume, None).scan
            if parameters is not None:
                fresh = fresh.with_parameters(parameters, Origin("typed in the window", "given"))
            return _prepared(fresh)

        self._loader.submit(job, partial(self._replaced, scan))

    # results of the loader ---------------------------------------------------------------------

    def _read_all(
        self, pairs: Sequence[tuple[Path, SequenceParameters | None]]
    ) -> list[Opened | CRLError]:
        results: list[Opened | CRLError] = []
        for path, parameters in pairs:
            try:
                opened = self._read(path, None, parameters)
                results.append(replace(opened, scan=_prepared(opened.scan)))
            except CRLError as refusal:
                results.append(refusal)
        return results

    def _opened(self, future: Future[list[Opened | CRLError]]) -> None:
        self._shell.set_notice("")
        results = future.result()
        opened = [r for r in results if isinstance(r, Opened)]
        refusals = [str(r) for r in results if isinstance(r, CRLError)]
        for one in opened:
            if one.scan.path is not None:
                self._remember(one.scan.path)
        self._store.update(banner=" ".join(refusals))
        if opened:
            self._add([one.scan for one in opened], replace_all=self._from_demo)
        for one in opened:
            if one.scan.parameters is None or one.volumes > 1:
                self._shell.ask_about(
                    one.scan.name,
                    parameters=one.scan.parameters is None,
                    volumes=one.volumes,
                    answer=partial(self.answer, one.scan),
                )

    def _demo_opened(self, future: Future[list[Scan]]) -> None:
        self._shell.set_notice("")
        scans = self._outcome(future)
        if scans is not None:
            self._add(scans, replace_all=True, first=_most_telling(scans))
            self._from_demo = True

    def _replaced(self, old: Scan, future: Future[Scan]) -> None:
        scan = self._outcome(future)
        state = self._store.state
        if scan is None or old not in state.scans:
            return
        scans = tuple(scan if s is old else s for s in state.scans)
        index = scans.index(scan)
        kept = {k: v for k, v in state.aligned.items() if index not in k}
        self._store.update(scans=scans, aligned=MappingProxyType(kept), banner="")

    def _outcome(self, future: Future[Result]) -> Result | None:
        """Return the result, or show why there is none."""
        try:
            return future.result()
        except CRLError as refusal:
            self._store.update(banner=str(refusal))
            return None

    # roles -------------------------------------------------------------------------------------

    def _add(self, scans: Sequence[Scan], *, replace_all: bool, first: int = 0) -> None:
        """List new scans, and choose source and reference where none fits.

        Number `first` of the new ones becomes the source.
        """
        if replace_all:
            self.close_all()
        state = self._store.state
        every = (*state.scans, *scans)
        first_new = len(state.scans)
        source = state.source
        joins = source is not None and all(s.same_grid(source) for s in scans)
        sources = state.sources if joins else (first_new + first,)
        reference = state.reference
        if not joins or reference is None:
            candidates = range(first_new, len(every))
            reference = _best_reference(every, candidates, sources, state.parameters)
            if reference is None and source is not None and not joins:
                reference = state.sources[0]
        self._use(sources, reference, scans=every)

    def _use(
        self, sources: tuple[int, ...], reference: int | None, scans: tuple[Scan, ...] | None = None
    ) -> None:
        """Put roles into the state together with everything that follows from them."""
        state = self._store.state
        every = state.scans if scans is None else scans
        if reference is not None and reference in sources and len(every) > len(sources):
            reference = _best_reference(every, range(len(every)), sources, state.parameters)
        changes: dict[str, object] = {"scans": every, "sources": sources, "reference": reference}
        grid = every[sources[0]] if sources else None
        if grid is not None and (state.source is None or not grid.same_grid(state.source)):
            changes |= _first_view(grid)
        if state.source is None and reference is not None:
            known = every[reference].parameters
            if known is not None:
                changes["parameters"] = SequenceParameters(*known.triple)
        self._store.update(**changes)

    def _free_reference(self, state: ViewerState, sources: tuple[int, ...]) -> int | None:
        return _best_reference(state.scans, range(len(state.scans)), sources, state.parameters)

    # grids -------------------------------------------------------------------------------------

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if new.source is None or new.reference is None or new.reference_on_grid is not None:
            return
        if old.source is new.source and old.acquired is new.acquired:
            return
        source, acquired = new.source, new.scans[new.reference]
        key = (new.reference, new.sources[0])
        self._loader.submit(lambda: _align(acquired, source), partial(self._aligned, key, acquired))

    def _aligned(
        self, key: tuple[int, int], acquired: Scan, future: Future[Aligned]
    ) -> None:
        aligned = self._outcome(future)
        state = self._store.state
        if state.reference != key[0] or state.acquired is not acquired:
            return
        if aligned is None:
            self._store.update(reference=None)
            return
        self._store.update(aligned=MappingProxyType({**state.aligned, key: aligned}))


def _prepared(scan: Scan) -> Scan:
    """Work out mask and scale while still off the GUI thread; both stay with the scan."""
    _ = scan.mask, scan.scale, scan.slice_axis
    return scan


def _align(acquired: Scan, source: Scan) -> Aligned:
    """Bring `acquired` onto the grid of `source`, with where it had measured anything."""
    scan = _prepared(resample_to(acquired, source))
    ones = replace(acquired, data=np.ones(acquired.shape, np.float32), note="")
    return Aligned(scan, resample_to(ones, source, order=0).data > 0)


def _best_reference(
    scans: Sequence[Scan],
    candidates: Sequence[int],
    sources: tuple[int, ...],
    parameters: SequenceParameters,
) -> int | None:
    """Return which scan to compare with: the one closest to the sliders that is no source."""
    free = [i for i in candidates if i not in sources]

    def apart(index: int) -> float:
        known = scans[index].parameters
        return float("inf") if known is None else distance(known, parameters)

    return min(free, key=apart) if free else None


def _most_telling(scans: Sequence[Scan]) -> int:
    """Return which scan to start from: one long in TR with TE near 90 ms, not inverted.

    From a single image that one tells most; a proton density image hardly separates tissues.
    """

    def rank(index: int) -> tuple[bool, float, float]:
        known = scans[index].parameters
        if known is None:
            return (False, 0.0, 0.0)
        return (not known.inverted, round(known.tr, -4), -abs(known.te - 90.0))

    return max(range(len(scans)), key=rank)


def _first_view(source: Scan) -> dict[str, object]:
    """Return the slice and the crosshair to begin with: the middle of the head.

    Axial slices begin at 60 % of the way up the head, where the ventricles are.
    """
    inside = np.argwhere(source.mask)
    centre = inside.mean(axis=0) if len(inside) else (np.array(source.shape) - 1) / 2
    axis = source.slice_axis
    up = source.affine[2, axis] / source.voxel_size[axis]
    if len(inside) and abs(up) > 0.7:
        low, high = inside[:, axis].min(), inside[:, axis].max()
        centre[axis] = low + (high - low) * (0.6 if up > 0 else 0.4)
    i, j, k = (round(float(v)) for v in centre)
    return {"slice_index": (i, j, k)[axis], "crosshair": (i, j, k)}
