"""One table of every command: id, text, shortcut, icon, where it stands.

Menus, the tool bar and the sheet of shortcuts (F1) are all made from it; handlers are the
methods of `crl_viewer.commands.Commands` that carry the id as their name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crl_core.sequence import PRESETS


@dataclass(frozen=True, slots=True)
class Action:
    """One command.

    Parameters
    ----------
    id
        Name of the handler.
    text
        In menus; three dots where it asks for something.
    shortcut
        As `QKeySequence` reads it; empty for none.
    icon
        Name in `crl_viewer.icons`, empty for none.
    tip
        What it does, for the tooltip.
    checkable
        Whether it is on or off.
    argument
        Passed to the handler, where one handler serves several actions.
    """

    id: str
    text: str
    shortcut: str = ""
    icon: str = ""
    tip: str = ""
    checkable: bool = False
    argument: object = None

    @property
    def handler(self) -> str:
        """Name of the method that is called."""
        return self.id.split(":")[0]


def _table(*actions: Action) -> dict[str, Action]:
    ids = [a.id for a in actions]
    if len(set(ids)) != len(ids):
        raise ValueError("two actions share one id")
    return {a.id: a for a in actions}


ACTIONS: Mapping[str, Action] = _table(
    Action("open_files", "Open files…", "Ctrl+O", "open",
           "Open NIfTI files, DICOM files or zip archives"),
    Action("open_folder", "Open folder…", "Ctrl+D", "folder",
           "Open a DICOM folder, a BIDS dataset or a folder of NIfTI files"),
    Action("export", "Export synthesised volume…", "Ctrl+S", "export",
           "Write the synthesised volume as NIfTI, marked SYNTHETIC"),
    Action("screenshot", "Save screenshot…", "Ctrl+Shift+S", "",
           "Save a picture of the window"),
    Action("welcome", "Welcome page", "Ctrl+Home", "home", "Demos and recent files"),
    Action("close_scans", "Close all scans", "Ctrl+W", "", "Forget every loaded scan"),
    Action("clear_recent", "Clear recent files", "", "", "Forget which files were opened"),
    Action("quit", "Quit", "Ctrl+Q", "", "Close the window"),
    Action("reset_view", "Fit to head", "R", "fit", "Show the whole head"),
    Action("maximise", "Active pane alone", "M", "maximise", "One pane, or all again"),
    Action("error_alone", "Error pane alone", "E", "", "The error map, or all panes again"),
    Action("layout:four", "Four panes", "F5", "layout-four", "Four panes of one size", True,
           "four"),
    Action("layout:main", "Synthesised pane large", "F6", "layout-main",
           "The synthesised pane large, the others beside it", True, "main"),
    Action("slices:1", "Next slice", "PgUp", "", "One slice on", argument=1),
    Action("slices:-1", "Previous slice", "PgDown", "", "One slice back", argument=-1),
    Action("slices:5", "Five slices on", "Shift+PgUp", "", "Five slices on", argument=5),
    Action("slices:-5", "Five slices back", "Shift+PgDown", "", "Five slices back", argument=-5),
    Action("annotations", "Annotations", "X", "crosshair", "Words and crosshair", True),
    Action("invert", "Invert grey scale", "I", "invert", "Black on white", True),
    Action("lock_windows", "One window for all panes", "Ctrl+L", "link",
           "The source shares the window of the other two", True),
    Action("auto_window", "Automatic window", "Ctrl+J", "contrast",
           "Window and level from the image"),
    Action("side_panel", "Side panel", "F9", "panel", "Sliders, map and numbers", True),
    Action("theme", "Light surroundings", "", "", "Images stay on black", True),
    Action("register", "Register the acquired scan to the source", "Ctrl+R", "",
           "Move the acquired scan rigidly onto the source; again takes it back", True),
    *(
        Action(f"{verb}:{role}", text.format(role=role), "", "", tip, argument=role)
        for role in ("source", "acquired")
        for verb, text, tip in (
            ("scan_facts", "About the {role} scan…", "TR, TE, TI, where each was read, the grid"),
            ("scan_times", "TR, TE, TI of the {role} scan…", "Type what the file does not state"),
        )
    ),
    Action("undo", "Undo parameters", "Ctrl+Z", "undo", "Back to the setting before"),
    Action("redo", "Redo parameters", "Ctrl+Shift+Z", "redo", "Forward again"),
    Action("snap", "Snap to acquired", "G", "",
           "Go to TR, TE, TI of the acquired reference"),
    Action("fat_suppression", "Suppress fat", "F", "",
           "Synthesise as if fat were suppressed", True),
    Action("step:down", "Fine step down", "[", "", "Lower the focused parameter",
           argument=(-1, False)),
    Action("step:up", "Fine step up", "]", "", "Raise the focused parameter",
           argument=(1, False)),
    Action("step:far-down", "Coarse step down", "{", "", "Lower it more", argument=(-1, True)),
    Action("step:far-up", "Coarse step up", "}", "", "Raise it more", argument=(1, True)),
    *(
        Action(f"preset:{name}", name, str(n), "", f"Preset {name}", argument=name)
        for n, name in enumerate(PRESETS, start=1)
    ),
    Action("expected_error", "Expected error", "U", "",
           "Show how far off the network expects to be, in place of the error", True),
    Action("gain_matching", "Match gain in the error map", "Ctrl+G", "",
           "Multiply the synthesised image by one least-squares factor first", True),
    *(
        Action(f"error_limit:{n}", f"Error scale ±{n} %", "", "", "Range of the colours", True, n)
        for n in (5, 10, 20)
    ),
    Action("open_checkpoint", "Open checkpoint…", "Ctrl+Shift+O", "", "Use another network"),
    Action("bundled_checkpoint", "Bundled checkpoint", "", "", "Return to the shipped network"),
    Action("train", "Train a network…", "Ctrl+T", "",
           "Set a training up, watch one that runs, compare what came of several"),
    Action("open_run", "Open training run…", "", "", "Watch a training or look at an earlier one"),
    Action("model_card", "Model card", "", "", "What the network was trained on"),
    Action("shortcuts", "Keyboard and mouse", "F1", "", "Every shortcut"),
    Action("about", "About CRL Explorer", "", "", "Version, device, licence"),
)  # fmt: skip
"""Every command by id."""

SEPARATOR = "-"

MENUS: Mapping[str, tuple[str, ...]] = {
    "File": ("open_files", "open_folder", "@recent", "welcome", "-", "export", "screenshot", "-",
             "close_scans", "quit"),
    "View": ("reset_view", "layout:four", "layout:main", "maximise", "error_alone",
             "side_panel", "-", "slices:1", "slices:-1", "slices:5", "slices:-5", "-",
             "auto_window", "lock_windows", "invert", "annotations", "-", "theme"),
    "Scans": ("register", "-", "scan_facts:source", "scan_times:source", "-",
              "scan_facts:acquired", "scan_times:acquired"),
    "Contrast": ("undo", "redo", "snap", "fat_suppression", "-",
                 *(f"preset:{name}" for name in PRESETS), "-",
                 "step:down", "step:up", "step:far-down", "step:far-up", "-", "expected_error",
                 "gain_matching",
                 "error_limit:5", "error_limit:10", "error_limit:20"),
    "Model": ("@sources", "-", "train", "open_run", "-", "open_checkpoint", "bundled_checkpoint",
              "-", "model_card"),
    "Help": ("welcome", "shortcuts", "-", "about"),
}  # fmt: skip
"""Which actions stand in which menu; ``@`` names a submenu that the window fills."""

TOOLS: tuple[tuple[str, ...], ...] = (
    ("undo", "redo"),
    ("layout:four", "layout:main", "maximise", "reset_view"),
    ("annotations", "auto_window", "invert", "lock_windows"),
    ("side_panel",),
)
"""Groups of the tool bar."""

MOUSE: tuple[tuple[str, str], ...] = (
    ("Left click or drag", "Crosshair in all panes"),
    ("Right drag", "Window and level: right is wider, up is brighter"),
    ("Middle drag, or Shift + left drag", "Move the image"),
    ("Wheel", "Slices"),
    ("Ctrl + wheel", "Zoom at the pointer"),
    ("Alt + left drag", "Contrast: across is TE, up is TR"),
    ("Double click", "That pane alone, and back"),
    ("Ctrl + double click", "Automatic window"),
)
"""What the mouse does on an image, for the sheet of shortcuts."""


def shortcut_sheet() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return (heading, [(keys, what)]) for every action that has a key, by menu, then the mouse."""
    sheet = []
    told: set[str] = set()
    for menu, ids in MENUS.items():
        rows = []
        for action in (ACTIONS[i] for i in ids if i in ACTIONS and i not in told):
            told.add(action.id)
            if action.shortcut:
                rows.append((action.shortcut, action.text.rstrip("…")))
        if rows:
            sheet.append((menu, rows))
    return [*sheet, ("Mouse on an image", list(MOUSE))]
