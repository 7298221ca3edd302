"""Undo and redo of the sequence parameters."""

from __future__ import annotations

from psygnal import Signal

from crl_core.sequence import SequenceParameters


class History:
    """Positions at which the sliders came to rest, with a place in between.

    Parameters
    ----------
    limit
        How many positions are remembered.

    Attributes
    ----------
    changed
        Emitted when what can be undone or redone may differ.
    """

    changed = Signal()

    def __init__(self, limit: int = 100) -> None:
        self._limit = limit
        self._positions: list[SequenceParameters] = []
        self._at = -1

    def record(self, parameters: SequenceParameters) -> None:
        """Remember a position; whatever had been undone is forgotten."""
        if self._at >= 0 and self._positions[self._at] == parameters:
            return
        self._positions = [*self._positions[: self._at + 1], parameters][-self._limit :]
        self._at = len(self._positions) - 1
        self.changed.emit()

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier position."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether an undone position can come back."""
        return self._at < len(self._positions) - 1

    def undo(self) -> SequenceParameters | None:
        """Step back and return that position, or None at the first."""
        if not self.can_undo:
            return None
        self._at -= 1
        self.changed.emit()
        return self._positions[self._at]

    def redo(self) -> SequenceParameters | None:
        """Step forward again and return that position, or None at the last."""
        if not self.can_redo:
            return None
        self._at += 1
        self.changed.emit()
        return self._positions[self._at]
