"""Asks for TR, TE and TI once per contrast, in the place of the table."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from crl_core.errors import ParameterError
from crl_core.sequence import SequenceParameters
from crl_viewer import theme
from crl_viewer.state.training_setup_values import (
    NAMES,
    Contrast,
    ValueAnswer,
    ValueQuestion,
    read_times,
)
from crl_viewer.views.dialogs import words
from crl_viewer.views.segments import Words
from crl_viewer.views.training.parts import Button, Sentence


class ValueForm(QWidget):
    """Contrasts with three fields each, and where a new dataset goes."""

    answered = Signal(object)
    """A `ValueAnswer`."""
    left = Signal()
    """The user goes back without an answer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.fields: dict[str, dict[str, QLineEdit]] = {}
        self.outs: dict[str, QCheckBox] = {}
        self.title = Words("", 12, 600)
        self.sentence = words("", 12, 400, quiet=True)
        self.folder = QLineEdit()
        self.folder.setProperty("field", True)
        self.folder.setAccessibleName("Folder of the new dataset")
        self.folder_name = Words("New dataset in", 12, 500, "text2")
        self.refusal = Sentence("", 12, 400, "bad")
        self.go, self.back = Button(""), Button("Not now")
        self.go.setProperty("primary", True)
        self.back.setFlat(True)
        self._area = QScrollArea()
        self._lay_out()
        self.go.clicked.connect(self._accept)
        self.back.clicked.connect(self.left)
        theme.changed.connect(self._colour)

    def _lay_out(self) -> None:
        self._area.setFrameShape(QScrollArea.Shape.NoFrame)
        self._area.setWidgetResizable(True)
        self._where = QWidget()
        where = QVBoxLayout(self._where)
        where.setContentsMargins(0, 0, 0, 0)
        where.setSpacing(4)
        where.addWidget(self.folder_name)
        where.addWidget(self.folder)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.refusal, 1)
        row.addWidget(self.back)
        row.addWidget(self.go)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 20, 0)
        column.setSpacing(8)
        column.addWidget(self.title)
        column.addWidget(self.sentence)
        column.addWidget(self._area, 1)
        column.addWidget(self._where)
        column.addLayout(row)

    def ask(self, question: ValueQuestion) -> None:
        """Show a question."""
        self.title.set_text(question.title)
        self.sentence.setText(question.sentence)
        self.go.setText(question.go)
        self.folder.setText(question.folder)
        self._where.setVisible(bool(question.folder))
        self.refusal.say("", "bad")
        self._fill(question)
        first = next((f for row in self.fields.values() for f in row.values()), self.go)
        first.setFocus(Qt.FocusReason.OtherFocusReason)

    def _fill(self, question: ValueQuestion) -> None:
        inner = QWidget()
        grid = QGridLayout(inner)
        grid.setContentsMargins(0, 8, 0, 0)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(8)
        self.fields, self.outs = {}, {}
        heads = ["Contrast", "", *(f"{n.upper()}, ms" for n in NAMES)] if question.contrasts else []
        for column, head in enumerate(heads):
            grid.addWidget(_label(head, 11, quiet=True), 0, column)
        for row, contrast in enumerate(question.contrasts, start=1):
            self._add(grid, row, contrast, question.may_leave_out)
        grid.setColumnStretch(6, 1)
        grid.setRowStretch(len(question.contrasts) + 1, 1)
        self._area.setWidget(inner)

    def _add(self, grid: QGridLayout, row: int, contrast: Contrast, may_leave: bool) -> None:
        many = "1 image" if contrast.count == 1 else f"{contrast.count} images"
        grid.addWidget(_label(contrast.name, 12), row, 0)
        grid.addWidget(_label(many, 11, quiet=True), row, 1)
        fields = self.fields[contrast.name] = {}
        for column, key in enumerate(NAMES, start=2):
            field = fields[key] = QLineEdit()
            field.setProperty("field", True)
            field.setFixedWidth(88)
            field.setAlignment(Qt.AlignmentFlag.AlignRight)
            field.setAccessibleName(f"{key.upper()} of {contrast.name}")
            value = contrast.proposed.get(key)
            if value is not None:
                field.setText("off" if key == "ti" and value == 0 else f"{value:.12g}")
            field.setPlaceholderText("ms or off" if key == "ti" else "ms")
            grid.addWidget(field, row, column)
        if may_leave:
            out = self.outs[contrast.name] = QCheckBox("Leave out")
            out.setAccessibleName(f"Leave {contrast.name} out")
            out.toggled.connect(lambda on, f=fields: [x.setEnabled(not on) for x in f.values()])
            grid.addWidget(out, row, 5)

    def _accept(self) -> None:
        left_out = frozenset(name for name, box in self.outs.items() if box.isChecked())
        values: dict[str, SequenceParameters] = {}
        try:
            for name, fields in self.fields.items():
                if name not in left_out:
                    values[name] = read_times(name, {k: f.text() for k, f in fields.items()})
            if not self._where.isHidden() and not self.folder.text().strip():
                raise ParameterError("Name a folder for the new dataset")
        except ParameterError as refusal:
            self.refusal.say(str(refusal), "bad")
            return
        self.answered.emit(ValueAnswer(values, left_out, self.folder.text().strip()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let Return answer and Escape go back."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._accept()
        elif event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def _colour(self) -> None:
        for label in self.findChildren(QLabel):
            quiet = bool(label.property("quiet")) or label is self.sentence
            palette = label.palette()
            ink = theme.current().text2 if quiet else theme.current().text
            palette.setColor(label.foregroundRole(), ink)
            label.setPalette(palette)


def _label(text: str, size: int, *, quiet: bool = False) -> QLabel:
    label = words(text, size, 400 if quiet else 500, quiet=quiet)
    label.setWordWrap(False)
    label.setProperty("quiet", quiet)
    return label
