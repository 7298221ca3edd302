"""The bar above the panes: menus, tools, the model and the export button."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMenu,
    QMenuBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from crl_viewer import icons, theme
from crl_viewer.actions import MENUS, SEPARATOR, TOOLS

HEIGHT = 40
TOOLS_FROM = 1180
"""Narrower than this, the tools stand in one menu, pixels."""


class TopBar(QWidget):
    """Menus and tools made from the table of actions.

    Parameters
    ----------
    actions
        Every action of the window by id.
    fill
        Called with (name, menu) each time a submenu named with ``@`` is about to open.
    """

    def __init__(
        self,
        actions: Mapping[str, QAction],
        fill: Callable[[str, QMenu], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._actions = actions
        self._fill = fill
        self.setFixedHeight(HEIGHT)
        self.menu_bar = QMenuBar(self)
        self.menu_bar.setNativeMenuBar(False)
        self.menu_bar.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Maximum)
        self.menus = {title: self._menu(title, ids) for title, ids in MENUS.items()}
        self._tools = self._tool_groups()
        self._folded = self._folded_tools()
        self._model_word = QLabel("Model")
        self.model = QToolButton()
        self.model.setToolTip("Choose another network, or read its card")
        self.model.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.model.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.model.setMenu(self.menus["Model"])
        self.model.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.model.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        icons.bind(self.model, "chevron-down")
        self.export = QPushButton("Export")
        icons.bind(self.export, "export")
        self.export.setToolTip(actions["export"].toolTip())
        self.export.clicked.connect(actions["export"].trigger)
        self._lay_out()
        theme.changed.connect(self._dress)
        self._dress()

    def set_model(self, name: str) -> None:
        """Name the model."""
        self.model.setText(name)

    def _menu(self, title: str, ids: tuple[str, ...]) -> QMenu:
        menu = self.menu_bar.addMenu(title)
        menu.setToolTipsVisible(True)
        for name in ids:
            if name == SEPARATOR:
                menu.addSeparator()
            elif name.startswith("@"):
                self._submenu(menu, name[1:])
            else:
                menu.addAction(self._actions[name])
        return menu

    def _submenu(self, menu: QMenu, name: str) -> None:
        titles = {"recent": "Open recent", "sources": "Sources"}
        submenu = menu.addMenu(titles[name])
        menu.aboutToShow.connect(lambda: self._fill(name, submenu))

    def _tool_groups(self) -> QWidget:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for group in TOOLS:
            row.addSpacing(8)
            row.addWidget(_Rule())
            row.addSpacing(8)
            for name in group:
                row.addWidget(_tool(self._actions[name]))
        return holder

    def _folded_tools(self) -> QToolButton:
        button = QToolButton()
        button.setToolTip("Tools")
        button.setAccessibleName("Tools")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        icons.bind(button, "menu")
        menu = QMenu(button)
        for group in TOOLS:
            for name in group:
                menu.addAction(self._actions[name])
            menu.addSeparator()
        button.setMenu(menu)
        return button

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 16, 0)
        row.setSpacing(4)
        row.addWidget(self.menu_bar, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._tools)
        row.addWidget(self._folded)
        row.addStretch(1)
        row.addWidget(self._model_word)
        row.addWidget(self.model)
        row.addSpacing(8)
        row.addWidget(self.export)

    def _dress(self) -> None:
        palette = self._model_word.palette()
        palette.setColor(QPalette.ColorRole.WindowText, theme.current().text3)
        self._model_word.setPalette(palette)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fold the tools away where there is no room."""
        super().resizeEvent(event)
        wide = self.width() >= TOOLS_FROM
        self._tools.setVisible(wide)
        self._folded.setVisible(not wide)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Fill the bar."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().panel)
        painter.end()


class _Rule(QWidget):
    """A short upright hairline."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(1, 16)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().line)
        painter.end()


def _tool(action: QAction) -> QToolButton:
    button = QToolButton()
    button.setDefaultAction(action)
    button.setIconSize(QSize(16, 16))
    button.setFixedSize(28, 28)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
