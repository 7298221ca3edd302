"""The list of plans: one is chosen, and each tells what it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QAction, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from crl_core.training.config import PLANS, PlanName
from crl_viewer import theme
from crl_viewer.state.training_setup_plan import PlanWords
from crl_viewer.views.lines import write
from crl_viewer.views.segments import Chip, SteppingButton, width_of

CHECKPOINT_FILES = "Networks (*.safetensors *.pth *.pt);;All files (*)"
_LEFT = 28


class PlanRow(SteppingButton):
    """A plan: name, what it does, its time at the right."""

    STEPS = MappingProxyType(
        {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -1,
            Qt.Key.Key_Down: 1,
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.words = PlanWords("", "", "")
        self.beside: QWidget | None = None
        """A field or chip that stands behind the name."""
        self.setCheckable(True)
        self.setAutoExclusive(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def set_words(self, words: PlanWords) -> None:
        """Say something else."""
        if words != self.words:
            self.words = words
            self.setAccessibleName(f"{words.name}, {words.time}")
            self.setAccessibleDescription(words.about)
            self.setToolTip(words.about)
            self._place()
            self.update()

    def put_beside(self, widget: QWidget) -> None:
        """Put a widget behind the name."""
        widget.setParent(self)
        self.beside = widget
        self._place()

    def sizeHint(self) -> QSize:
        """Return two lines."""
        return QSize(320, round(40 * max(1.0, theme.text_scale())))

    def minimumSizeHint(self) -> QSize:
        """Return the same height: its words are never cut."""
        return QSize(0, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep what stands behind the name there."""
        self._place()

    def _place(self) -> None:
        if self.beside is not None:
            size = self.beside.sizeHint()
            left = min(
                _LEFT + width_of(self.words.name, 12, 500) + 8,
                self.width() - 84 - size.width(),
            )
            height = round(22 * max(1.0, theme.text_scale()))
            self.beside.setGeometry(round(left), 0, size.width(), height)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the circle and the words."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen, middle = self.isChecked(), self.height() / 2
        at = QPointF(8, middle)
        painter.setPen(QPen(p.accent if chosen or self.hasFocus() else p.text3, 1.5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(at, 6.5, 6.5)
        if chosen:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(p.accent)
            painter.drawEllipse(at, 3.25, 3.25)
        step = self.height() / 4 - 1
        right = float(self.width()) - 6  # clear of the frame that shows the focus
        room = (_LEFT, right - width_of(self.words.time, 12, 500) - 8)
        write(painter, room, middle - step, self.words.name, 12, 500, p.text)
        about = (_LEFT, right)
        write(painter, about, middle + step, self.words.about, 11, 400, p.text2)
        ink = p.text if chosen else p.text2
        align = Qt.AlignmentFlag.AlignRight
        weight = 600 if chosen else 400
        write(painter, (_LEFT, right), middle - step, self.words.time, 12, weight, ink, align)
        if self.hasFocus():
            painter.setPen(QPen(p.accent, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.end()


class MinutesField(QLineEdit):
    """The time for the plan that asks for one."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("field", True)
        self.setAccessibleName("Time to train")
        self.setToolTip("Minutes, or hours as in 2 h")

    def sizeHint(self) -> QSize:
        """Return the room of an hour with minutes."""
        return QSize(88, 22)


class PlanList(QWidget):
    """The four plans."""

    planChosen = Signal(str)
    minutesTyped = Signal(str)
    networkChosen = Signal(str)
    """A bundled name, or the path of a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[PlanName, PlanRow] = {}
        self.minutes = MinutesField()
        self.network = Chip("Choose…", "chip")
        self.network.setCheckable(False)
        self.network.setAccessibleName("Choose the network to fine-tune")
        self.menu: QMenu | None = None
        self._networks: tuple[str, ...] = ()
        self._start = ""
        self._chooser: QFileDialog | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for name in PLANS:
            row = self.rows[name] = PlanRow()
            row.clicked.connect(lambda _=False, n=name: self.planChosen.emit(n))
            row.stepped.connect(lambda step, n=name: self._beside(n, step))
            column.addWidget(row)
        self.rows["time"].put_beside(self.minutes)
        self.rows["fine-tune"].put_beside(self.network)
        self.minutes.editingFinished.connect(self._typed)
        self.network.clicked.connect(self.list_networks)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Plan")

    def set_plans(
        self, words: Mapping[PlanName, PlanWords], chosen: PlanName, minutes: str, start: str
    ) -> None:
        """Show what the plans say, which one is chosen, its time, and the network to start from."""
        self._start = start
        for name, row in self.rows.items():
            row.set_words(words[name])
            row.setChecked(name == chosen)
            strong, click = Qt.FocusPolicy.StrongFocus, Qt.FocusPolicy.ClickFocus
            row.setFocusPolicy(strong if name == chosen else click)
        if not self.minutes.hasFocus() or not self.minutes.isModified():
            self.minutes.setText(minutes)

    def set_networks(self, names: Sequence[str]) -> None:
        """Offer the networks that are bundled."""
        self._networks = tuple(names)

    def list_networks(self) -> None:
        """Open the list of networks to fine-tune."""
        if self.menu is not None:
            self.menu.deleteLater()
        self.menu = QMenu(self)
        for name in self._networks:
            action = QAction(name, self.menu, checkable=True, checked=name == self._start)
            action.triggered.connect(lambda _=False, n=name: self.networkChosen.emit(n))
            self.menu.addAction(action)
        if self._start and self._start not in self._networks:
            own = QAction(Path(self._start).name, self.menu, checkable=True, checked=True)
            own.triggered.connect(lambda: self.networkChosen.emit(self._start))
            self.menu.addAction(own)
        self.menu.addSeparator()
        file = QAction("Network file…", self.menu)
        file.triggered.connect(self._pick)
        self.menu.addAction(file)
        self.menu.popup(self.network.mapToGlobal(self.network.rect().bottomLeft()))

    def _pick(self) -> None:
        if self._chooser is None:
            self._chooser = QFileDialog(self, "Network to fine-tune", "", CHECKPOINT_FILES)
            self._chooser.setFileMode(QFileDialog.FileMode.ExistingFile)
            self._chooser.fileSelected.connect(self.networkChosen)
        self._chooser.open()

    def _typed(self) -> None:
        if self.minutes.isModified():
            self.minutes.setModified(False)
            self.minutesTyped.emit(self.minutes.text())

    def _beside(self, name: PlanName, step: int) -> None:
        there = PLANS[(PLANS.index(name) + step) % len(PLANS)]
        self.rows[there].setFocus(Qt.FocusReason.TabFocusReason)
        self.planChosen.emit(there)
