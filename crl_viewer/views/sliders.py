"""TR, TE and TI as sliders, and the line that leads back to what was acquired."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from crl_core.errors import ParameterError
from crl_core.physics.feasibility import Finding, Protocol, scan_time
from crl_core.sequence import PRESETS, SequenceParameters
from crl_core.trust import TrainingCoverage
from crl_viewer.formatting import clock, milliseconds, parse_ms
from crl_viewer.strings import deviation
from crl_viewer.views.fat_row import FatRow
from crl_viewer.views.scales import (
    NAMES,
    TYPED_RANGES,
    Scale,
    Span,
    default_scale,
    obstacle,
    playable,
)
from crl_viewer.views.slider_row import ParameterRow
from crl_viewer.views.slider_track import SAMPLES, Marks
from crl_viewer.views.snap_line import SnapLine

REST_MS = 250
"""Without a further step of wheel or key for so long, the value counts as at rest."""

REFUSAL_MS = 6000
"""For so long the reason of a refused number stays."""

_NULLED = (
    ("fat", "fat"),
    ("WM", "white matter"),
    ("GM", "cortical grey matter"),
    ("CSF", "cerebrospinal fluid"),
)


class ParameterSliders(QWidget):
    """TR, TE and TI with everything that helps to choose them."""

    changed = Signal(float, float, float)
    """TR, TE, TI in ms, on each movement by the user."""

    released = Signal()
    """The values rest."""

    snapRequested = Signal()

    fatToggled = Signal(bool)
    """Fat suppressed or not, chosen by the user."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._parameters = PRESETS["T2w"]
        self._acquired: list[tuple[str, SequenceParameters]] = []
        self._coverage = TrainingCoverage()
        self._reference: tuple[str, SequenceParameters] | None = None
        self._last = "te"
        self._spans: dict[str, Span] = {}
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self._come_to_rest)
        self.refusal_end = QTimer(self, singleShot=True, interval=REFUSAL_MS)
        """After this the reason of a refused number goes away."""
        self.refusal_end.timeout.connect(lambda: self.snap_line.set_reason(""))
        self.rows = {name: ParameterRow(name, self) for name in NAMES}
        self.fat = FatRow(self)
        self.snap_line = SnapLine(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for name, row in self.rows.items():
            column.addWidget(row)
            self._connect(name, row)
        column.addWidget(self.fat)
        column.addWidget(self.snap_line)
        self.fat.toggled.connect(self.fatToggled)
        self.snap_line.clicked.connect(self.snapRequested)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._refresh()
        self._describe()

    def _connect(self, name: str, row: ParameterRow) -> None:
        row.track.asked.connect(lambda value: self._ask(name, value))
        row.track.sliderReleased.connect(self._come_to_rest)
        row.track.settled.connect(self._rest.start)
        row.field.stepped.connect(lambda n, coarse: self.step(name, n, coarse))
        row.field.entered.connect(lambda text: self._type(name, text))

    # setters ----------------------------------------------------------------------------------

    def parameters(self) -> SequenceParameters:
        """Return the values as they are."""
        return self._parameters

    def set_parameters(self, parameters: SequenceParameters) -> None:
        """Move the handles without announcing it; the scales widen where they must."""
        if parameters == self._parameters:
            return
        self._parameters = parameters
        self.snap_line.set_reason("")
        self._refresh()
        if not any(row.track.isSliderDown() for row in self.rows.values()):
            self._describe()

    def set_fat_usable(self, usable: bool) -> None:
        """Say whether the network knows what suppressed fat is."""
        self.fat.set_usable(usable)

    def set_acquired(self, acquired: Sequence[tuple[str, SequenceParameters]]) -> None:
        """Mark the acquired settings; handles snap to them."""
        self._acquired = list(acquired)
        self._refresh()

    def set_coverage(self, coverage: TrainingCoverage | None) -> None:
        """Shade what the model was trained on."""
        self._coverage = coverage or TrainingCoverage()
        self._refresh()
        self._describe()

    def set_reference(self, label: str | None, parameters: SequenceParameters | None) -> None:
        """Name the acquired setting that can be snapped to."""
        known = label is not None and parameters is not None
        self._reference = (label, parameters) if known else None
        self._refresh_line()

    def set_acquired_shown(self, shown: bool) -> None:
        """Draw the handles grey, because an acquired image stands where a synthesised would."""
        for row in self.rows.values():
            row.track.set_grey(shown)
            row.update()

    def focused_name(self) -> str:
        """Return the parameter with the keyboard, or the one touched last."""
        return next((n for n, row in self.rows.items() if row.focused), self._last)

    def step(self, name: str | None, n: int, coarse: bool) -> None:
        """Move a parameter, or the focused one, by fine or coarse steps."""
        self.rows[name or self.focused_name()].track.step(n, coarse)
        self._rest.start()

    # what the user does -----------------------------------------------------------------------

    def _ask(self, name: str, value: float) -> None:
        """Take a value from the track, stopping at what can be played."""
        self._last = name
        taken = self._spans[name].clamp(value)
        found = None
        if abs(taken - value) > 0.2:
            found = obstacle(self._parameters.at(**{name: value}))
        if found is None:
            self.snap_line.set_reason("")
        else:
            self.snap_line.set_reason(_stopped(name, taken, found, self._parameters), found.text)
        self._take(name, taken)

    def _type(self, name: str, text: str) -> None:
        """Take a typed value, or refuse it in sight and keep the old one."""
        self._last = name
        try:
            value = parse_ms(text, off=name == "ti")
            low, high = TYPED_RANGES[name]
            if value and not low <= value <= high:
                raise ParameterError(
                    f"{name.upper()} {milliseconds(value)} ms is outside "
                    f"{milliseconds(low)} to {milliseconds(high)} ms"
                )
            found = obstacle(self._parameters.at(**{name: value}))
            if found is not None:
                raise ParameterError(found.text)
        except ParameterError as error:
            self.rows[name].refuse(str(error))
            self.snap_line.set_reason(error.problem, str(error))
            self.refusal_end.start()
            return
        self.snap_line.set_reason("")
        self._take(name, value)
        self._come_to_rest()

    def _take(self, name: str, value: float) -> None:
        if value == getattr(self._parameters, name):
            self.rows[name].show_value(value)
            return
        self._parameters = self._parameters.at(**{name: value})
        self.changed.emit(*self._parameters.triple)
        self._refresh()

    def _come_to_rest(self) -> None:
        self._rest.stop()
        self._describe()
        self.released.emit()

    # what is shown ----------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Bring tracks, fields and the line below in step with the values."""
        now = self._parameters
        self.fat.set_suppressed(now.fat_suppression is True)
        suggested = self._coverage.suggestion(now)
        scales = {name: self._scale(name) for name in NAMES}
        trust = self._trust(scales)
        for name, row in self.rows.items():
            self._spans[name] = playable(name, now, scales[name])
            row.track.set_scale(scales[name])
            row.track.set_marks(self._marks(name, trust[name]))
            row.track.set_amber(name == suggested)
            row.show_value(getattr(now, name))
            row.update()
        self._refresh_line()

    def _scale(self, name: str) -> Scale:
        known = [getattr(p, name) for p in (*self._coverage.points, self._parameters)]
        return default_scale(name, known + [getattr(p, name) for _, p in self._acquired])

    def _trust(self, scales: dict[str, Scale]) -> dict[str, NDArray[np.float64]]:
        """Cut the field along each track, and at the stop for "off"; one call for all three."""
        cuts = []
        for k, name in enumerate(NAMES):
            scale = scales[name]
            cut = np.tile(np.array(self._parameters.triple), (SAMPLES + 1, 1))
            cut[:SAMPLES, k] = np.geomspace(scale.low, scale.high, SAMPLES)
            cut[SAMPLES, k] = 0.0 if scale.off else scale.low
            cuts.append(cut)
        trust = self._coverage.trust_of(np.concatenate(cuts))
        return dict(zip(NAMES, trust.reshape(len(NAMES), -1), strict=True))

    def _marks(self, name: str, trust: NDArray[np.float64]) -> Marks:
        now = self._parameters
        scale = self.rows[name].track.scale
        trained = {(getattr(p, name), p.inverted == now.inverted) for p in self._coverage.points}
        acquired = {getattr(p, name) for _, p in self._acquired}
        return Marks(
            trained=sorted(trained),
            acquired=sorted(v for v in acquired if v > 0 or scale.off),
            trust=trust[:-1],
            trust_off=float(trust[-1]),
            span=self._spans[name],
            carets=self._carets() if name == "ti" else (),
        )

    def _carets(self) -> list[tuple[str, float]]:
        from crl_core.physics.signal import null_ti
        from crl_core.physics.tissues import tissue

        now = self._parameters
        field = now.field_strength or 3.0
        found = []
        for label, name in _NULLED:
            t1 = tissue(name, field).t1[1]
            found.append((label, float(null_ti(t1, now.tr, now.last_echo_time))))
        return sorted(found, key=lambda entry: entry[1])

    def _refresh_line(self) -> None:
        label, reference = self._reference or (None, None)
        apart = "" if reference is None else deviation(self._parameters, reference)
        protocol = Protocol()
        time = clock(scan_time(self._parameters, protocol))
        tip = (
            f"G moves the sliders to the acquired setting. Scan time assumes "
            f"{protocol.echo_train_length} echoes {protocol.echo_spacing:g} ms apart, "
            f"{protocol.phase_encodes} lines and {protocol.slices} slices."
        )
        self.snap_line.set_state(label, apart, time, tip)

    def _describe(self) -> None:
        """Tell screen readers, at rest only."""
        outside = not self._coverage.inside(self._parameters)
        for row in self.rows.values():
            row.track.describe("extrapolating" if outside else "")


def _stopped(name: str, value: float, why: Finding, p: SequenceParameters) -> str:
    """Say in one short line why a handle goes no further."""
    limit = f"{name.upper()} stops at {milliseconds(value)} ms"
    if why.parameter == "te":
        return f"{limit}: one echo takes as long."
    if why.parameter == "ti":
        return f"{limit}: the inversion takes as long."
    if name == "tr":
        what = "TI and TE take" if p.inverted else "TE takes"
        return f"{limit}: {what} as long."
    return f"{limit}: TR {milliseconds(p.tr)} leaves no more room."
