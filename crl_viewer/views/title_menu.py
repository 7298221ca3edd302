"""The menu behind the title of a pane: a choice of scans, and below it what can be done."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from PySide6.QtCore import QObject, QPoint, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QMenu, QWidget

_BOX = 26
"""Width of the column of boxes, pixels."""


class TitleMenu(QObject):
    """Entries of which one is chosen or several are ticked, and commands.

    Where several may be ticked, a click on a box or the space bar ticks one more and the menu
    stays; a click on a name or Enter chooses that entry alone.

    Parameters
    ----------
    pane
        Whose title it is.
    """

    chosen = Signal(int)
    ticked = Signal(int, bool)

    def __init__(self, pane: QWidget) -> None:
        super().__init__(pane)
        self._pane = pane
        self._entries: list[str] = []
        self._on: list[int] = []
        self._several = False
        self._actions: list[QAction] = []
        self._menu: _Menu | None = None

    def set_entries(
        self, entries: Sequence[str], current: int | None, ticked: Collection[int] | None = None
    ) -> None:
        """Offer a choice; without entries there is no menu.

        Parameters
        ----------
        entries
            What each says.
        current
            Which one is chosen.
        ticked
            Which ones are, where there may be several.
        """
        self._several = ticked is not None
        self._entries = list(entries)
        self._on = [] if current is None else [current]
        if ticked is not None:
            self._on = list(ticked)
        self._show_ticks()

    def set_actions(self, actions: Sequence[QAction]) -> None:
        """Put commands below the choice."""
        self._actions = list(actions)

    def open(self, at: QPoint) -> None:
        """Open at a point of the screen, if there is anything to choose."""
        if not self._entries:
            return
        menu = _Menu(self._pane, self._several)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.destroyed.connect(self._forget)
        for number, entry in enumerate(self._entries):
            action = menu.offer(entry)
            action.triggered.connect(lambda _=False, n=number: self.chosen.emit(n))
        menu.boxed.connect(self._boxed)
        if self._actions:
            menu.addSeparator()
            menu.addActions(self._actions)
        self._menu = menu
        self._show_ticks()
        menu.popup(at)

    def _forget(self) -> None:
        self._menu = None

    def _boxed(self, number: int) -> None:
        on = number not in self._on
        if on or len(self._on) > 1:  # without any there would be no picture
            self.ticked.emit(number, on)
        self._show_ticks()

    def _show_ticks(self) -> None:
        """Bring an open menu up to date: a tick may be refused, or change what others say."""
        if self._menu is None or len(self._menu.offered) != len(self._entries):
            return
        for number, action in enumerate(self._menu.offered):
            action.setText(self._entries[number])
            action.setChecked(number in self._on)


class _Menu(QMenu):
    """A menu whose first entries can be ticked without closing it."""

    boxed = Signal(int)

    def __init__(self, parent: QWidget, several: bool) -> None:
        super().__init__(parent)
        self.offered: list[QAction] = []
        self._several = several
        self._group = QActionGroup(self)

    def offer(self, text: str) -> QAction:
        """Add an entry that can be chosen."""
        action = self.addAction(text)
        action.setCheckable(True)
        if not self._several:
            self._group.addAction(action)
        self.offered.append(action)
        return action

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tick where the box of an entry was clicked."""
        at = event.position().toPoint()
        action = self.actionAt(at)
        inside = action is not None and self._in_box(action, at)
        if inside and event.button() == Qt.MouseButton.LeftButton and self._tick(action):
            return
        super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Tick the entry under the bar with the space bar."""
        if event.key() == Qt.Key.Key_Space and self._tick(self.activeAction()):
            return
        super().keyPressEvent(event)

    def _in_box(self, action: QAction, at: QPoint) -> bool:
        across = at.x() - self.actionGeometry(action).left()
        if self.isRightToLeft():
            across = self.actionGeometry(action).right() - at.x()
        return across < _BOX

    def _tick(self, action: QAction | None) -> bool:
        if not self._several or action not in self.offered:
            return False
        self.boxed.emit(self.offered.index(action))
        return True
