"""Runs beside each other: what came of them, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from crl_viewer import theme
from crl_viewer.state.training_run import CompareRow, RunReport, outcome_rows, setting_rows
from crl_viewer.views.training.curves import pen_of

ROW = 22


class CompareTable(QTableWidget):
    """A column for every run, a row for every figure or setting."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._reports: tuple[RunReport, ...] = ()
        self._every = False
        self.rows: list[CompareRow] = []
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Runs beside each other")
        self.verticalHeader().hide()
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        self._dress()
        theme.changed.connect(self._dress)

    # setters -----------------------------------------------------------------------------------

    def set_reports(self, reports: Sequence[RunReport]) -> None:
        """Show runs; those that could not be read are left out."""
        self._reports = tuple(r for r in reports if not r.refusal)
        self._fill()

    def set_every(self, every: bool) -> None:
        """Show all settings or only those that differ."""
        self._every = every
        self._fill()

    def texts(self) -> list[list[str]]:
        """Return what stands in the cells."""
        cells = [
            [self.item(r, c) for c in range(self.columnCount())] for r in range(self.rowCount())
        ]
        return [[cell.text() if cell is not None else "" for cell in row] for row in cells]

    # making ------------------------------------------------------------------------------------

    def _fill(self) -> None:
        settings = setting_rows(self._reports, every=self._every)
        self.rows = [*outcome_rows(self._reports), *settings]
        self.clear()
        self.setColumnCount(1 + len(self._reports))
        heads = [(row.group, i) for i, row in enumerate(self.rows)]
        groups = [(g, i) for k, (g, i) in enumerate(heads) if k == 0 or g != heads[k - 1][0]]
        self.setRowCount(len(self.rows) + max(0, len(groups) - 1))
        self._fill_heads()
        at, starts = 0, {i: g for g, i in groups}
        for index, row in enumerate(self.rows):
            if index in starts and index:
                self._heading(at, starts[index])
                at += 1
            self._fill_row(at, row)
            at += 1
        self._fit_columns()

    def _fill_heads(self) -> None:
        first = QTableWidgetItem("")
        self.setHorizontalHeaderItem(0, first)
        for index, report in enumerate(self._reports):
            item = QTableWidgetItem(_swatch(index), report.name)
            item.setToolTip(str(report.state.folder))
            item.setFont(theme.font(12, 600))
            item.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            self.setHorizontalHeaderItem(1 + index, item)

    def _heading(self, at: int, group: str) -> None:
        item = QTableWidgetItem(group)
        item.setFont(theme.font(12, 600))
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        item.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom)
        self.setItem(at, 0, item)
        self.setRowHeight(at, round(1.4 * ROW * max(1.0, theme.text_scale())))

    def _fill_row(self, at: int, row: CompareRow) -> None:
        p = theme.current()
        name = QTableWidgetItem(row.name)
        name.setForeground(p.text2)
        self.setItem(at, 0, name)
        for column, value in enumerate(row.values):
            item = QTableWidgetItem(value)
            item.setToolTip(value)
            item.setForeground(p.text if row.differs or len(row.values) == 1 else p.text2)
            if row.differs and row.group != "Outcome":
                item.setFont(theme.font(12, 500))
            self.setItem(at, 1 + column, item)
        self.setRowHeight(at, round(ROW * max(1.0, theme.text_scale())))

    def _fit_columns(self) -> None:
        head = self.horizontalHeader()
        metrics = QFontMetricsF(theme.font(12))
        longest = max((metrics.horizontalAdvance(r.name) for r in self.rows), default=80)
        for column in range(1, self.columnCount()):
            head.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(0, round(min(max(longest + 24, 110), 220)))

    def _dress(self) -> None:
        """Take the colours of the theme, which a table keeps copies of."""
        p = theme.current()
        palette = self.palette()
        clear = QColor(p.panel)
        palette.setColor(QPalette.ColorRole.Base, clear)
        palette.setColor(QPalette.ColorRole.Highlight, p.control)
        palette.setColor(QPalette.ColorRole.HighlightedText, p.text)
        self.setPalette(palette)
        self.setStyleSheet(
            f"QHeaderView::section {{ background: {p.panel.name()}; color: {p.text.name()};"
            f" border: 0; border-bottom: 1px solid {p.line.name()}; padding: 4px 3px; }}"
            f"QHeaderView {{ background: {p.panel.name()}; }}"
            f"QTableWidget {{ background: {p.panel.name()}; outline: none; }}"
        )
        if self._reports:
            self._fill()


def _swatch(index: int) -> QPixmap:
    """Draw a piece of the run's line, so that a column is found in the plot."""
    ratio = 2.0
    pixmap = QPixmap(round(18 * ratio), round(10 * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setPen(pen_of(index))
    middle = QRectF(0, 0, 18, 10).center().y()
    painter.drawLine(0, round(middle), 18, round(middle))
    painter.end()
    return pixmap
