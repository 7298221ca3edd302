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
    Action("open_files", "Open…", "Ctrl+O", "open", "Open NIfTI files"),
    Action("export", "Export synthesised volume…", "Ctrl+S", "export",
           "Write the synthesised volume as NIfTI, marked SYNTHETIC"),
    Action("screenshot", "Save screenshot…", "Ctrl+Shift+S", "camera",
           "Save a picture of the window"),
    Action("welcome", "Welcome page", "Ctrl+Home", "", "Demos and recent files"),
    Action("close_scans", "Close all scans", "Ctrl+W", "", "Forget every loaded scan"),
    Action("clear_recent", "Clear recent files", "", "", "Forget which files were opened"),
    Action("quit", "Quit", "Ctrl+Q", "", "Close the window"),
    Action("reset_view", "Fit to head", "R", "fit", "Show the whole head"),
    Action("maximise", "Active pane alone", "Return", "", "Show one pane, or all four again"),
    Action("next_slice", "Next slice", "Up", "", "One slice on", argument=1),
    Action("previous_slice", "Previous slice", "Down", "", "One slice back", argument=-1),
    Action("slices_on", "Ten slices on", "PgUp", "", "Ten slices on", argument=10),
    Action("slices_back", "Ten slices back", "PgDown", "", "Ten slices back", argument=-10),
    Action("annotations", "Annotations", "X", "crosshair", "Show words and crosshair", True),
    Action("invert", "Invert grey scale", "I", "invert", "Black on white", True),
    Action("lock_windows", "One window for all panes", "Ctrl+L", "link",
           "The source shares the window of the other two", True),
    Action("auto_window", "Automatic window", "Ctrl+J", "",
           "Window and level from the image"),
    Action("error_pane", "Error pane", "E", "error", "Show the error map", True),
    Action("side_panel", "Side panel", "F9", "panel", "Sliders, map and numbers", True),
    Action("theme", "Light surroundings", "", "", "Images stay on black", True),
    Action("undo", "Undo parameters", "Ctrl+Z", "undo", "Back to the setting before"),
    Action("redo", "Redo parameters", "Ctrl+Shift+Z", "redo", "Forward again"),
    Action("snap", "Snap to acquired", "G", "snap",
           "Go to TR, TE, TI of the acquired reference"),
    Action("step_down", "Fine step down", "[", "", "Lower the focused parameter", argument=(-1, 0)),
    Action("step_up", "Fine step up", "]", "", "Raise the focused parameter", argument=(1, 0)),
    Action("stride_down", "Coarse step down", "{", "", "Lower it more", argument=(-1, 1)),
    Action("stride_up", "Coarse step up", "}", "", "Raise it more", argument=(1, 1)),
    *(
        Action(f"preset:{name}", name, str(n), "", f"Preset {name}", argument=name)
        for n, name in enumerate(PRESETS, start=1)
    ),
    Action("gain_matching", "Match gain in the error map", "Ctrl+G", "",
           "Multiply the synthesised image by one least-squares factor first", True),
    *(
        Action(f"error_limit:{n}", f"Error scale ±{n} %", "", "", "Range of the colours", True, n)
        for n in (5, 10, 20)
    ),
    Action("open_checkpoint", "Open checkpoint…", "Ctrl+Shift+O", "", "Use another network"),
    Action("bundled_checkpoint", "Bundled checkpoint", "", "", "Return to the shipped network"),
    Action("model_card", "Model card", "", "", "What the network was trained on"),
    Action("shortcuts", "Keyboard and mouse", "F1", "", "Every shortcut"),
    Action("about", "About CRL Explorer", "", "", "Version, device, licence"),
)  # fmt: skip
"""Every command by id."""

SEPARATOR = "-"

MENUS: Mapping[str, tuple[str, ...]] = {
    "File": ("open_files", "@recent", "welcome", "-", "export", "screenshot", "-",
             "close_scans", "quit"),
    "View": ("reset_view", "maximise", "error_pane", "side_panel", "-", "next_slice",
             "previous_slice", "slices_on", "slices_back", "-", "auto_window", "lock_windows",
             "invert", "annotations", "-", "theme"),
    "Contrast": ("undo", "redo", "snap", "-", *(f"preset:{name}" for name in PRESETS), "-",
                 "step_down", "step_up", "stride_down", "stride_up", "-", "gain_matching",
                 "error_limit:5", "error_limit:10", "error_limit:20"),
    "Model": ("@sources", "-", "open_checkpoint", "bundled_checkpoint", "-", "model_card"),
    "Help": ("welcome", "shortcuts", "-", "about"),
}  # fmt: skip
"""Which actions stand in which menu; ``@`` names a submenu that the window fills."""

TOOLS: tuple[tuple[str, ...], ...] = (
    ("open_files",),
    ("undo", "redo"),
    ("reset_view", "error_pane", "side_panel"),
    ("annotations", "invert", "lock_windows"),
    ("snap",),
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
