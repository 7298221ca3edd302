"""Keeps sliders, pad and presets in step with the chosen parameters."""

from __future__ import annotations

from dataclasses import replace

from crl_core.errors import ParameterError
from crl_core.sequence import SequenceParameters
from crl_viewer import strings
from crl_viewer.state.history import History
from crl_viewer.state.model import Store, ViewerState, differs
from crl_viewer.views.bases import ParameterView, PresetsView, SlidersView


class ParametersController:
    """Everything that moves TR, TE and TI ends here.

    Parameters
    ----------
    store
        The state to change.
    sliders, pad, presets
        Kept in step with it.
    """

    def __init__(
        self, store: Store, sliders: SlidersView, pad: ParameterView, presets: PresetsView
    ) -> None:
        self._store = store
        self._sliders = sliders
        self._pad = pad
        self._presets = presets
        self._chosen: SequenceParameters | None = None
        self._pushing = False
        self._moving = False
        self.history = History()
        store.changed.connect(self._on_changed)
        self._push(store.state)

    def moved(self, tr: float, te: float, ti: float) -> None:
        """Take a position of the sliders or the pad; called on every move."""
        if self._pushing:
            return
        try:
            parameters = self._store.state.parameters.at(tr, te, ti)
        except ParameterError as refusal:
            self._store.update(banner=str(refusal))
            return
        self._begin()
        self._store.update(parameters=parameters)

    def rested(self) -> None:
        """Remember the position the hand let go of."""
        self._moving = False
        self.history.record(self._store.state.parameters)

    def _begin(self) -> None:
        """Remember where a movement starts, so that the first one can be undone too."""
        if not self._moving:
            self._moving = True
            self.history.record(self._store.state.parameters)

    def preset(self, name: str, parameters: SequenceParameters) -> None:
        """Go to the times of a named setting; whether fat is suppressed stays as it is."""
        self._chosen = parameters
        self._begin()
        here = self._store.state.parameters.at(*parameters.triple)
        self._store.update(parameters=here, preset=name)
        self.rested()

    def snap(self) -> None:
        """Go to the setting of the acquired reference."""
        acquired = self._store.state.acquired
        if acquired is None or acquired.parameters is None:
            return
        self.go(acquired.parameters)

    def go(self, parameters: SequenceParameters) -> None:
        """Go to a setting and remember it."""
        self._begin()
        self._store.update(parameters=self._store.state.told(parameters.plain()))
        self.rested()

    def suppress_fat(self, on: bool) -> None:
        """Synthesise with fat suppressed, or as it is."""
        self.go(replace(self._store.state.parameters, fat_suppression=on or None))

    def undo(self) -> None:
        """Return to the position before."""
        self._restore(self.history.undo())

    def redo(self) -> None:
        """Return to the position that was undone."""
        self._restore(self.history.redo())

    def contrast_drag(self, horizontal: float, vertical: float) -> None:
        """Move TE by a horizontal and TR by a vertical drag, both in fractions of the pane."""
        now = self._store.state.parameters
        self._begin()
        self._store.update(
            parameters=now.at(
                te=_clipped(now.te * 10 ** (1.5 * horizontal), 5.0, 300.0),
                tr=_clipped(now.tr * 10 ** (1.5 * vertical), 200.0, 20_000.0),
            )
        )

    def _restore(self, parameters: SequenceParameters | None) -> None:
        if parameters is not None:
            self._store.update(parameters=self._store.state.told(parameters))

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if new.parameters != old.parameters or new.preset != old.preset:
            self._push_parameters(new)
        if differs(old, new, "scans"):
            self._push_acquired(new)
        if old.model != new.model:
            self._push_coverage(new)
        if differs(old, new, "model", "model_phase"):
            # Others may have moved the sliders meanwhile; `new` may be older than that.
            now = self._store.state
            self._store.update(parameters=now.told(now.parameters))
        if old.acquired is not new.acquired:
            self._push_reference(new)

    def _push(self, state: ViewerState) -> None:
        self._push_acquired(state)
        self._push_coverage(state)
        self._push_reference(state)
        self._push_parameters(state)

    def _push_parameters(self, state: ViewerState) -> None:
        self._pushing = True
        try:
            self._sliders.set_parameters(state.parameters)
            self._pad.set_parameters(state.parameters)
        finally:
            self._pushing = False
        away = self._chosen is not None and bool(
            strings.deviation(state.parameters, self._chosen)
        )
        self._presets.set_current(state.preset, away)

    def _push_acquired(self, state: ViewerState) -> None:
        acquired = [scan for scan in state.scans if not scan.synthetic]
        known = [(s.name, s.parameters) for s in acquired if s.parameters is not None]
        self._sliders.set_acquired(known)
        self._pad.set_acquired(known)

    def _push_coverage(self, state: ViewerState) -> None:
        coverage = state.model.coverage if state.model is not None else None
        self._sliders.set_fat_usable(state.model is not None and state.model.knows_fat)
        self._sliders.set_coverage(coverage)
        self._pad.set_coverage(coverage)

    def _push_reference(self, state: ViewerState) -> None:
        acquired = state.acquired
        if acquired is None or acquired.parameters is None:
            self._sliders.set_reference(None, None)
        else:
            self._sliders.set_reference(acquired.name, acquired.parameters)


def _clipped(value: float, low: float, high: float) -> float:
    """Round a dragged time to what the fields show and keep it on the track, ms."""
    value = min(max(value, low), high)
    return round(value, 1) if value < 100 else float(round(value))
