"""The menu behind the title of a pane: a choice of scans, and below it what can be done."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, QPoint, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget


class TitleMenu(QObject):
    """Entries of which one is ticked, and commands.

    Parameters
    ----------
    pane
        Whose title it is.
    """

    chosen = Signal(int)

    def __init__(self, pane: QWidget) -> None:
        super().__init__(pane)
        self._pane = pane
        self._entries: list[str] = []
        self._current: int | None = None
        self._actions: list[QAction] = []

    def set_entries(self, entries: Sequence[str], current: int | None) -> None:
        """Offer a choice; without one there is no menu."""
        self._entries, self._current = list(entries), current

    def set_actions(self, actions: Sequence[QAction]) -> None:
        """Put commands below the choice."""
        self._actions = list(actions)

    def open(self, at: QPoint) -> None:
        """Open at a point of the screen, if there is anything to choose."""
        if not self._entries:
            return
        menu = QMenu(self._pane)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for number, entry in enumerate(self._entries):
            action = menu.addAction(entry)
            action.setCheckable(True)
            action.setChecked(number == self._current)
            action.triggered.connect(lambda _=False, n=number: self.chosen.emit(n))
        if self._actions:
            menu.addSeparator()
            menu.addActions(self._actions)
        menu.popup(at)
