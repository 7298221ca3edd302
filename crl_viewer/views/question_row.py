"""A question across the window: it blocks nothing, and stays until it is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from crl_viewer import theme
from crl_viewer.views.segments import Words
from crl_viewer.views.training.parts import Button, DangerButton

Answer = tuple[str, bool, Callable[[], None]]
"""What the button says, whether it is red, and what happens then."""


class QuestionRow(QWidget):
    """One line with a question and a button for each answer; takes no room without one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words = Words("", 12, 500)
        self.buttons: list[QPushButton] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(16, 8, 16, 8)
        self._row.setSpacing(8)
        self._row.addWidget(self.words, 1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Question")
        self.hide()

    def ask(self, question: str, answers: Sequence[Answer]) -> None:
        """Ask; the last answer is the way back, and also Escape.

        A question that still stands goes its way back: whoever asked it waits for an answer.
        """
        if self.buttons:
            self.buttons[-1].click()
        self._clear()
        self.words.set_text(question)
        self.setAccessibleDescription(question)
        for text, red, then in answers:
            button = DangerButton(text) if red else Button(text)
            button.clicked.connect(lambda _=False, f=then: self._answer(f))
            self.buttons.append(button)
            self._row.addWidget(button)
            button.show()  # a layout would do so only later, and what is hidden takes no focus
        self.show()
        self.buttons[-1].setFocus(Qt.FocusReason.OtherFocusReason)

    def _answer(self, then: Callable[[], None]) -> None:
        self.hide()
        self._clear()
        then()

    def _clear(self) -> None:
        for button in self.buttons:
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self.buttons = []

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let Escape answer with the way back."""
        if event.key() == Qt.Key.Key_Escape and self.buttons:
            self.buttons[-1].click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Fill the ground."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().control)
        painter.end()
