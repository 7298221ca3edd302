"""Which intensities are black and white: automatic until dragged, shared where it must be.

At the acquired setting the synthesised and the acquired pane share one window, so that a
difference in brightness is a difference in signal; so they do once one is set by hand. At another
setting, or where the scanner chose very different gains for two series, their brightness cannot be
compared, and each fills its own. Levels never change by
themselves while a slider moves.
"""

from __future__ import annotations

from typing import Literal

from crl_core.scan import IntensityScale, Scan
from crl_viewer import strings
from crl_viewer.state.model import Store, ViewerState, Window
from crl_viewer.state.resolve import resolve

Role = Literal["source", "synthesised", "acquired", "error"]
ROLES: tuple[Role, ...] = ("source", "synthesised", "acquired", "error")

HEADROOM = 1.02
"""An automatic window ends this much above the brightest tissue."""

STILL = 0.12
"""An automatic window within this share of the present one stays as it is."""


FAINT, GLARING = 0.5, 1.3
"""A synthesised image this many times as bright as the acquired one gets a window of its own."""


class WindowsController:
    """Sets windows from the data when something new is shown, and from the mouse.

    Parameters
    ----------
    store
        The state to watch and change.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._due = False
        store.changed.connect(self._on_changed)

    def dragged(self, role: Role, horizontal: float, vertical: float) -> None:
        """Take a window drag in fractions of the pane; right is wider, down raises the level."""
        state = self._store.state
        name = _window_name(state, role)
        window: Window | None = getattr(state, name)
        if role == "acquired":
            window = resolve(state).acquired_levels
        if window is not None:
            self._store.update(**{name: window.dragged(horizontal, vertical), "auto_window": False})

    def chosen(self, role: Role, low: float, high: float) -> None:
        """Take a window picked from a region."""
        if high > low:
            name = _window_name(self._store.state, role)
            self._store.update(**{name: Window(low, high), "auto_window": False})

    def reset(self, role: Role) -> None:
        """Return to the automatic window."""
        state = self._store.state
        if _window_name(state, role) == "source_window":
            self._store.update(source_window=scan_window(state.source, state.scale))
        else:
            self._store.update(window=_automatic(state) or state.window, auto_window=True)

    def rested(self) -> None:
        """Let the shared window follow the next exact frame, unless it was set by hand."""
        self._due = self._store.state.auto_window
        self._follow(self._store.state)

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        # The first source sets the units, so that another one rescales everything.
        rescaled = old.model is not new.model or old.source is not new.source
        if new.source is not None and rescaled:
            self._store.update(source_window=scan_window(new.source, new.scale))
        compared = new.reference_on_grid
        if compared is not None and (rescaled or compared is not old.reference_on_grid):
            window = scan_window(compared, new.reference_scale(compared))
            if new.auto_window:
                self._store.update(reference_window=window, window=window)
                self._due = True
            else:
                self._store.update(reference_window=window)
        if old.source is not new.source:
            self._due = self._due or compared is None
        self._follow(new)

    def _follow(self, state: ViewerState) -> None:
        """Set the shared window from a frame that shows the setting the hand let go of."""
        frame = state.current_frame
        if not self._due or frame is None or frame.request.parameters != state.parameters:
            return
        self._due = False
        window, now = _automatic(state), self._store.state.window
        if window is None:
            return
        moved = now is None or now.low != window.low or abs(window.width / now.width - 1) > STILL
        if moved or window is state.reference_window:
            self._store.update(window=window)


def scan_window(scan: Scan | None, scale: IntensityScale | None) -> Window | None:
    """Return the window from no signal to the 99.5th percentile of an acquired scan."""
    if scan is None or scale is None:
        return None
    top = (scan.scale.scale - scale.offset) / scale.scale
    return Window(0.0, max(float(top), 1e-3) * HEADROOM)


def frame_window(state: ViewerState) -> Window | None:
    """Return the same window of the synthesised slice, or None while there is none."""
    frame = state.current_frame
    return None if frame is None else Window(0.0, max(frame.foreground_top, 1e-3) * HEADROOM)


def _automatic(state: ViewerState) -> Window | None:
    """Return the window of the acquired scan at its own setting, else that of the frame.

    Scanners choose a gain for each series; where the two images differ by too much, the window
    of one would show the other white or black.
    """
    acquired = state.acquired
    known = None if acquired is None else acquired.parameters
    shared, own = state.reference_window, frame_window(state)
    if known is None or strings.deviation(state.parameters, known) or shared is None:
        return own
    if own is None or FAINT < own.width / shared.width < GLARING:
        return shared
    return own


def _window_name(state: ViewerState, role: Role) -> str:
    return "source_window" if role == "source" and not state.lock_windows else "window"
