"""One numbered chip per setting: filled is trained on, outlined is held back."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_viewer import theme
from crl_viewer.state.training_setup import Sequence3
from crl_viewer.views.lines import write
from crl_viewer.views.segments import HEIGHT, SteppingButton
from crl_viewer.views.training.setup_space import tip_of

IN_A_ROW, GAP, LABEL = 9, 4, 18
RIM = 2
"""A name may be a little wider than its chip, pixels at each side."""

MOST = 27
"""More chips than this do not fit; the marks of the plot can all be clicked."""


class SettingChip(SteppingButton):
    """A setting that is trained on while it is checked; its name stands below."""

    STEPS = MappingProxyType(
        {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -IN_A_ROW,
            Qt.Key.Key_Down: IN_A_ROW,
        }
    )

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._name = ""
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)

    def show_setting(self, setting: Sequence3) -> None:
        """Show a setting."""
        self._name = setting.name
        self.setText(str(setting.number))
        self.setChecked(not setting.held)
        self.setAccessibleName(f"Setting {setting.number}, {setting.name}")
        self.setAccessibleDescription("held back" if setting.held else "trained on")
        self.setToolTip(tip_of(setting))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the chip and its name."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(RIM, 0, self.width() - 2 * RIM, HEIGHT).adjusted(0.5, 0.5, -0.5, -0.5)
        fill = QColor(p.accent)
        fill.setAlphaF(0.55 if self.underMouse() else 0.4)
        trained = self.isChecked()
        painter.setBrush(fill if trained else Qt.BrushStyle.NoBrush)
        edge = p.accent if self.hasFocus() else p.text3
        painter.setPen(QPen(edge, 1) if self.hasFocus() or not trained else Qt.PenStyle.NoPen)
        painter.drawRoundedRect(box, 4, 4)
        centre = Qt.AlignmentFlag.AlignHCenter
        write(painter, (0, self.width()), HEIGHT / 2, self.text(), 12, 600, p.text, centre)
        ink = p.text2 if trained else p.text3
        across = (0.0, float(self.width()))
        write(painter, across, HEIGHT + LABEL / 2, self._name, 10, 400, ink, centre)
        painter.end()


class SettingChips(QWidget):
    """Chips in rows of nine; one stop for the Tab key, arrows move inside."""

    toggled = Signal(tuple, bool)
    """TR, TE, TI in ms, and whether it is to be held back."""

    def __init__(self) -> None:
        super().__init__()
        self._settings: tuple[Sequence3, ...] = ()
        self.chips: list[SettingChip] = []
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Settings to train on")

    def set_settings(self, settings: Sequence[Sequence3]) -> None:
        """Show settings; beyond the first `MOST` only the plot has them."""
        self._settings = tuple(settings[:MOST])
        while len(self.chips) < len(self._settings):
            self._add()
        while len(self.chips) > len(self._settings):
            chip = self.chips.pop()
            chip.hide()
            chip.deleteLater()
        for chip, setting in zip(self.chips, self._settings, strict=True):
            chip.show_setting(setting)
        focused = next((i for i, chip in enumerate(self.chips) if chip.hasFocus()), 0)
        self._rove(focused)
        self.updateGeometry()
        self._place()

    def _add(self) -> None:
        index = len(self.chips)
        chip = SettingChip(self)
        chip.clicked.connect(lambda _=False, i=index: self._clicked(i))
        chip.stepped.connect(lambda step, i=index: self._go(i + step))
        chip.show()
        self.chips.append(chip)

    def _clicked(self, index: int) -> None:
        setting = self._settings[index]
        # What it shows follows from what is chosen; a refused click must leave it as it was.
        self.chips[index].setChecked(not setting.held)
        self._rove(index)
        self.toggled.emit(setting.triple, not setting.held)

    def _go(self, index: int) -> None:
        if 0 <= index < len(self.chips):
            self._rove(index)
            self.chips[index].setFocus(Qt.FocusReason.TabFocusReason)

    def _rove(self, index: int) -> None:
        """Keep one chip in the Tab order."""
        for i, chip in enumerate(self.chips):
            strong, click = Qt.FocusPolicy.StrongFocus, Qt.FocusPolicy.ClickFocus
            chip.setFocusPolicy(strong if i == index else click)

    def sizeHint(self) -> QSize:
        """Return the room of all rows."""
        rows = -(-len(self.chips) // IN_A_ROW)
        return QSize(351, max(rows * (HEIGHT + LABEL + GAP) - GAP, HEIGHT))

    def minimumSizeHint(self) -> QSize:
        """Return the same height: chips are never cut."""
        return QSize(0, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place the chips."""
        self._place()

    def _place(self) -> None:
        across = min(max(len(self.chips), 1), IN_A_ROW)
        wide = min((self.width() - GAP * (across - 1)) / across, 72)
        for i, chip in enumerate(self.chips):
            row, column = divmod(i, IN_A_ROW)
            left = round(column * (wide + GAP))
            top = row * (HEIGHT + LABEL + GAP)
            chip.setGeometry(left - RIM, top, round(wide) + 2 * RIM, HEIGHT + LABEL)
