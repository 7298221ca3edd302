"""Shows the state: pictures, words, windows, crosshair, numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crl_core.geometry import SlicePlane, position_text
from crl_core.scan import FloatArray, IntensityScale, Scan
from crl_viewer import strings
from crl_viewer.controllers.readout import (
    acquired_points,
    numbers_of,
    probe_texts,
    value_at,
    voxel_in_slice,
)
from crl_viewer.controllers.windows import ROLES
from crl_viewer.state.model import Store, ViewerState, differs
from crl_viewer.state.resolve import PaneWords, ViewModel, resolve
from crl_viewer.views.bases import ErrorView, PaneView, PlotView, ShellView, StatusView, TableView


@dataclass(frozen=True)
class Panes:
    """The four panes."""

    source: PaneView
    synthesised: PaneView
    acquired: PaneView
    error: ErrorView


class DisplayController:
    """Brings every view up to date after each change, touching only what differs.

    Parameters
    ----------
    store
        The state to show.
    panes, table, plot, status, shell
        Where to show it.
    """

    def __init__(
        self,
        store: Store,
        panes: Panes,
        table: TableView,
        plot: PlotView,
        status: StatusView,
        shell: ShellView,
    ) -> None:
        self._store = store
        self._panes = panes
        self._table = table
        self._plot = plot
        self._status = status
        self._shell = shell
        self._plane: SlicePlane | None = None
        self._words: ViewModel | None = None
        self._said: dict[str, tuple[tuple[float, float] | None, str]] = {}
        self._numbers: tuple[object, ...] | None = None
        self._drawn: tuple[object, ...] | None = None
        self._drawn_at: tuple[object, ...] | None = None
        store.changed.connect(self._on_changed)
        self._on_changed(ViewerState(), store.state)
        self._show_words(store.state)

    # what the views report ---------------------------------------------------------------------

    def crosshair_moved(self, col: float, row: float) -> None:
        """Put the crosshair on the voxel at a display position."""
        state, plane = self._store.state, self._plane
        if plane is None:
            return
        voxel = plane.to_voxel(round(col), round(row), state.slice_index)
        i, j, k = (int(np.clip(v, 0, n - 1)) for v, n in zip(voxel, plane.shape, strict=True))
        self._store.update(crosshair=(i, j, k))

    def scrolled(self, steps: int) -> None:
        """Go `steps` slices on."""
        self.go_to_slice(self._store.state.slice_index + steps)

    def go_to_slice(self, index: int) -> None:
        """Go to a slice; stops at the ends."""
        state = self._store.state
        if state.source is None:
            return
        index = int(np.clip(index, 0, state.source.n_slices - 1))
        crosshair = state.crosshair
        if crosshair is not None:
            crosshair = voxel_in_slice(crosshair, index, state.source.slice_axis)
        self._store.update(slice_index=index, crosshair=crosshair)

    def fit(self) -> None:
        """Show the whole head again."""
        source = self._store.state.source
        if source is not None and self._plane is not None:
            self._shell.fit(_foreground(source, self._plane))

    # what the state demands --------------------------------------------------------------------

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if old.source is not new.source:
            self._new_source(old, new)
        rescaled = old.model is not new.model
        if rescaled or old.source is not new.source or differs(old, new, "slice_index"):
            self._show_slice(self._panes.source, new.source, new.scale, new)
        if (
            rescaled
            or old.source is not new.source
            or old.reference_on_grid is not new.reference_on_grid
            or differs(old, new, "slice_index")
        ):
            acquired = new.reference_on_grid
            scale = None if acquired is None else new.reference_scale(acquired)
            self._show_slice(self._panes.acquired, acquired, scale, new)
        self._show_frame(old, new)
        self._show_words(new)
        self._show_levels(old, new)
        self._show_readout(old, new)
        self._show_numbers(new)
        self._show_curve(new)

    def _new_source(self, old: ViewerState, new: ViewerState) -> None:
        source = new.source
        self._shell.show_workspace(source is not None)
        if source is None:
            self._plane = None
            return
        self._table.set_reasons("", strings.NO_VOLUME if source.n_slices < 2 else "")
        if old.source is None or not source.same_grid(old.source) or self._plane is None:
            self._plane = SlicePlane(
                source.affine, source.shape, source.slice_axis, source.orientation_stated
            )
            for pane in self._every_pane():
                pane.set_plane(self._plane)
                pane.set_scale_bar(source.orientation_stated)
            self._shell.fit(_foreground(source, self._plane))

    def _every_pane(self) -> tuple[PaneView, ...]:
        panes = self._panes
        return (panes.source, panes.synthesised, panes.acquired, panes.error)

    def _show_slice(
        self, pane: PaneView, scan: Scan | None, scale: IntensityScale | None, state: ViewerState
    ) -> None:
        if scan is None or scale is None or self._plane is None:
            pane.set_image(None, "")
            return
        index, axis = state.slice_index, self._plane.axis
        if index < scan.shape[axis]:
            pane.set_image(self._plane.to_display(scale.to_model(scan.slice(index, axis))))

    def _show_frame(self, old: ViewerState, new: ViewerState) -> None:
        frame = new.current_frame
        if frame is not old.current_frame or new.refusal != old.refusal:
            if frame is not None and self._plane is not None and not new.refusal:
                self._panes.synthesised.set_image(self._plane.to_display(frame.synthesised))
            else:
                self._panes.synthesised.set_image(None, resolve(new).synthesised.message)
        error = None if new.refusal else _error_shown(new)
        if error is not (None if old.refusal else _error_shown(old)):
            self._panes.error.set_signed(not new.expected_shown)
            self._panes.error.set_error(
                self._plane.to_display(error) if error is not None and self._plane else None
            )
        if differs(old, new, "error_limit"):
            self._panes.error.set_limit(new.error_limit)

    def _show_words(self, state: ViewerState) -> None:
        words, before = resolve(state), self._words
        self._words = words
        for role in ROLES:
            mine: PaneWords = getattr(words, role)
            theirs = None if before is None else getattr(before, role)
            if mine == theirs:
                continue
            pane: PaneView = getattr(self._panes, role)
            pane.set_words(
                title=mine.title,
                lines=list(mine.lines),
                badges=list(mine.badges),
                corner=mine.corner,
                note=mine.note,
                tip=mine.tip,
            )
            if self._is_empty(role, state):
                pane.set_image(None, mine.message)
        if before is None or words.model_text != before.model_text:
            self._shell.set_model(words.model_text)
        if before is None or words.coverage_sentence != before.coverage_sentence:
            self._shell.set_coverage_sentence(words.coverage_sentence, words.extrapolating)
        if before is None or words.table_title != before.table_title:
            self._table.set_title(words.table_title)
        if before is None or words.table_note != before.table_note:
            self._table.set_note(words.table_note)

    def _is_empty(self, role: str, state: ViewerState) -> bool:
        return {
            "source": state.source is None,
            "synthesised": state.current_frame is None or bool(state.refusal),
            "acquired": state.reference_on_grid is None,
            "error": state.expected_shown and state.current_expected is None,
        }[role]

    def _show_levels(self, old: ViewerState, new: ViewerState) -> None:
        names = ("window", "source_window", "reference_window", "auto_window", "lock_windows")
        if not differs(old, new, "invert", *names):
            return
        words = resolve(new)
        for pane, window in (
            (self._panes.source, words.source_levels),
            (self._panes.synthesised, words.shared_levels),
            (self._panes.acquired, words.acquired_levels),
        ):
            if window is not None:
                low, high = window.low, window.high
                pane.set_levels(*((high, low) if new.invert else (low, high)))

    def _show_readout(self, old: ViewerState, new: ViewerState) -> None:
        if differs(old, new, "annotations"):
            for pane in self._every_pane():
                pane.set_labels_visible(new.annotations)
        source, plane = new.source, self._plane
        if source is None or plane is None:
            self._status.set_probe([])
            return
        self._shell.set_slices(new.slice_index, source.n_slices)
        position = None
        if new.crosshair is not None:
            col, row, _ = plane.from_voxel(*new.crosshair)
            position = (col, row)
        for role in ROLES:
            shown: PaneView = getattr(self._panes, role)
            text = value_at(new, role)
            said = (position, f"value {text}" if text else "")
            # A pane that repaints for nothing costs as much as one with a new picture.
            if self._said.get(role) != said:
                self._said[role] = said
                shown.set_crosshair(*said)
        where = ""
        if position is not None and source.orientation_stated:
            where = position_text(plane.to_world(*position, new.slice_index))
        self._status.set_probe(probe_texts(new, where))

    def _show_numbers(self, state: ViewerState) -> None:
        numbers = numbers_of(state)
        if numbers != self._numbers:
            self._numbers = numbers
            compared, volume, stale = numbers
            self._table.set_comparison(compared, volume, stale)

    def _show_curve(self, state: ViewerState) -> None:
        curve = state.current_curve
        marker = float(getattr(state.parameters, state.curve_axis))
        if curve is None:
            # Without a crosshair there is no cursor either; the plot then says how to get one.
            self._clear_curve(None if state.crosshair is None else marker)
            return
        points = acquired_points(state)
        outside = self._words is not None and self._words.extrapolating
        drawn = (curve, marker, tuple(points), outside)
        if drawn != self._drawn:
            self._drawn = drawn
            self._plot.set_curve(curve.x, curve.y, marker, points, outside)
            place = (curve.request.voxel, curve.request.sources, curve.request.curve_axis)
            if place != self._drawn_at:
                self._drawn_at = place
                self._plot.rest()

    def _clear_curve(self, marker: float | None) -> None:
        if self._drawn != (marker,):
            self._drawn, self._drawn_at = (marker,), None
            self._plot.set_curve(None, None, marker)


def _error_shown(state: ViewerState) -> FloatArray | None:
    return state.current_expected if state.expected_shown else state.current_error


def _foreground(source: Scan, plane: SlicePlane) -> tuple[float, float, float, float]:
    """Return the box around the head over all slices, mm of the display."""
    return plane.foreground_mm(plane.to_display(np.asarray(source.mask.any(axis=plane.axis))))

