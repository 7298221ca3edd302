"""The last line of the Set-up page: how fast it will be, where the run goes, and the start."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from crl_viewer.views.segments import Chip
from crl_viewer.views.training.parts import Button, Fixed, Sentence


class SetupFooter(QWidget):
    """Says what stands in the way of a start, or what was measured."""

    startRequested = Signal()
    cancelRequested = Signal()
    settingsRequested = Signal()
    folderTyped = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chooser: QFileDialog | None = None
        self.says = Sentence("", 11, 400, "text2")
        self.folder_name = Fixed("Run folder", 11, 400, "text2")
        self.folder_name.set_text("Run folder")
        self.folder = QLineEdit()
        self.folder.setProperty("field", True)
        self.folder.setAccessibleName("Run folder")
        self.folder.setToolTip("A new folder for this run; one that exists is never written to")
        self.folder.setMinimumWidth(120)
        self.folder.setMaximumWidth(380)
        self.choose = Chip("Choose…", "words")
        self.choose.setAccessibleName("Choose where the run folder goes")
        self.settings, self.cancel = Button("All settings…"), Button("Cancel")
        self.start = Button("Start training")
        self.settings.setFlat(True)
        self.cancel.setFlat(True)
        self.start.setProperty("primary", True)
        self._lay_out()
        self.start.clicked.connect(self.startRequested)
        self.cancel.clicked.connect(self.cancelRequested)
        self.settings.clicked.connect(self.settingsRequested)
        self.folder.editingFinished.connect(self._typed)
        self.choose.clicked.connect(self._pick)

    def _lay_out(self) -> None:
        where = QHBoxLayout()
        where.setSpacing(8)
        where.addWidget(self.folder_name)
        where.addWidget(self.folder, 1)
        where.addWidget(self.choose)
        where.addStretch(0)
        left = QVBoxLayout()
        left.setSpacing(2)
        left.addWidget(self.says)
        left.addLayout(where)
        row = QHBoxLayout(self)
        row.setContentsMargins(24, 6, 24, 8)
        row.setSpacing(8)
        row.addLayout(left, 1)
        row.addSpacing(16)
        for button in (self.settings, self.cancel, self.start):
            row.addWidget(button)

    def say(self, text: str, tone: str = "text2") -> None:
        """Say one line."""
        self.says.say(text, tone)

    def set_folder(self, folder: Path | None) -> None:
        """Show where the run goes, unless the user is typing."""
        if not self.folder.isModified():
            self.folder.setText("" if folder is None else str(folder))
            self.folder.setCursorPosition(0)

    def set_ready(self, ready: bool, why: str) -> None:
        """Allow the start, or say why not."""
        self.start.setEnabled(ready)
        if self.start.property("primary") != ready:
            # The style sheet fills a primary button whether or not it can be pressed.
            self.start.setProperty("primary", ready)
            self.start.style().unpolish(self.start)
            self.start.style().polish(self.start)
        self.start.setToolTip(why)
        self.start.setAccessibleDescription(why)

    def _typed(self) -> None:
        if self.folder.isModified():
            self.folder.setModified(False)
            self.folderTyped.emit(self.folder.text())

    def _pick(self) -> None:
        if self._chooser is None:
            self._chooser = QFileDialog(self, "Where the run folder goes")
            self._chooser.setFileMode(QFileDialog.FileMode.Directory)
            self._chooser.setOption(QFileDialog.Option.ShowDirsOnly, True)
            self._chooser.fileSelected.connect(self.put_into)
        self._chooser.open()

    def put_into(self, parent: str) -> None:
        """Keep the name of the run folder and put it into another one."""
        name = Path(self.folder.text()).name or "run"
        self.folder.setText(str(Path(parent) / name))
        self.folderTyped.emit(self.folder.text())
