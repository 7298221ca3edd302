"""All controllers on mock views, for tests that need no window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

from crl_core.errors import CRLError, InputError
from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters
from crl_viewer.controllers.alignment import AlignmentController
from crl_viewer.controllers.display import DisplayController, Panes
from crl_viewer.controllers.following import Follow
from crl_viewer.controllers.opening import OpeningController
from crl_viewer.controllers.parameters import ParametersController
from crl_viewer.controllers.scans import ScansController
from crl_viewer.controllers.synthesis import SynthesisController, Worker
from crl_viewer.controllers.windows import WindowsController
from crl_viewer.settings import Recent
from crl_viewer.state import Aligned, RenderRequest, Store, ViewerState
from crl_viewer.state.offers import Offer, Opened
from crl_viewer.views import bases
from crl_viewer.workers.engine import Engine
from crl_viewer.workers.finding import Found
from crl_viewer.workers.loader import Loader
from crl_viewer.workers.offering import Watcher
from tests.viewer.fakes import FakeOpener, NowTasks, make_offer, make_scan


class Now(Loader):
    """A loader that is done at once, on the same thread."""

    def __init__(self) -> None:
        pass

    def submit(self, job: Callable, done: Callable) -> Future:
        future: Future = Future()
        try:
            future.set_result(job())
        except CRLError as refusal:
            future.set_exception(refusal)
        done(future)
        return future


class Rig:
    """All controllers on mock views, with the engine run by hand."""

    def __init__(self, files: dict[str, Opened] | None = None) -> None:
        self.store = Store()
        self.files = files or {}
        self.found: Found | None = None
        """What the next search comes to, where it is not the files."""
        self.source, self.synthesised, self.acquired = (
            MagicMock(spec=bases.PaneView) for _ in range(3)
        )
        self.error = MagicMock(spec=bases.ErrorView)
        self.sliders = MagicMock(spec=bases.SlidersView)
        self.pad = MagicMock(spec=bases.ParameterView)
        self.presets = MagicMock(spec=bases.PresetsView)
        self.table = MagicMock(spec=bases.TableView)
        self.plot = MagicMock(spec=bases.PlotView)
        self.status = MagicMock(spec=bases.StatusView)
        self.shell = MagicMock(spec=bases.ShellView)
        self.worker = MagicMock(spec=Worker)
        self.shell.asks = True
        self.remembered: list[Recent] = []
        self.time = 0.0
        self.windows = WindowsController(self.store)
        self.parameters = ParametersController(self.store, self.sliders, self.pad, self.presets)
        panes = Panes(self.source, self.synthesised, self.acquired, self.error)
        self.display = DisplayController(
            self.store, panes, self.table, self.plot, self.status, self.shell
        )
        demos = {"real": lambda: [make_scan("D10"), make_scan("D90", SequenceParameters(5000, 90))]}
        self.follow = Follow(NowTasks(), self.shell)
        self.scans = ScansController(self.store)
        self.registered: list[tuple[Scan, Scan]] = []
        self.alignment = AlignmentController(self.store, Now(), self.follow, self.register)
        self.opening = OpeningController(
            self.store, self.scans, self.follow, Now(), self.shell, self.find, demos,
            self.remembered.extend,
        )  # fmt: skip
        self.synthesis = SynthesisController(
            self.store, self.worker, self.status, self.shell, lambda: self.time
        )
        self.opener = FakeOpener()
        self.engine = Engine(self.synthesis.on_event, self.opener)

    def find(self, paths: Sequence[Path], watcher: Watcher) -> Found:
        if self.found is not None:
            return self.found
        missing = [p for p in paths if p.name not in self.files]
        offers = [self.offer(p) for p in paths if p.name in self.files]
        lines = [str(InputError("there is no such file", path=p)) for p in missing]
        return Found(tuple(offers), refusals=tuple(lines))

    def offer(self, path: Path) -> Offer:
        def read(volume: int | None = None) -> Opened:
            opened = self.files[path.name]
            if volume is not None:
                named = replace(opened.scan, name=f"volume {volume}")
                opened = replace(opened, scan=named, volume=volume)
            return replace(opened, again=read, chosen=path)

        return make_offer(path.name, path=path, read=read)

    def register(self, moving: Scan, fixed: Scan, cancelled: Callable[[], bool]) -> Aligned:
        self.registered.append((moving, fixed))
        moved = replace(fixed, data=fixed.data * 0.5, name=moving.name, note="Registered.")
        return Aligned(moved, np.ones(fixed.shape, bool), registered="rigid")

    def open(self, *scans: Scan) -> None:
        self.files |= {f"{s.name}.nii": Opened(s) for s in scans}
        self.opening.open_paths([Path(f"{s.name}.nii") for s in scans])

    def rest(self) -> None:
        """Serve the newest request and do what waits for quiet."""
        self.work()
        self.engine.rest(self.worker.submit.call_args.args[0], lambda: False)

    def work(self) -> None:
        """Do the newest request."""
        self.engine.work(self.worker.submit.call_args.args[0], lambda: False)

    @property
    def state(self) -> ViewerState:
        return self.store.state

    @property
    def newest(self) -> RenderRequest:
        return self.worker.submit.call_args.args[0]
