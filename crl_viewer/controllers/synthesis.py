"""Asks for pictures when something changes, and takes what the worker reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Protocol

from crl_viewer import strings
from crl_viewer.controllers.naming import is_open
from crl_viewer.state.model import Store, ViewerState, differs
from crl_viewer.state.requests import RenderRequest
from crl_viewer.state.resolve import render_request
from crl_viewer.state.results import Agreed, Compared, Curve, Frame, VolumeCompared
from crl_viewer.views.bases import ShellView, StatusView
from crl_viewer.workers import events


class Worker(Protocol):
    """What is used of `crl_viewer.workers.latest.LatestWins`."""

    def submit(self, request: RenderRequest) -> None:
        """Ask for the newest picture."""


class SynthesisController:
    """Turns changes of the state into requests, and results into changes of the state.

    Parameters
    ----------
    store
        The state to watch and to change.
    worker
        Takes requests.
    status, shell
        Where time and notices go.
    clock
        Seconds that only ever rise.
    """

    def __init__(
        self,
        store: Store,
        worker: Worker,
        status: StatusView,
        shell: ShellView,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._store = store
        self._worker = worker
        self._status = status
        self._shell = shell
        self._clock = clock
        self._generations = count(1)
        self._newest: RenderRequest | None = None
        self._ready_at = 0.0
        store.changed.connect(self._on_changed)

    def start(self) -> None:
        """Begin to load the network even before there is anything to show."""
        self._ask(self._store.state)

    def export(
        self,
        path: Path,
        send: Callable[..., None],
        state: ViewerState | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Have a setting written for the whole volume.

        Parameters
        ----------
        path
            NIfTI file; never one of a scan that is open.
        send
            Takes request, facts of the network, path and `overwrite` to the worker thread.
        state
            What is to be written, where that was asked for earlier; by default what is chosen now.
        overwrite
            Whether older files of that name may be replaced.
        """
        state = state or self._store.state
        if not state.exportable or state.model is None:
            self._store.update(banner="There is nothing to export yet. Open a scan first.")
            return
        if is_open(self._store.state.scans, path):
            self._store.update(banner=strings.KEPT.format(name=path.name))
            return
        self._shell.set_notice(f"Writing {path.name}…")
        request = render_request(state, next(self._generations))
        send(request, state.model, path, overwrite=overwrite)

    def on_event(self, event: events.Event) -> None:
        """Take one report of the worker, on the thread of the window."""
        match event:
            case Frame():
                self._take_frame(event)
            case Compared():
                self._store.update(compared=event)
            case VolumeCompared():
                self._store.update(volume=event)
            case Curve():
                self._store.update(curve=event)
            case Agreed():
                self._store.update(agreed=event)
            case events.Refused(request=request, message=message):
                if self._newest is not None and request.image == self._newest.image:
                    self._store.update(refusal=message)
            case events.Notice(text=text):
                self._shell.set_notice(text)
            case events.Exported(path=path):
                self._shell.set_notice(f"Wrote {path.name} and its sidecar")
            case events.ExportFailed(message=message):
                self._store.update(banner=message)
                self._shell.set_notice("")
            case _:
                self._take_model(event)

    def worker_failed(self, message: str) -> None:
        """Take an unexpected failure: a network that was loading, or a file, will not come."""
        self._shell.set_notice("")
        if self._store.state.model_phase == "loading":
            self._status.set_engine("No network", ready=False)
            self._store.update(model=None, model_phase="failed", model_message=message)

    def _take_frame(self, frame: Frame) -> None:
        before = self._store.state.frame
        if before is not None and before.request.generation > frame.request.generation:
            return
        # Waiting for the network to load is no part of an update.
        asked = max(frame.request.issued, self._ready_at)
        first = before is None or _read(before.request) != _read(frame.request)
        self._shell.on_painted(
            lambda: self._status.set_timing(1000 * (self._clock() - asked), first=first)
        )
        self._store.update(frame=frame, refusal="")

    def _take_model(self, event: events.ModelEvent) -> None:
        if event.path != self._store.state.checkpoint:
            return
        match event:
            case events.ModelLoading(facts=known):
                self._status.set_engine("Loading the network", ready=False)
                self._store.update(model=known, model_phase="loading", model_message="")
            case events.ModelReady(facts=facts):
                self._status.set_engine(facts.device, ready=True)
                self._ready_at = self._clock()
                self._store.update(model=facts, model_phase="ready", model_message="")
            case events.ModelKept(message=message):
                self._store.update(banner=message)
            case events.ModelFailed(message=message):
                self._status.set_engine("No network", ready=False)
                self._store.update(
                    model=None, model_phase="failed", model_message=message, banner=message
                )

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if (
            differs(old, new, "scans", "sources", "parameters", "slice_index", "checkpoint")
            or differs(old, new, "gain_matching", "crosshair", "curve_axis", "expected_shown")
            or differs(old, new, "refreshed", "learning")
            or old.reference_on_grid is not new.reference_on_grid
        ):
            # A listener before this one may have changed something more meanwhile.
            self._ask(self._store.state)

    def _ask(self, state: ViewerState) -> None:
        self._newest = render_request(state, next(self._generations), issued=self._clock())
        self._worker.submit(self._newest)


def _read(request: RenderRequest) -> tuple[object, ...]:
    """Return what the network has to read before it can render."""
    return (request.checkpoint, request.refreshed, request.sources, request.index)
