"""All training settings with what each means; what differs from the plan is marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPalette, QWheelEvent
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QScrollArea,
    QWidget,
)

from crl_viewer import theme
from crl_viewer.state.training_setup_fields import (
    Field,
    changed_values,
    field_text,
    settings_fields,
)
from crl_viewer.views.dialogs import Choice, Sheet, words
from crl_viewer.views.training.parts import Button, Sentence

TITLE = "All settings"
SAYS = "Values are those of the plan. What is changed here stays until another plan is chosen."
NOT_YET = "The plan is still being measured: these are the usual values, not yet those of the plan."


class SettingsSheet(Sheet):
    """One row per setting: name, value, what it means, and the default.

    Parameters
    ----------
    base
        What the plan says; the defaults stand in for what it does not name.
    changes
        What differs from it already.
    """

    changed = Signal(dict)
    """The values that differ from the plan, by name."""

    def __init__(
        self,
        base: Mapping[str, Any],
        changes: Mapping[str, Any],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(TITLE, SAYS if base else NOT_YET, parent)
        self.resize(760, 680)
        self._base = dict(base)
        self.values: dict[str, QLineEdit | Choice] = {}
        self._names: dict[str, Any] = {}
        self.refusal = Sentence("", 12, 400, "bad")
        self.apply, self.reset, self.cancel = (
            Button("Use"),
            Button("Back to the plan"),
            Button("Cancel"),
        )
        self._fill(changes)
        self._add_buttons()
        self._look()

    def _fill(self, changes: Mapping[str, Any]) -> None:
        inner = QWidget()
        grid = QGridLayout(inner)
        grid.setContentsMargins(0, 0, 12, 0)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(12)
        grid.setColumnStretch(2, 1)
        top = Qt.AlignmentFlag.AlignTop
        for row, field in enumerate(settings_fields()):
            name = words(field.name.replace("_", " "), 12, 500)
            name.setWordWrap(False)
            self._names[field.name] = name
            value = changes.get(field.name, self._base.get(field.name, field.default))
            editor = self.values[field.name] = _editor(field, field_text(value))
            _connect(editor, self._look)
            usual = field_text(field.default) or "none"
            grid.addWidget(name, row, 0, top)
            grid.addWidget(editor, row, 1, top)
            meaning = f"{field.meaning} Default: {usual}."
            grid.addWidget(words(meaning.strip(), 12, 400, quiet=True), row, 2, top)
        area = QScrollArea()
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setWidget(inner)
        self.body.addWidget(area, 1)

    def _add_buttons(self) -> None:
        self.cancel.setFlat(True)
        self.reset.setFlat(True)
        self.apply.setProperty("primary", True)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.refusal, 1)
        for button in (self.reset, self.cancel, self.apply):
            row.addWidget(button)
        self.body.addLayout(row)
        self.reset.clicked.connect(self._reset)
        self.cancel.clicked.connect(self.reject)
        self.apply.clicked.connect(self._accept)

    def texts(self) -> dict[str, str]:
        """Return what stands in the fields."""
        return {name: _text_of(editor) for name, editor in self.values.items()}

    def _look(self) -> None:
        """Mark what differs, and say what is refused."""
        changes, refusals = changed_values(self.texts(), self._base)
        for name, label in self._names.items():
            p, palette = theme.current(), label.palette()
            ink = p.bad if name in refusals else p.accent if name in changes else p.text
            palette.setColor(QPalette.ColorRole.WindowText, ink)
            label.setPalette(palette)
        lines = list(refusals.values())
        said = f"{len(changes)} changed." if changes else ""
        self.refusal.say(lines[0] if lines else said, "bad" if lines else "text2")
        self.apply.setEnabled(not lines)
        self.reset.setEnabled(bool(changes or lines))

    def _reset(self) -> None:
        for field in settings_fields():
            value = field_text(self._base.get(field.name, field.default))
            _write(self.values[field.name], value)
        self._look()

    def _accept(self) -> None:
        changes, refusals = changed_values(self.texts(), self._base)
        if not refusals:
            self.changed.emit(changes)
            self.accept()


class _Quiet(Choice):
    """A drop-down that the wheel passes over, so that scrolling the sheet changes nothing."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the sheet."""
        event.ignore()


def _editor(field: Field, text: str) -> QLineEdit | Choice:
    if field.choices:
        choice = _Quiet()
        choice.addItems(list(field.choices))
        choice.setCurrentText(text)
        made: QLineEdit | Choice = choice
    else:
        line = QLineEdit(text)
        line.setProperty("field", True)
        made = line
    made.setFixedWidth(168)
    made.setAccessibleName(field.name.replace("_", " "))
    made.setAccessibleDescription(field.meaning)
    return made


def _connect(editor: QLineEdit | Choice, then: Any) -> None:
    signal = editor.textChanged if isinstance(editor, QLineEdit) else editor.currentTextChanged
    signal.connect(lambda _: then())


def _text_of(editor: QLineEdit | Choice) -> str:
    return editor.text() if isinstance(editor, QLineEdit) else editor.currentText()


def _write(editor: QLineEdit | Choice, text: str) -> None:
    if isinstance(editor, QLineEdit):
        editor.setText(text)
    else:
        editor.setCurrentText(text)
