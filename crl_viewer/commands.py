"""What each action of the table does; the methods carry the ids of `crl_viewer.actions`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QFileDialog

from crl_core import __version__
from crl_core.errors import CRLError
from crl_core.io.atomic import atomic_path
from crl_core.sequence import PRESETS
from crl_viewer import strings, theme
from crl_viewer.actions import ACTIONS, shortcut_sheet
from crl_viewer.controllers.alignment import AlignmentController
from crl_viewer.controllers.display import DisplayController
from crl_viewer.controllers.naming import files_of, image_path, is_open, picture_path
from crl_viewer.controllers.opening import OpeningController
from crl_viewer.controllers.parameters import ParametersController
from crl_viewer.controllers.scans import ScansController
from crl_viewer.controllers.synthesis import SynthesisController
from crl_viewer.controllers.training import TrainingController
from crl_viewer.controllers.windows import WindowsController
from crl_viewer.settings import Settings
from crl_viewer.state.model import Store
from crl_viewer.views.dialogs import Sheet, Table, native_keys
from crl_viewer.views.main_window import MainWindow

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication, QWidget

SCAN_FILES = "Scans and archives (*.nii *.nii.gz *.dcm *.ima *.zip);;All files (*)"
CHECKPOINT_FILES = "Checkpoints (*.safetensors *.pth *.pt);;All files (*)"
UNASKED = QFileDialog.Option.DontConfirmOverwrite
"""A file dialog knows only the name that was typed; `Commands` asks about what is written."""
LARGE = (780, 640)
"""Size of a sheet with much on it, pixels."""


@dataclass(frozen=True)
class Controllers:
    """Who does what."""

    parameters: ParametersController
    display: DisplayController
    windows: WindowsController
    scans: ScansController
    alignment: AlignmentController
    opening: OpeningController
    synthesis: SynthesisController
    training: TrainingController


class Commands:
    """Handlers of every action.

    Parameters
    ----------
    app, window, store, controllers
        What they act on.
    send_export
        Takes an export to the worker thread.
    settings, change_settings
        Read and replace what is remembered.
    """

    def __init__(
        self,
        app: QApplication,
        window: MainWindow,
        store: Store,
        controllers: Controllers,
        send_export: Callable[..., None],
        settings: Callable[[], Settings],
        change_settings: Callable[[Settings], None],
    ) -> None:
        self._app = app
        self._window = window
        self._store = store
        self._do = controllers
        self._send_export = send_export
        self._settings = settings
        self._change_settings = change_settings
        self._sheets: dict[str, Sheet] = {}

    def dispatch(self, action_id: str, on: bool) -> None:
        """Run the action; `on` is its new state where it has one."""
        info = ACTIONS[action_id]
        handler: Callable[..., Any] = getattr(self, info.handler)
        if info.argument is not None:
            handler(info.argument)
        elif info.checkable:
            handler(on)
        else:
            handler()

    # file --------------------------------------------------------------------------------------

    def open_files(self) -> None:
        """Choose files and open them."""
        names, _ = QFileDialog.getOpenFileNames(self._window, "Open scans", "", SCAN_FILES)
        self._do.opening.open_paths([Path(n) for n in names])

    def open_folder(self) -> None:
        """Choose a folder and look for scans in it."""
        name = QFileDialog.getExistingDirectory(self._window, "Open folder")
        if name:
            self._do.opening.open_paths([Path(name)])

    def export(self) -> None:
        """Choose a name and write the synthesised volume there."""
        state = self._store.state
        if not state.exportable:
            return
        tr, te, ti = state.parameters.triple
        fat = "_fs" if state.parameters.fat_suppression else ""
        proposed = f"SYNTHETIC_TR{tr:g}_TE{te:g}_TI{ti:g}{fat}.nii.gz"
        name, _ = QFileDialog.getSaveFileName(
            self._window, "Export synthesised volume", proposed, "NIfTI (*.nii.gz *.nii)",
            options=UNASKED,
        )  # fmt: skip
        if name:
            path = image_path(name)
            write = partial(self._do.synthesis.export, path, self._send_export, state)
            self._write(path, write)

    def screenshot(self) -> None:
        """Choose a name and save a picture of the window there."""
        name, _ = QFileDialog.getSaveFileName(
            self._window, "Save screenshot", "crl-explorer.png", "PNG (*.png)", options=UNASKED
        )
        if name:
            path = picture_path(name)
            self._write(path, partial(self._save_screenshot, path))

    def _save_screenshot(self, path: Path, *, overwrite: bool = False) -> None:
        try:
            save_picture(self._window, path, overwrite=overwrite)
        except (CRLError, OSError) as refusal:
            self._store.update(banner=str(refusal))
            return
        self._window.set_notice(f"Saved {path.name}")

    def _write(self, path: Path, write: Callable[..., None]) -> None:
        """Write files of a name; where there are some already, ask first.

        The file dialog cannot ask: it knows neither the ending that is added nor the sidecar.
        """
        if is_open(self._store.state.scans, path):
            self._store.update(banner=strings.KEPT.format(name=path.name))
            return
        there = [file.name for file in files_of(path) if file.exists()]
        if not there:
            write()
            return
        self._window.ask(
            strings.replaces(there),
            [
                (strings.REPLACE, True, partial(write, overwrite=True)),
                (strings.KEEP, False, lambda: None),
            ],
        )

    def welcome(self) -> None:
        """Show the page to begin with."""
        self._window.show_workspace(False)

    def close_scans(self) -> None:
        """Forget every scan."""
        self._do.scans.close_all()

    def clear_recent(self) -> None:
        """Forget which files were opened."""
        self._change_settings(replace(self._settings(), recent=()))

    def quit(self) -> None:
        """Close the window."""
        self._window.close()

    # view --------------------------------------------------------------------------------------

    def reset_view(self) -> None:
        """Fit to the head."""
        self._do.display.fit()

    def layout(self, name: str) -> None:
        """Arrange the panes."""
        self._window.panes.set_layout(name)

    def maximise(self) -> None:
        """Show the active pane alone, or all again."""
        self._window.panes.toggle_maximised()

    def error_alone(self) -> None:
        """Show the error pane alone, or all again."""
        self._window.panes.toggle_maximised(self._window.panes.error)

    def slices(self, steps: int) -> None:
        """Go some slices on."""
        self._do.display.scrolled(steps)

    def annotations(self, on: bool) -> None:
        """Show or hide words."""
        self._store.update(annotations=on)

    def invert(self, on: bool) -> None:
        """Swap black and white."""
        self._store.update(invert=on)

    def lock_windows(self, on: bool) -> None:
        """Let the source share the window of the others."""
        self._store.update(lock_windows=on)

    def auto_window(self) -> None:
        """Window and level from the images."""
        self._do.windows.reset("source")
        self._do.windows.reset("synthesised")

    def side_panel(self, on: bool) -> None:
        """Show or hide the panel."""
        self._window.choose_panel(on)

    def theme(self, light: bool) -> None:
        """Change the surroundings of the images."""
        name = "light" if light else "dark"
        theme.apply_theme(self._app, name)
        self._change_settings(replace(self._settings(), theme=name))

    # scans -------------------------------------------------------------------------------------

    def register(self, on: bool) -> None:
        """Register the acquired scan to the source, or take that back."""
        self._do.alignment.register()

    def scan_facts(self, role: str) -> None:
        """Show TR, TE and TI of a scan with where each was read, and its grid."""
        index = self._index_of(role)
        if index is not None:
            scan = self._store.state.scans[index]
            groups = strings.scan_groups(scan)
            self._show(f"facts {id(scan)}", lambda: Table(scan.name, "", groups, self._window))

    def scan_times(self, role: str) -> None:
        """Let the user type TR, TE and TI of a scan."""
        index = self._index_of(role)
        if role == "source" and self._store.state.timeless is not None:
            index = self._store.state.timeless  # whichever of the sources holds everything up
        if index is not None:
            self._do.opening.ask_again(index)

    def _index_of(self, role: str) -> int | None:
        state = self._store.state
        if role == "source":
            return state.sources[0] if state.sources else None
        return state.reference

    # contrast ----------------------------------------------------------------------------------

    def undo(self) -> None:
        """Back to the setting before."""
        self._do.parameters.undo()
        self._do.windows.rested()

    def redo(self) -> None:
        """Forward again."""
        self._do.parameters.redo()
        self._do.windows.rested()

    def snap(self) -> None:
        """Go to the setting of the acquired reference."""
        self._do.parameters.snap()
        self._do.windows.rested()

    def fat_suppression(self, on: bool) -> None:
        """Synthesise with fat suppressed, or as it is."""
        self._do.parameters.suppress_fat(on)
        self._do.windows.rested()

    def step(self, how: tuple[int, bool]) -> None:
        """Move the focused parameter; (steps, coarse)."""
        self._window.panel.sliders.step(None, how[0], how[1])

    def preset(self, name: str) -> None:
        """Go to a preset."""
        self._do.parameters.preset(name, PRESETS[name])
        self._do.windows.rested()

    def expected_error(self, on: bool) -> None:
        """Show what the network expects in the error pane, or the error itself."""
        self._store.update(show_expected=on)

    def gain_matching(self, on: bool) -> None:
        """Make the error map after one gain, or as is."""
        self._store.update(gain_matching=on)
        self._change_settings(replace(self._settings(), gain_matching=on))

    def error_limit(self, percent: int) -> None:
        """Choose the range of the error colours."""
        self._store.update(error_limit=percent)
        self._change_settings(replace(self._settings(), error_limit=percent))

    # model -------------------------------------------------------------------------------------

    def open_checkpoint(self) -> None:
        """Choose a checkpoint and load it."""
        name, _ = QFileDialog.getOpenFileName(
            self._window, "Open checkpoint", "", CHECKPOINT_FILES
        )
        if name:
            state, path = self._store.state, Path(name)
            # The same file may have been repaired or written anew since it was read.
            again = state.refreshed + (path == state.checkpoint)
            self._store.update(checkpoint=path, refreshed=again, banner="")

    def bundled_checkpoint(self) -> None:
        """Return to the shipped network."""
        self._store.update(checkpoint=None, banner="")

    def train(self) -> None:
        """Open the training dialog, at the run that is at work if there is one."""
        self._do.training.open()

    def open_run(self) -> None:
        """Choose the folder of a training run and show it."""
        name = QFileDialog.getExistingDirectory(self._window, "Open training run")
        if name:
            self._do.training.open_run(Path(name))

    def model_card(self) -> None:
        """Show what the network was trained on and how good it is."""
        model = self._store.state.model
        card = model.card if model is not None else None
        if card is not None:
            groups = strings.card_groups(card)
            self._show(
                f"card {card.sha256}",
                lambda: Table(card.name, card.note, groups, self._window),
                LARGE,
            )

    # help --------------------------------------------------------------------------------------

    def shortcuts(self) -> None:
        """Show every shortcut."""
        keys, mouse = shortcut_sheet()[:-1], shortcut_sheet()[-1]
        groups = [(h, [(native_keys(k), t) for k, t in rows]) for h, rows in keys] + [mouse]
        title = "Keyboard and mouse"
        self._show("shortcuts", lambda: Table(title, "", groups, self._window), LARGE)

    def about(self) -> None:
        """Show version, device, licence and what the network is."""
        state = self._store.state
        model = state.model
        program = [("Version", __version__), ("Licence", "Apache-2.0")]
        network = [("Network", "none loaded")]
        if model is not None:
            network = [("Name", model.name), ("Device", model.device), ("File", model.path.name)]
            network += [("SHA-256", model.sha256[:16] + "…")] if model.sha256 else []
        groups = [("Program", program), ("Network", network)]
        self._show(
            f"about {model.sha256 if model is not None else ''}",
            lambda: Table(strings.APP_NAME, strings.NOT_CLINICAL, groups, self._window),
        )

    def _show(
        self, key: str, make: Callable[[], Sheet], size: tuple[int, int] = (520, 420)
    ) -> None:
        """Show a sheet, or bring the one that is open to the front.

        `key` names what it is about: a sheet about another scan or network is another sheet.
        """
        sheet = self._sheets.get(key)
        if sheet is None:
            sheet = make()
            sheet.resize(*size)
            self._sheets[key] = sheet
            sheet.destroyed.connect(lambda: self._sheets.pop(key, None))
            sheet.show()
        sheet.raise_()
        sheet.activateWindow()


def save_picture(widget: QWidget, path: Path, *, overwrite: bool = True) -> None:
    """Write what a widget shows as PNG, atomically.

    Parameters
    ----------
    widget
        What to take a picture of.
    path
        Where it goes.
    overwrite
        Whether an older file may be replaced.

    Raises
    ------
    OutputError
        When it cannot be written there.
    OSError
        When the disk refuses.
    """
    with atomic_path(path, overwrite=overwrite) as part:
        if not widget.grab().save(str(part), "PNG"):
            raise OSError(f"{path}: the picture could not be written. Check the folder.")
