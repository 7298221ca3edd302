"""Brings the reference onto the grid of the source: by the affines alone, or registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from types import MappingProxyType

from crl_core.errors import CRLError
from crl_core.preprocess.resample import resampled
from crl_core.scan import Scan
from crl_viewer import strings
from crl_viewer.controllers.following import Follow
from crl_viewer.controllers.scans import prepared
from crl_viewer.state.model import Aligned, Store, ViewerState
from crl_viewer.workers.loader import Loader

Register = Callable[[Scan, Scan, Callable[[], bool]], Aligned]
"""Registers (moving, fixed, cancelled); raises `CRLError`."""

Key = tuple[int, int]


class AlignmentController:
    """Keeps the reference comparable with the source.

    Parameters
    ----------
    store
        The state to watch and to change.
    loader
        Resamples.
    follow
        Registers, under a line the user can stop.
    register
        How two scans are registered.
    """

    def __init__(self, store: Store, loader: Loader, follow: Follow, register: Register) -> None:
        self._store = store
        self._loader = loader
        self._follow = follow
        self._register = register
        self._stop: Callable[[], None] = lambda: None
        store.changed.connect(self._on_changed)

    def register(self) -> None:
        """Register the reference to the source, or go back to what the affines say."""
        state = self._store.state
        key = _key(state)
        if key is None or state.registering is not None or state.acquired is None:
            return
        if state.registered:
            self._forget(key)
            return
        source, acquired = state.scans[key[1]], state.acquired
        self._store.update(registering=key, banner="")
        self._stop = self._follow.run(
            strings.REGISTERING.format(moving=acquired.name, fixed=source.name),
            lambda task: self._register(acquired, source, task.cancelled),
            partial(self._registered, key, acquired, source),
            stopped=lambda: self._store.update(registering=None),
        )

    def _registered(self, key: Key, acquired: Scan, source: Scan, future: Future[Aligned]) -> None:
        self._store.update(registering=None)
        aligned = self._outcome(future)
        scans = self._store.state.scans
        if aligned is not None and _still(scans, key, acquired, source):
            self._keep(key, aligned)

    def _forget(self, key: Key) -> None:
        """Take a registration back; what the affines say then takes its place."""
        self._store.update(aligned=self._without(key))

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if old.registering is not None and not _same_pair(old, new):
            self._stop()  # what was being registered is not looked at any more
        gone = old.reference_on_grid is not None and new.reference_on_grid is None
        if gone or not _same_pair(old, new):
            self._align(new)

    def _align(self, state: ViewerState) -> None:
        key = _key(state)
        if key is None or state.reference_on_grid is not None:
            return
        source, acquired = state.scans[key[1]], state.scans[key[0]]
        self._loader.submit(
            lambda: align(acquired, source), partial(self._aligned, key, acquired, source)
        )

    def _aligned(self, key: Key, acquired: Scan, source: Scan, future: Future[Aligned]) -> None:
        aligned = self._outcome(future)
        state = self._store.state
        if _key(state) != key or not _still(state.scans, key, acquired, source):
            return
        if aligned is None:
            self._store.update(reference=None)
        elif state.alignment is None:
            self._keep(key, aligned)

    def _keep(self, key: Key, aligned: Aligned) -> None:
        # One for each grid: which source of it comes first may change.
        self._store.update(aligned=MappingProxyType({**self._without(key), key: aligned}))

    def _without(self, key: Key) -> Mapping[Key, Aligned]:
        """Return what is aligned, less what brings that reference onto that grid."""
        state = self._store.state
        gone = state.aligned_by(*key)
        return MappingProxyType({k: v for k, v in state.aligned.items() if k != gone})

    def _outcome(self, future: Future[Aligned]) -> Aligned | None:
        """Return the result, or show why there is none."""
        try:
            return future.result()
        except CRLError as refusal:
            self._store.update(banner=str(refusal))
            return None


def align(acquired: Scan, source: Scan) -> Aligned:
    """Bring `acquired` onto the grid of `source`, with where it had measured anything."""
    scan, covered = resampled(acquired, source)
    return Aligned(prepared(scan), covered)


def _same_pair(old: ViewerState, new: ViewerState) -> bool:
    return old.source is new.source and old.acquired is new.acquired


def _key(state: ViewerState) -> Key | None:
    if state.reference is None or not state.sources or state.reference in state.sources:
        return None
    return (state.reference, state.sources[0])


def _still(scans: tuple[Scan, ...], key: Key, acquired: Scan, source: Scan) -> bool:
    """Return whether the two scans are still in their places."""
    return max(key) < len(scans) and scans[key[0]] is acquired and scans[key[1]] is source
