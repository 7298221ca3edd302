"""What the list of the chooser holds: offers, ticks, small pictures, and what a filter keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from crl_core.scan import FloatArray
from crl_viewer.state.offers import Offer, matches, spoken_of, tip_of

_DARK = 0.12
"""Values below this are the air around the head."""

Index = QModelIndex | QPersistentModelIndex


class Picture:
    """A small grey picture; keeps the pixels that Qt borrows."""

    def __init__(self, values: FloatArray) -> None:
        values = _fitted_to_head(values)
        grey = np.clip(np.nan_to_num(values), 0.0, 1.0) * 255
        self._pixels = np.ascontiguousarray(grey.astype(np.uint8))
        rows, cols = self._pixels.shape
        self.image = QImage(self._pixels.data, cols, rows, cols, QImage.Format.Format_Grayscale8)


def _fitted_to_head(values: FloatArray) -> FloatArray:
    """Cut away the dark rim, so that the head fills the little room there is."""
    lit = values > _DARK
    rows, cols = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not len(rows) or not len(cols):
        return values
    top, bottom = max(rows[0] - 2, 0), rows[-1] + 3
    left, right = max(cols[0] - 2, 0), cols[-1] + 3
    return values[top:bottom, left:right]


class SeriesModel(QAbstractListModel):
    """Offers, which of them are ticked, and which a typed word keeps."""

    ticked = Signal()
    """Something was ticked or unticked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._offers: list[Offer] = []
        self._pictures: dict[int, Picture | None] = {}
        self._ticks: set[int] = set()
        self._shown: list[int] = []
        self._typed = ""

    def set_offers(self, offers: Sequence[Offer], ticks: Iterable[int]) -> None:
        """Replace everything."""
        self.beginResetModel()
        self._offers = list(offers)
        self._pictures = {}
        self._ticks = {i for i in ticks if offers[i].usable}
        self._filter()
        self.endResetModel()
        self.ticked.emit()

    def set_picture(self, number: int, values: FloatArray | None) -> None:
        """Give an offer its picture; None says that there is none."""
        self._pictures[number] = None if values is None else Picture(values)
        if number in self._shown:
            at = self.index(self._shown.index(number))
            self.dataChanged.emit(at, at)

    def set_typed(self, typed: str) -> None:
        """Keep the offers in which every typed word stands."""
        self.beginResetModel()
        self._typed = typed
        self._filter()
        self.endResetModel()

    def _filter(self) -> None:
        self._shown = [i for i, o in enumerate(self._offers) if matches(o, self._typed)]

    # ticks -------------------------------------------------------------------------------------

    def toggle(self, row: int) -> None:
        """Tick a row, or take the tick away; nothing happens where it cannot be opened."""
        self.tick(range(row, row + 1), not self.is_ticked(row))

    def tick(self, rows: Iterable[int], on: bool) -> None:
        """Tick the usable ones of some rows, or take their ticks away."""
        for row in rows:
            number = self._shown[row]
            if on and self._offers[number].usable:
                self._ticks.add(number)
            elif not on:
                self._ticks.discard(number)
        if self._shown:
            self.dataChanged.emit(self.index(0), self.index(len(self._shown) - 1))
        self.ticked.emit()

    def is_ticked(self, row: int) -> bool:
        """Return whether a row is ticked."""
        return self._shown[row] in self._ticks

    def chosen(self) -> list[int]:
        """Return the numbers of all ticked offers in order, hidden ones too."""
        return sorted(self._ticks)

    def hidden_ticks(self) -> int:
        """Return how many ticked offers the typed words hide."""
        return len(self._ticks - set(self._shown))

    def number(self, row: int) -> int:
        """Return the number of the offer in a row."""
        return self._shown[row]

    def row_of(self, number: int) -> int | None:
        """Return the row of an offer, or None where the filter hides it."""
        return self._shown.index(number) if number in self._shown else None

    def offer(self, row: int) -> Offer:
        """Return the offer in a row."""
        return self._offers[self._shown[row]]

    def offers(self) -> list[Offer]:
        """Return every offer."""
        return list(self._offers)

    def picture(self, row: int) -> Picture | None:
        """Return the picture of a row, or None while there is none."""
        return self._pictures.get(self._shown[row])

    def pending(self, row: int) -> bool:
        """Return whether the picture of a row may still come."""
        return self._shown[row] not in self._pictures

    # what Qt asks ------------------------------------------------------------------------------

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return how many rows show."""
        return 0 if parent.isValid() else len(self._shown)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return words for Qt and for screen readers; the delegate asks the model itself."""
        if not index.isValid():
            return None
        offer = self.offer(index.row())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return offer.title
            case Qt.ItemDataRole.ToolTipRole:
                return tip_of(offer)
            case Qt.ItemDataRole.AccessibleTextRole:
                return spoken_of(offer)
            case Qt.ItemDataRole.CheckStateRole if offer.usable:
                on = self.is_ticked(index.row())
                return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
        return None
