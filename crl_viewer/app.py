"""Start-up: the one place that makes everything and wires it together."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QPoint, QTimer
from PySide6.QtWidgets import QApplication

from crl_core import demo
from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters
from crl_viewer import strings, theme
from crl_viewer.commands import Commands, Controllers
from crl_viewer.controllers.alignment import AlignmentController, Register
from crl_viewer.controllers.display import DisplayController, Panes
from crl_viewer.controllers.following import Follow
from crl_viewer.controllers.opening import Finder, OpeningController
from crl_viewer.controllers.parameters import ParametersController
from crl_viewer.controllers.scans import ScansController
from crl_viewer.controllers.synthesis import SynthesisController
from crl_viewer.controllers.training import Launch, TrainingController
from crl_viewer.controllers.windows import ROLES, Role, WindowsController
from crl_viewer.settings import Recent, Settings, load_settings, save_settings
from crl_viewer.state.model import ModelFacts, Store, ViewerState, differs
from crl_viewer.state.requests import RenderRequest
from crl_viewer.views.main_window import MainWindow
from crl_viewer.views.pane import ImagePane
from crl_viewer.workers import events
from crl_viewer.workers.bridge import Bridge
from crl_viewer.workers.engine import Engine, Opener, Peek, open_synthesizer, peek_at_card
from crl_viewer.workers.finding import find
from crl_viewer.workers.latest import LatestWins
from crl_viewer.workers.loader import Loader
from crl_viewer.workers.registering import register_rigidly
from crl_viewer.workers.tasks import Tasks
from crl_viewer.workers.thumbnails import thumbnails

if TYPE_CHECKING:
    from crl_viewer.views.training.dialog import TrainingDialog
    from crl_viewer.views.training.setup_page import SetupPage

log = logging.getLogger("crl_viewer")

DEMOS: Mapping[str, Callable[[], list[Scan]]] = {
    "real": demo.real_slice,
    "digital": demo.digital_subject,
}

REST_MS = 250

IMAGE_MENU = ("reset_view", "maximise", "auto_window", "invert", "-", "snap", "-", "export",
              "screenshot")  # fmt: skip
SOURCE_MENU = (*IMAGE_MENU, "-", "scan_facts:source", "scan_times:source")
ACQUIRED_MENU = (*IMAGE_MENU, "-", "register", "scan_facts:acquired", "scan_times:acquired")
ERROR_MENU = ("reset_view", "maximise", "-", "expected_error", "gain_matching", "error_limit:5",
              "error_limit:10", "error_limit:20")  # fmt: skip


@dataclass(frozen=True)
class Services:
    """What the window takes from the rest of the world; tests put their own here."""

    opener: Opener = open_synthesizer
    peek: Peek = peek_at_card
    find: Finder = find
    register: Register = register_rigidly
    demos: Mapping[str, Callable[[], list[Scan]]] = field(default_factory=lambda: DEMOS)
    settings_path: Path | None = None
    launch: Launch = field(default_factory=Launch)


class Viewer(QObject):
    """The window with everything behind it.

    Parameters
    ----------
    app
        The application.
    services
        Where scans, networks and settings come from.
    """

    def __init__(self, app: QApplication, services: Services | None = None) -> None:
        super().__init__()
        self._services = services or Services()
        self._app = app
        self.settings = load_settings(self._services.settings_path)
        self.remembers = True
        theme.apply_theme(app, self.settings.theme)
        self.bridge = Bridge(self)
        self.loader = Loader(self.bridge.post)
        self.tasks = Tasks(self.bridge.post)
        self.engine = Engine(self._emit, self._services.opener, self._services.peek)
        self.worker: LatestWins[RenderRequest] = LatestWins(
            self.engine.work, self.engine.rest, self._worker_failed
        )
        self.store = Store(
            ViewerState(
                error_limit=self.settings.error_limit, gain_matching=self.settings.gain_matching
            )
        )
        self.window = MainWindow()
        self.controllers = self._make_controllers()
        self.commands = Commands(
            app,
            self.window,
            self.store,
            self.controllers,
            self._send_export,
            lambda: self.settings,
            self.change_settings,
        )
        # A drag on an image has no end of its own: it rests when it stops.
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self._rested)
        self._wire()
        self.window.restore_geometry(self.settings.geometry)
        self.window.set_recent(self.settings.recent)
        self.window.chooser_size = self.settings.chooser
        self._reflect(self.store.state, self.store.state)

    def start(self, checkpoint: Path | None = None) -> None:
        """Begin to load the network and the pictures of the welcome page."""
        self.store.update(checkpoint=checkpoint)
        self.controllers.synthesis.start()
        QTimer.singleShot(0, self._load_thumbnails)

    def close(self) -> None:
        """Stop the threads and remember the settings; training runs go on."""
        self.controllers.training.close()
        self.bridge.close()
        self.tasks.close()
        self.loader.close()
        self.worker.close()
        self.settings = replace(self.settings, geometry=self.window.geometry_text())
        self._save_settings()

    def _save_settings(self) -> None:
        if self.remembers:  # not where a picture is taken: nobody chose anything
            save_settings(self.settings, self._services.settings_path)

    @property
    def busy(self) -> bool:
        """Whether anything is being looked for, read, resampled or registered."""
        return self.loader.busy or self.tasks.busy

    def change_settings(self, settings: Settings) -> None:
        """Replace what is remembered, at once on disk."""
        if settings.recent != self.settings.recent:
            self.window.set_recent(settings.recent)
        self.settings = settings
        self._save_settings()
        self._reflect(self.store.state, self.store.state)

    def show_failure(self, text: str) -> None:
        """Show one line about an unexpected failure; may be called from any thread."""
        self.bridge.post(lambda: self.store.update(banner=text))

    # making ------------------------------------------------------------------------------------

    def _make_controllers(self) -> Controllers:
        window, panel, store = self.window, self.window.panel, self.store
        grid = window.panes
        follow = Follow(self.tasks, window)
        scans = ScansController(store)
        # The windows come first, so that the panes never show a picture in levels of another.
        windows = WindowsController(store)
        return Controllers(
            parameters=ParametersController(store, panel.sliders, panel.pad, panel.presets),
            display=DisplayController(
                store,
                Panes(grid.source, grid.synthesised, grid.acquired, grid.error),
                panel.table,
                panel.plot,
                window.status,
                window,
            ),
            windows=windows,
            scans=scans,
            alignment=AlignmentController(store, self.loader, follow, self._services.register),
            opening=OpeningController(
                store, scans, follow, self.loader, window, self._services.find,
                self._services.demos, self._remember,
            ),
            synthesis=SynthesisController(store, self.worker, window.status, window),
            training=TrainingController(
                store, window, self._training_dialog, lambda: self.settings,
                self.change_settings, self._services.launch,
            ),
        )

    def _training_dialog(self) -> tuple[TrainingDialog, SetupPage]:
        from crl_viewer.views.training.dialog import TrainingDialog
        from crl_viewer.views.training.setup_page import SetupPage

        # A window of its own beside the main one, so that the sliders can come before it.
        dialog, page = TrainingDialog(), SetupPage()
        dialog.set_setup_page(page, page.footer)
        page.sentenceChanged.connect(lambda text: dialog.set_sentence(text, "setup"))
        dialog.set_sentence(page.sentence, "setup")
        if self.settings.training is not None:
            dialog.resize(*self.settings.training)
        return dialog, page

    def _wire(self) -> None:
        window, do = self.window, self.controllers
        window.triggered.connect(self.commands.dispatch)
        window.may_close = do.training.may_close
        window.closing.connect(do.training.close_dialog)
        do.training.trying.scansWanted.connect(lambda s: do.opening.open_paths(s, free=True))
        window.dropped.connect(lambda names: do.opening.open_paths([Path(n) for n in names]))
        window.chooserLeft.connect(self._chooser_left)
        window.bannerClosed.connect(lambda: self.store.update(banner=""))
        window.sourceToggled.connect(self._source_toggled)
        window.recentChosen.connect(do.opening.open_recent)
        window.panes.maximisedChanged.connect(lambda _: self._refresh_actions())
        welcome = window.welcome
        welcome.demoChosen.connect(do.opening.open_demo)
        welcome.openRequested.connect(self.commands.open_files)
        welcome.folderRequested.connect(self.commands.open_folder)
        welcome.recentChosen.connect(do.opening.open_recent)
        welcome.backRequested.connect(lambda: window.show_workspace(True))
        self._wire_panel()
        for role in ROLES:
            self._wire_pane(role, getattr(window.panes, role))
        window.panes.source.menuChosen.connect(do.scans.choose_source)
        window.panes.source.menuTicked.connect(self._source_toggled)
        window.panes.acquired.menuChosen.connect(self._reference_chosen)
        self.store.changed.connect(self._reflect)
        do.parameters.history.changed.connect(self._refresh_actions)

    def _wire_panel(self) -> None:
        panel, do = self.window.panel, self.controllers
        for view in (panel.sliders, panel.pad):
            view.changed.connect(do.parameters.moved)
            view.released.connect(self._rested)
        panel.sliders.snapRequested.connect(self.commands.snap)
        panel.sliders.fatToggled.connect(self.commands.fat_suppression)
        panel.presets.chosen.connect(self._preset_chosen)
        panel.plot.axisChosen.connect(lambda axis: self.store.update(curve_axis=axis.lower()))

    def _wire_pane(self, role: Role, pane: ImagePane) -> None:
        do = self.controllers
        pane.crosshairMoved.connect(do.display.crosshair_moved)
        pane.scrolled.connect(do.display.scrolled)
        pane.contrastDragged.connect(do.parameters.contrast_drag)
        pane.contrastDragged.connect(self._rest.start)
        menu = {"error": ERROR_MENU, "source": SOURCE_MENU, "acquired": ACQUIRED_MENU}.get(
            role, IMAGE_MENU
        )
        pane.contextRequested.connect(partial(self._pane_menu, pane, menu))
        if role != "error":
            pane.windowDragged.connect(partial(do.windows.dragged, role))
            pane.windowReset.connect(partial(do.windows.reset, role))
            pane.levelsRequested.connect(partial(do.windows.chosen, role))

    def _pane_menu(self, pane: ImagePane, ids: tuple[str, ...], at: QPoint) -> None:
        self.window.pane_menu(pane, ids, at)

    # small translations ------------------------------------------------------------------------

    def _rested(self) -> None:
        self.controllers.parameters.rested()
        self.controllers.windows.rested()
        self.window.panel.plot.rest()

    def _preset_chosen(self, name: str, parameters: SequenceParameters) -> None:
        self.controllers.parameters.preset(name, parameters)
        self.controllers.windows.rested()

    def _source_entries(self) -> tuple[list[str], int | None, Sequence[int] | None]:
        state = self.store.state
        titles = [
            strings.source_title(scan, i in state.left_out) for i, scan in enumerate(state.scans)
        ]
        several = state.source_limit != 1
        first = state.sources[0] if state.sources else None
        return titles, first, state.ticked if several else None

    def _reference_entries(self) -> list[int]:
        state = self.store.state
        alone = state.ticked if len(state.ticked) == 1 else ()
        free = [i for i in range(len(state.scans)) if i not in alone]
        return free or list(range(len(state.scans)))

    def _reference_chosen(self, row: int) -> None:
        self.controllers.scans.choose_reference(self._reference_entries()[row])

    def _source_toggled(self, index: int, on: bool) -> None:
        state = self.store.state
        # One of several may be taken away even where no network takes more than one.
        if state.source_limit != 1 or (len(state.ticked) > 1 and not on):
            self.controllers.scans.toggle_source(index, on)
        else:
            self.controllers.scans.choose_source(index)

    def _reflect(self, old: ViewerState, new: ViewerState) -> None:
        """Bring menus, ticks and the banner up to date."""
        names = ("scans", "ticked", "sources", "reference", "model", "model_phase")
        if old is new or differs(old, new, *names):
            titles = [strings.scan_title(s) for s in new.scans]
            entries = self._reference_entries()
            at = entries.index(new.reference) if new.reference in entries else None
            self.window.set_menus(self._source_entries(), ([titles[i] for i in entries], at))
        if old is new or old.banner != new.banner:
            self.window.set_banner(new.banner)
        if old.parameters == new.parameters or old is new:
            self._refresh_actions()

    def _refresh_actions(self) -> None:
        history = self.controllers.parameters.history
        self.window.reflect(
            self.store.state,
            light=self.settings.theme == "light",
            undo=history.can_undo,
            redo=history.can_redo,
        )

    def _remember(self, opened: Sequence[Recent]) -> None:
        self.change_settings(self.settings.with_recent(*opened))

    def _chooser_left(self, width: int, height: int) -> None:
        self.window.chooser_size = (width, height)
        self.change_settings(replace(self.settings, chooser=(width, height)))

    # threads -----------------------------------------------------------------------------------

    def _emit(self, event: events.Event) -> None:
        self.bridge.post(partial(self._take, event))

    def _take(self, event: events.Event) -> None:
        self.controllers.synthesis.on_event(event)

    def _send_export(
        self, request: RenderRequest, facts: ModelFacts, path: Path, *, overwrite: bool
    ) -> None:
        export = partial(self.engine.export, request, facts, path, overwrite=overwrite)
        self.worker.errand(export)

    def _worker_failed(self, error: BaseException) -> None:
        text = report_failure(error)
        self.show_failure(text)
        self.bridge.post(lambda: self.controllers.synthesis.worker_failed(text))

    def _load_thumbnails(self) -> None:
        if self.window.workspace_shown():
            return
        for name, make in self._services.demos.items():
            self.loader.submit(partial(thumbnails, make), partial(self._thumbnails_ready, name))

    def _thumbnails_ready(self, name: str, future: object) -> None:
        pictures = future.result() if future.exception() is None else []  # type: ignore[attr-defined]
        self.window.welcome.cards[name].set_pictures(pictures)


# failures ---------------------------------------------------------------------------------------


def report_failure(error: BaseException) -> str:
    """Log an unexpected error as one line and return what the banner says.

    Neither holds the error's own text, which may quote a file's contents.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    line = f"{type(error).__name__}{where}"
    log.error("%s", line)
    return f"Something went wrong: {line}. The window goes on; save what you need."


def install_hooks(viewer: Viewer) -> None:
    """Turn exceptions nobody caught into one line in the log and in the window."""

    def hook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        viewer.show_failure(report_failure(error.with_traceback(trace)))

    def thread_hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            viewer.show_failure(report_failure(args.exc_value))

    sys.excepthook = hook
    threading.excepthook = thread_hook
