"""Which scans are loaded and what each is used for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters, distance
from crl_viewer import strings
from crl_viewer.state.model import Aligned, Store, ViewerState, differs


class ScansController:
    """Chooses sources and reference.

    Parameters
    ----------
    store
        The state to change.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._from_demo = False
        store.changed.connect(self._on_changed)

    def close_all(self) -> None:
        """Forget every scan, and the levels that were set by hand for them."""
        self._from_demo = False
        self._store.update(
            scans=(), sources=(), ticked=(), reference=None, crosshair=None, slice_index=0,
            window=None, source_window=None, reference_window=None, auto_window=True, frame=None,
            compared=None, volume=None, curve=None, agreed=None, refusal="", banner="",
            registering=None, aligned=MappingProxyType({}),
        )  # fmt: skip

    def add(self, scans: Sequence[Scan], *, demo: bool = False, first: int = 0) -> list[Scan]:
        """List new scans, and choose source and reference where none fits.

        A scan that is there already is not listed twice: it would be compared with itself. Where
        its times were not known and now are, the new reading takes the place of the old one.

        Parameters
        ----------
        scans
            The new ones, in the order of listing.
        demo
            Whether they are a demo: one replaces everything and is itself replaced.
        first
            Number of the new scan that becomes the source, if none is there on the same grid.

        Returns
        -------
        Those that were left out, because they are there already.
        """
        if demo or self._from_demo:
            banner = self._store.state.banner
            self.close_all()
            self._store.update(banner=banner)
        self._from_demo = demo
        fresh: list[Scan] = []
        twins: list[Scan] = []
        for scan in scans:
            every = (*self._store.state.scans, *fresh)
            known = next((s for s in every if same_volume(s, scan)), None)
            if known is None:
                fresh.append(scan)
            elif known.parameters is None and scan.parameters is not None and known not in fresh:
                self.replaced(known, scan)
            else:
                twins.append(scan)
        if fresh:
            leads = scans[first]
            self._add(fresh, fresh.index(leads) if leads in fresh else 0)
        return twins

    def replaced(self, old: Scan, scan: Scan) -> None:
        """Put another reading of the same file in the place of a scan."""
        state = self._store.state
        scans = tuple(scan if s is old else s for s in state.scans)
        index = scans.index(scan)
        kept = dict(state.aligned)
        for key, aligned in state.aligned.items():
            if index not in key:
                continue
            del kept[key]
            if scan.data is old.data:
                # Only the times were typed; where the voxels lie has not changed.
                kept[key] = _retold(aligned, scan) if key[0] == index else aligned
        self._store.update(scans=scans, aligned=MappingProxyType(kept), banner="")

    # choosing ----------------------------------------------------------------------------------

    def choose_source(self, index: int) -> None:
        """Make one scan the only source; if it was the reference, the two change places."""
        state = self._store.state
        if state.ticked == (index,):
            return
        reference = state.reference
        if reference == index or reference is None:
            reference = self._reference_for(state.scans, (index,))
        self._use((index,), reference)

    def toggle_source(self, index: int, on: bool) -> None:
        """Add a scan to the sources or take it away; the last one stays."""
        state = self._store.state
        sources = [i for i in state.ticked if i != index]
        if on:
            limit = state.source_limit
            if not state.scans[index].same_grid(state.scans[(sources or [index])[0]]):
                self._store.update(
                    banner=f"{state.scans[index].name} lies on another grid than the first source."
                    " Sources must share one."
                )
                return
            sources.append(index)
            if limit is not None:
                gone, sources = sources[:-limit], sources[-limit:]
                # A network of one source makes it a choice of one, which explains itself.
                if gone and limit > 1:
                    self._tell_gone(limit, gone)
        if not sources:
            return
        reference = state.reference
        if (on and reference == index) or (reference in sources and len(sources) == 1):
            free = self._free_reference(state, tuple(sources))
            reference = reference if free is None and len(sources) > 1 else free
        self._use(tuple(sources), reference)

    def choose_reference(self, index: int | None) -> None:
        """Compare with another acquired scan, or with none."""
        self._use(self._store.state.ticked, index)

    # roles -------------------------------------------------------------------------------------

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if new.ready and differs(old, new, "model", "model_phase"):
            self._trim()

    def _trim(self) -> None:
        """Keep as many sources as a network takes that has just come; those in use stay."""
        state = self._store.state
        limit = state.source_limit
        if limit is None or len(state.ticked) <= limit:
            return
        kept = (*state.sources, *state.left_out)[:limit]
        ticked = tuple(i for i in state.ticked if i in kept)
        self._tell_gone(limit, [i for i in state.ticked if i not in kept])
        self._use(ticked, state.reference)

    def _tell_gone(self, limit: int, gone: Sequence[int]) -> None:
        names = [self._store.state.scans[i].name for i in gone]
        self._store.update(banner=strings.too_many(limit, names))

    def _add(self, scans: Sequence[Scan], first: int) -> None:
        state = self._store.state
        every = (*state.scans, *scans)
        first_new = len(state.scans)
        source = state.source
        joins = source is not None and all(s.same_grid(source) for s in scans)
        sources = state.ticked if joins else (first_new + first,)
        reference = state.reference
        if not joins or reference is None:
            candidates = range(first_new, len(every))
            reference = _best_reference(every, candidates, sources, state.parameters)
            if reference is None and not joins:
                reference = self._reference_for(every, sources)
        self._use(sources, reference, scans=every)

    def _use(
        self, ticked: tuple[int, ...], reference: int | None, scans: tuple[Scan, ...] | None = None
    ) -> None:
        """Put roles into the state together with everything that follows from them.

        A scan that is compared with does not take part in its own synthesis, nor does another
        reading of it, unless it is all there is.
        """
        state = self._store.state
        every = state.scans if scans is None else scans
        if ticked and not _apart(every, ticked, reference) and len(every) > 1:
            reference = _best_reference(every, range(len(every)), ticked, state.parameters)
        sources = _apart(every, ticked, reference) or ticked
        changes: dict[str, object] = {
            "scans": every, "ticked": ticked, "sources": sources, "reference": reference,
        }  # fmt: skip
        grid = every[sources[0]] if sources else None
        if grid is not None and (state.source is None or not grid.same_grid(state.source)):
            changes |= _first_view(grid)
        if state.source is None and reference is not None:
            known = every[reference].parameters
            if known is not None:
                changes["parameters"] = state.told(known.plain())
        self._store.update(**changes)

    def _reference_for(self, scans: Sequence[Scan], sources: tuple[int, ...]) -> int | None:
        """Return what to compare new sources with: the source until now where that will do."""
        state = self._store.state
        before, every = state.sources[:1], range(len(scans))
        found = _best_reference(scans, before, sources, state.parameters)
        return _best_reference(scans, every, sources, state.parameters) if found is None else found

    def _free_reference(self, state: ViewerState, sources: tuple[int, ...]) -> int | None:
        return _best_reference(state.scans, range(len(state.scans)), sources, state.parameters)


def prepared(scan: Scan) -> Scan:
    """Work out mask and scale while still off the GUI thread; both stay with the scan."""
    _ = scan.mask, scan.scale, scan.slice_axis
    return scan


def same_volume(one: Scan, other: Scan) -> bool:
    """Return whether two scans are readings of one volume of one file or series."""
    if one is other:
        return True
    if one.path is None or other.path is None or one.series != other.series:
        return False
    if one.path.absolute() != other.path.absolute():
        return False
    # What tells the volumes of one file apart, and a file that was written anew meanwhile.
    return np.array_equal(one.data, other.data)


def _apart(
    scans: Sequence[Scan], ticked: tuple[int, ...], reference: int | None
) -> tuple[int, ...]:
    """Return those of `ticked` that are not what is compared with."""
    if reference is None:
        return ticked
    return tuple(i for i in ticked if not same_volume(scans[i], scans[reference]))


def _retold(aligned: Aligned, scan: Scan) -> Aligned:
    told = replace(aligned.scan, parameters=scan.parameters, origins=scan.origins)
    return replace(aligned, scan=told)


def _best_reference(
    scans: Sequence[Scan],
    candidates: Sequence[int],
    sources: tuple[int, ...],
    parameters: SequenceParameters,
) -> int | None:
    """Return which scan to compare with: the one closest to the sliders that is no source.

    An image that this program made is no truth to compare with, unless the user says so.
    """
    free = [i for i in candidates if not scans[i].synthetic]
    free = [i for i in free if _apart(scans, sources, i) == sources]

    def apart(index: int) -> float:
        known = scans[index].parameters
        return float("inf") if known is None else distance(known, parameters)

    return min(free, key=apart) if free else None


def most_telling(scans: Sequence[Scan]) -> int:
    """Return which scan to start from: one long in TR with TE near 90 ms, not inverted.

    From a single image that one tells most; a proton density image hardly separates tissues. One
    that this program made tells nothing that the scan it was made from does not.
    """

    def rank(index: int) -> tuple[bool, bool, float, float]:
        known, acquired = scans[index].parameters, not scans[index].synthetic
        if known is None:
            return (acquired, False, 0.0, 0.0)
        return (acquired, not known.inverted, round(known.tr, -4), -abs(known.te - 90.0))

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
