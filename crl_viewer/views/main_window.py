"""The window around everything: bar, panes, panel, status line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QByteArray, QMimeData, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QKeyEvent,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QMenu, QStackedWidget, QVBoxLayout, QWidget

from crl_core.sequence import SequenceParameters
from crl_viewer import icons, strings
from crl_viewer.actions import ACTIONS
from crl_viewer.settings import Recent
from crl_viewer.state.model import ViewerState
from crl_viewer.views.activity import Activities, ActivityRow
from crl_viewer.views.dialogs import ScanQuestion, native_keys
from crl_viewer.views.drop_hint import DropHint
from crl_viewer.views.pane import ImagePane
from crl_viewer.views.pane_grid import PaneGrid
from crl_viewer.views.question_row import Answer, QuestionRow
from crl_viewer.views.series_dialog import SeriesDialog
from crl_viewer.views.side_panel import WIDE, WIDTH, Banner, SidePanel
from crl_viewer.views.status import StatusLine
from crl_viewer.views.top_bar import TopBar
from crl_viewer.views.welcome import WelcomePage

DRAWER_BELOW = 1100
WIDE_FROM = 1921
NOTICE_MS = 6000
MINIMUM = (720, 520)

_NEED_IMAGES = (
    "maximise", "error_alone", "reset_view", "annotations", "invert", "lock_windows",
    "auto_window", "layout:four", "layout:main", "side_panel",
)  # fmt: skip


class MainWindow(QMainWindow):
    """Holds the views and offers the setters of `crl_viewer.views.bases.ShellView`."""

    triggered = Signal(str, bool)
    """An action was chosen: its id, and whether it is now on."""
    dropped = Signal(list)
    """Files were dropped on the window."""
    bannerClosed = Signal()
    sourceToggled = Signal(int, bool)
    recentChosen = Signal(object)
    chooserLeft = Signal(int, int)
    """The chooser has gone; its width and height."""
    closing = Signal()
    """The window closes; nothing can keep it any more."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(strings.APP_NAME)
        self.setAcceptDrops(True)
        self.setMinimumSize(*MINIMUM)
        self.actions_by_id = self._make_actions()
        self._recent: tuple[Recent, ...] = ()
        self.chooser_size: tuple[int, int] | None = None
        self._state = ViewerState()
        self._panel_wanted: bool | None = None
        self.asks = True
        """Whether questions are put to the user; without one present they are not."""
        self.may_close: Callable[[], bool] | None = None
        """Asked before the window closes; False keeps it, such as to ask the user first."""
        self._after_paint: list[Callable[[], None]] = []
        self.bar = TopBar(self.actions_by_id, self._fill_submenu)
        self.banner = Banner()
        self.banner.closed.connect(self.bannerClosed)
        self.question = QuestionRow()
        self.activities = Activities()
        self.panes = PaneGrid()
        self.welcome = WelcomePage()
        self.panel = SidePanel()
        self.status = StatusLine()
        self._stack = QStackedWidget()
        self._stack.addWidget(self.welcome)
        self._stack.addWidget(self.panes)
        self._notice_end = QTimer(self, singleShot=True, interval=NOTICE_MS)
        self._notice_end.timeout.connect(lambda: self.status.set_notice(""))
        self.panes.synthesised.painted.connect(self._painted)
        self._lay_out()
        self.show_workspace(False)

    def _lay_out(self) -> None:
        left = QVBoxLayout()
        left.setContentsMargins(0, 0, 0, 0)
        left.setSpacing(0)
        left.addWidget(self.question)
        left.addWidget(self.activities)
        left.addWidget(self.banner)
        left.addWidget(self._stack, 1)
        middle = QHBoxLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setSpacing(0)
        middle.addLayout(left, 1)
        middle.addWidget(self.panel)
        outer = QVBoxLayout()
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.bar)
        outer.addLayout(middle, 1)
        outer.addWidget(self.status)
        centre = QWidget()
        centre.setLayout(outer)
        self.setCentralWidget(centre)
        self.drop_hint = DropHint(self)

    # actions -----------------------------------------------------------------------------------

    def _make_actions(self) -> dict[str, QAction]:
        made: dict[str, QAction] = {}
        groups: dict[str, QActionGroup] = {}
        for info in ACTIONS.values():
            action = QAction(info.text, self)
            action.setCheckable(info.checkable)
            if info.shortcut:
                action.setShortcut(QKeySequence(info.shortcut))
            keys = f" ({native_keys(info.shortcut)})" if info.shortcut else ""
            action.setToolTip(f"{info.text.rstrip('…')}{keys}\n{info.tip}")
            if info.icon:
                icons.bind(action, info.icon)
            if info.checkable and ":" in info.id:
                group = groups.setdefault(info.handler, QActionGroup(self))
                group.addAction(action)
            action.triggered.connect(lambda on=False, i=info.id: self.triggered.emit(i, on))
            self.addAction(action)
            made[info.id] = action
        return made

    def reflect(self, state: ViewerState, *, light: bool, undo: bool, redo: bool) -> None:
        """Tick and enable the actions as the state demands."""
        self._state = state
        loaded = state.source is not None
        acquired = state.acquired
        checks = {
            "annotations": state.annotations,
            "invert": state.invert,
            "lock_windows": state.lock_windows,
            "gain_matching": state.gain_matching,
            "expected_error": state.expected_shown,
            "fat_suppression": state.parameters.fat_suppression is True,
            "theme": light,
            "register": bool(state.registered),
            "side_panel": self.panel.isVisibleTo(self),
            f"error_limit:{state.error_limit}": True,
            f"layout:{self.panes.layout_name()}": True,
        }
        for name, on in checks.items():
            self.actions_by_id[name].setChecked(on)
        usable = {
            "export": state.exportable,
            "close_scans": bool(state.scans),
            "snap": acquired is not None and acquired.parameters is not None,
            "undo": undo,
            "redo": redo,
            "model_card": state.model is not None,
            "fat_suppression": state.model is not None and state.model.knows_fat,
            # Without an acquired scan there is nothing else to show.
            "expected_error": state.model is not None
            and state.model.knows_doubt
            and state.reference is not None,
            "bundled_checkpoint": state.checkpoint is not None,
            "register": _can_register(state),
        }
        for role, scan in (("source", state.source), ("acquired", acquired)):
            usable[f"scan_facts:{role}"] = usable[f"scan_times:{role}"] = scan is not None
        for name in _NEED_IMAGES:
            usable[name] = loaded
        for name, info in ACTIONS.items():
            if info.handler == "slices":
                usable[name] = state.source is not None and state.source.n_slices > 1
        for name, on in usable.items():
            self.actions_by_id[name].setEnabled(on)
        self.bar.export.setEnabled(state.exportable)
        self.welcome.set_back(loaded)

    def set_recent(self, recent: Sequence[Recent]) -> None:
        """List what was opened before."""
        self._recent = tuple(recent)
        self.welcome.set_recent(recent)

    def _fill_submenu(self, name: str, menu: QMenu) -> None:
        menu.clear()
        if name == "recent":
            for recent in self._recent:
                entry = menu.addAction(strings.recent_title(recent.path, recent.series))
                entry.setToolTip(recent.path)
                entry.setEnabled(Path(recent.path).exists())
                entry.triggered.connect(lambda _=False, r=recent: self.recentChosen.emit(r))
            if self._recent:
                menu.addSeparator()
                menu.addAction(self.actions_by_id["clear_recent"])
            menu.setEnabled(bool(self._recent))
            return
        state = self._state
        several = state.source_limit != 1
        for index, scan in enumerate(state.scans):
            entry = menu.addAction(strings.source_title(scan, index in state.left_out))
            entry.setCheckable(True)
            entry.setChecked(index in state.ticked)
            entry.setEnabled(several or index not in state.ticked or len(state.ticked) > 1)
            entry.toggled.connect(lambda on, i=index: self.sourceToggled.emit(i, on))
        menu.setEnabled(bool(state.scans))

    # what the controllers set ------------------------------------------------------------------

    def show_workspace(self, shown: bool) -> None:
        """Show the panes with their controls, or the welcome page."""
        self._stack.setCurrentWidget(self.panes if shown else self.welcome)
        # Without this the first button of the bar would take the keys and wear the ring.
        (self.panes.active() if shown else self.welcome).setFocus()
        self._place_panel()

    def workspace_shown(self) -> bool:
        """Return whether the panes show."""
        return self._stack.currentWidget() is self.panes

    def set_banner(self, text: str) -> None:
        """Show one line about what went wrong; empty hides it."""
        self.banner.set_text(text)

    def set_notice(self, text: str) -> None:
        """Tell something in passing on the status line."""
        self.status.set_notice(text)
        if text and not text.endswith("…"):
            self._notice_end.start()
        else:
            self._notice_end.stop()

    def set_model(self, text: str) -> None:
        """Name the model in the bar."""
        self.bar.set_model(text)

    def set_coverage_sentence(self, text: str, warn: bool) -> None:
        """Say where the setting lies among the trained ones, for those who cannot see the map."""
        self.panel.pad.setAccessibleDescription(text)

    def fit(self, foreground: tuple[float, float, float, float]) -> None:
        """Show the box with a margin in every pane."""
        self.panes.fit(foreground)

    def set_slices(self, index: int, count: int) -> None:
        """Tell screen readers the slice."""
        text = f"Slice {index + 1} of {count}" if count > 1 else "Single slice"
        self.panes.setAccessibleDescription(text)

    def ask_about(
        self,
        name: str,
        *,
        parameters: bool,
        volumes: int,
        known: Mapping[str, float],
        volume: int,
        answer: Callable[[SequenceParameters | None, int | None], None],
        closed: Callable[[], None],
    ) -> None:
        """Ask what a file does not say, in a window of its own that blocks nothing."""
        if not self.asks:
            closed()
            return
        question = ScanQuestion(
            name, parameters=parameters, volumes=volumes, known=known, volume=volume,
            answer=answer, parent=self,
        )  # fmt: skip
        question.gone.connect(closed)
        question.show()

    def activity(self, text: str, cancel: Callable[[], None]) -> ActivityRow:
        """Show a line about something that goes on, with a way to stop it."""
        return self.activities.begin(text, cancel)

    def choose_scans(
        self,
        title: str,
        sentence: str,
        people: Sequence[tuple[str, int]],
        chosen: Callable[[Sequence[int]], None],
        person: Callable[[int], None],
        closed: Callable[[], None],
    ) -> SeriesDialog:
        """Open a chooser that blocks nothing."""
        dialog = SeriesDialog(title, sentence, people, self)
        dialog.accepted_offers.connect(chosen)
        dialog.personChosen.connect(person)
        dialog.left.connect(lambda width, height: closed())
        dialog.left.connect(self.chooserLeft)
        dialog.fit_into(self.size(), self.chooser_size)
        dialog.show()
        return dialog

    def ask(self, question: str, answers: Sequence[Answer]) -> None:
        """Ask across the window, which goes on meanwhile: (text, red, what happens then)."""
        self.question.ask(question, answers)
        self.come_forward()

    def come_forward(self) -> None:
        """Come before the other windows."""
        self.show()
        self.raise_()
        self.activateWindow()

    def on_painted(self, call: Callable[[], None]) -> None:
        """Call once the next synthesised image has reached the screen."""
        self._after_paint = [call]

    def set_menus(
        self,
        source: tuple[list[str], int | None, Collection[int] | None],
        acquired: tuple[list[str], int | None],
    ) -> None:
        """Offer the loaded scans behind the titles of the two panes; see `ImagePane.set_menu`."""
        self.panes.source.set_menu(*source)
        self.panes.acquired.set_menu(*acquired)
        for role, pane in (("source", self.panes.source), ("acquired", self.panes.acquired)):
            names = [f"scan_facts:{role}", f"scan_times:{role}"]
            if role == "acquired":
                names.insert(0, "register")
            pane.title_menu.set_actions([self.actions_by_id[name] for name in names])

    def choose_panel(self, shown: bool) -> None:
        """Show or hide the panel by hand; this lasts until the next choice."""
        self._panel_wanted = shown
        self._place_panel()

    def pane_menu(self, pane: ImagePane, ids: Sequence[str], at: QPoint) -> None:
        """Open the context menu of a pane."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.panes.set_active(pane)
        for name in ids:
            if name == "-":
                menu.addSeparator()
            else:
                menu.addAction(self.actions_by_id[name])
        menu.popup(at)

    def _painted(self) -> None:
        calls, self._after_paint = self._after_paint, []
        for call in calls:
            call()

    def _place_panel(self) -> None:
        wanted = self._panel_wanted
        if wanted is None:
            wanted = self.width() >= DRAWER_BELOW
        self.panel.setVisible(wanted and self.workspace_shown())
        self.panel.setFixedWidth(WIDE if self.width() >= WIDE_FROM else WIDTH)
        self.actions_by_id["side_panel"].setChecked(wanted)

    # events ------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Make the panel a drawer where there is no room for it."""
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self._place_panel()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let the arrows go through the slices while no control uses them."""
        step = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}.get(Qt.Key(event.key()))
        if step is not None and not event.modifiers():
            self.triggered.emit(f"slices:{step}", False)
            return
        super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files and folders, and show that they may be dropped."""
        if _files(event.mimeData()):
            event.acceptProposedAction()
            self.drop_hint.cover(self._stack)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Take the hint away."""
        self.drop_hint.hide()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        self.drop_hint.hide()
        files = _files(event.mimeData())
        if files:
            event.acceptProposedAction()
            self.dropped.emit(files)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask whoever has a say, then tell the rest of the program."""
        if self.may_close is not None and not self.may_close():
            event.ignore()
            return
        self.closing.emit()
        super().closeEvent(event)

    # remembered --------------------------------------------------------------------------------

    def geometry_text(self) -> str:
        """Return size and place as text for the settings."""
        return bytes(self.saveGeometry().toBase64().data()).decode("ascii")

    def restore_geometry(self, text: str) -> None:
        """Take size and place from the settings; anything unusable is ignored."""
        if text:
            self.restoreGeometry(QByteArray.fromBase64(text.encode("ascii", "ignore")))


def _can_register(state: ViewerState) -> bool:
    """Return whether there are two scans and neither is being registered."""
    apart = state.reference is not None and state.reference not in state.sources
    return bool(state.sources) and apart and state.registering is None


def _files(mime: QMimeData) -> list[str]:
    return [url.toLocalFile() for url in mime.urls() if url.isLocalFile()]
