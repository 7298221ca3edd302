"""The state of the window: one frozen value, and the store that replaces and announces it.

Nothing here knows Qt. Every change goes through `Store.update`, which emits the old and the new
value together, so that a listener can see exactly what differs and several fields can change in
one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from psygnal import Signal

from crl_core.scan import BoolArray, FloatArray, IntensityScale, Scan
from crl_core.sequence import PRESETS, SequenceParameters
from crl_core.trust import TrainingCoverage
from crl_viewer.state.requests import Axis, RenderRequest, Voxel
from crl_viewer.state.results import Agreed, Compared, Curve, Frame, VolumeCompared

if TYPE_CHECKING:
    from crl_core.card import Card

ModelPhase = Literal["absent", "loading", "ready", "failed"]
ERROR_LIMITS = (5, 10, 20)
"""Half widths of the error scale that can be chosen, percent of the range."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which intensities become black and white, in model units.

    Raises
    ------
    ValueError
        When `high` does not lie above `low`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ValueError(f"a window from {self.low:g} to {self.high:g} is empty")

    @property
    def width(self) -> float:
        """Distance from black to white."""
        return self.high - self.low

    @property
    def level(self) -> float:
        """Middle grey."""
        return (self.high + self.low) / 2

    def dragged(self, horizontal: float, vertical: float) -> Window:
        """Return the window after a drag given in fractions of the pane's size.

        Right is wider, down (positive `vertical`) raises the level, so that up is brighter. The
        width follows exponentially, so that dragging there and back ends where it began.
        """
        width = float(np.clip(self.width * np.exp(2.0 * horizontal), 1e-4, 1e4))
        level = self.level + vertical * self.width
        return Window(level - width / 2, level + width / 2)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the window has to know of a checkpoint.

    Parameters
    ----------
    name
        What the card calls it.
    path
        Where it was loaded from.
    coverage
        The settings it was trained on; None where its card names none.
    intensity_rule
        ``"robust"`` or ``"minmax"``: how source intensities become model units.
    max_sources
        How many source images it takes at once.
    knows_fat
        Whether it was told which scans had their fat suppressed.
    knows_doubt
        Whether it tells how far off it expects to be.
    device
        Where it runs, in words.
    card
        The card itself, for exports and the About dialog.
    sha256
        Hash of the weights.
    """

    name: str
    path: Path
    coverage: TrainingCoverage | None = None
    intensity_rule: str = "robust"
    max_sources: int = 1
    knows_fat: bool = False
    knows_doubt: bool = False
    device: str = "CPU"
    card: Card | None = None
    sha256: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Aligned:
    """A reference brought onto the grid of a source.

    Parameters
    ----------
    scan
        The reference on the new grid.
    covered
        Which of its voxels the reference had measured.
    registered
        How it was moved beyond what the affines say, such as ``"rigid"``; empty where it was not.
    """

    scan: Scan
    covered: BoolArray
    registered: str = ""


@dataclass(frozen=True)
class ViewerState:
    """Everything that is loaded and chosen at one moment.

    Parameters
    ----------
    scans
        Every loaded acquired scan, in the order of loading.
    sources
        Indices into `scans` of what the network reads; the first one defines the grid.
    ticked
        Those chosen as sources; `sources` is these without the reference where others are left.
    reference
        Index of the acquired scan to compare with, or None.
    parameters
        Where the sliders stand.
    slice_index
        Slice along the slice axis of the first source.
    crosshair
        Voxel of the first source's grid, or None before anything is loaded.
    window
        Shared by the synthesised and the acquired pane, model units; None until the first image.
    source_window
        Of the source pane while `lock_windows` is off.
    reference_window
        Of the acquired pane while `auto_window` is on.
    lock_windows
        Whether the source pane uses the shared window too.
    auto_window
        Whether the shared window follows the image when the sliders come to rest.
    show_expected
        Whether the error pane shows what the network expects although there is an acquired scan.
    preset
        Name of the preset chosen last, even if the sliders have left it since.
    checkpoint
        The checkpoint asked for; None for the bundled default.
    refreshed
        Rises when newer weights lie there; what is shown stays until they are loaded.
    learning
        Whether that network is in training, so that a newer one will soon take its place.
    model, model_phase, model_message
        What is known of the loaded checkpoint, and one line when it is not ready.
    aligned
        References brought onto a source's grid, by (reference index, source index); one serves
        every source on that grid.
    registering
        The (reference index, source index) that is being registered, or None.
    banner
        One line about the last thing that went wrong, or empty.
    frame, compared, volume, curve, agreed
        The newest results; see `current_frame` for whether a frame still belongs to the choice.
    refusal
        Why the newest request could not be met, or empty.
    """

    scans: tuple[Scan, ...] = ()
    sources: tuple[int, ...] = ()
    ticked: tuple[int, ...] = ()
    reference: int | None = None
    parameters: SequenceParameters = PRESETS["T2w"]
    slice_index: int = 0
    crosshair: Voxel | None = None
    window: Window | None = None
    source_window: Window | None = None
    reference_window: Window | None = None
    lock_windows: bool = False
    auto_window: bool = True
    invert: bool = False
    annotations: bool = True
    gain_matching: bool = False
    show_expected: bool = False
    error_limit: int = 10
    preset: str | None = None
    checkpoint: Path | None = None
    refreshed: int = 0
    learning: bool = False
    model: ModelFacts | None = None
    model_phase: ModelPhase = "absent"
    model_message: str = ""
    aligned: Mapping[tuple[int, int], Aligned] = field(default_factory=lambda: MappingProxyType({}))
    registering: tuple[int, int] | None = None
    banner: str = ""
    curve_axis: Axis = "te"
    frame: Frame | None = None
    compared: Compared | None = None
    volume: VolumeCompared | None = None
    curve: Curve | None = None
    agreed: Agreed | None = None
    refusal: str = ""

    @property
    def source(self) -> Scan | None:
        """The first source, whose grid everything is shown on."""
        return self.scans[self.sources[0]] if self.sources else None

    @property
    def left_out(self) -> tuple[int, ...]:
        """Those chosen as sources that wait because the image is compared with them."""
        return tuple(i for i in self.ticked if i not in self.sources)

    @property
    def acquired(self) -> Scan | None:
        """The reference as it was loaded, on its own grid."""
        return None if self.reference is None else self.scans[self.reference]

    @property
    def timeless(self) -> int | None:
        """The first source whose TR, TE and TI are not known, or None where all are."""
        return next((i for i in self.sources if self.scans[i].parameters is None), None)

    @property
    def ready(self) -> bool:
        """Whether the chosen network is loaded."""
        return self.model is not None and self.model_phase == "ready"

    @property
    def exportable(self) -> bool:
        """Whether there is an image to write."""
        sources = bool(self.sources) and self.timeless is None
        return self.ready and sources and not self.refusal

    @property
    def source_limit(self) -> int | None:
        """How many sources the network takes; None until it is loaded, as no card says it."""
        return self.model.max_sources if self.model is not None and self.ready else None

    def told(self, parameters: SequenceParameters) -> SequenceParameters:
        """Return a setting without what the network was never told of.

        Its images are not to claim it. Until it is loaded nothing is taken away, as no card says
        what a network knows.
        """
        knows = self.model is None or not self.ready or self.model.knows_fat
        if knows or not parameters.fat_suppression:
            return parameters
        return replace(parameters, fat_suppression=None)

    def aligned_by(self, reference: int, source: int) -> tuple[int, int] | None:
        """Return the key of what brings a reference onto the grid of a source, or None.

        Where the reference lies does not depend on which source of one grid comes first.
        """
        if (reference, source) in self.aligned:
            return (reference, source)
        grid = self.scans[source]
        alike = (k for k in self.aligned if k[0] == reference and self.scans[k[1]].same_grid(grid))
        return next(alike, None)

    @property
    def alignment(self) -> Aligned | None:
        """How the reference was brought onto the source's grid, or None where it was not."""
        if self.reference is None or not self.sources:
            return None
        key = self.aligned_by(self.reference, self.sources[0])
        return None if key is None else self.aligned[key]

    @property
    def reference_on_grid(self) -> Scan | None:
        """The reference on the grid of the first source, or None while that does not exist."""
        source, acquired = self.source, self.acquired
        if source is None or acquired is None:
            return None
        if self.alignment is not None:
            return self.alignment.scan
        return acquired if acquired.same_grid(source) else None

    @property
    def registered(self) -> str:
        """How the reference was registered to the source, or an empty text."""
        return self.alignment.registered if self.alignment is not None else ""

    @property
    def source_scans(self) -> tuple[Scan, ...]:
        """What the network reads."""
        return tuple(self.scans[i] for i in self.sources)

    @property
    def current_frame(self) -> Frame | None:
        """The newest frame while it shows the chosen sources and checkpoint, else None.

        It may be of the previous setting or slice for the blink of an eye; its request tells.
        """
        frame = self.frame
        return frame if frame is not None and self._chose(frame.request) else None

    def _chose(self, request: RenderRequest) -> bool:
        """Return whether a result is one of the chosen sources and checkpoint."""
        return request.checkpoint == self.checkpoint and request.sources == self.source_scans

    @property
    def current_compared(self) -> Compared | None:
        """The newest numbers of a slice while they are about what is chosen, else None.

        They may be of the previous setting or slice until the next ones are made.
        """
        found = self.compared
        if found is None or not self._chose(found.request):
            return None
        return found if found.request.reference is self.reference_on_grid else None

    @property
    def current_volume(self) -> VolumeCompared | None:
        """The numbers of the volume while they are about the setting and weights in use."""
        found = self.volume
        if found is None or not self._chose(found.request):
            return None
        request = found.request
        same = request.refreshed == self.refreshed and request.parameters == self.parameters
        return found if same and request.reference is self.reference_on_grid else None

    @property
    def current_curve(self) -> Curve | None:
        """The signal curve while it runs through the crosshair of what is chosen, else None."""
        curve = self.curve
        if curve is None or not self._chose(curve.request):
            return None
        place = (curve.request.voxel, curve.request.curve_axis)
        return curve if place == (self.crosshair, self.curve_axis) else None

    @property
    def expected_shown(self) -> bool:
        """Whether the error pane shows what the network expects: on demand, or without a scan."""
        tells = self.model is not None and self.model.knows_doubt
        return tells and (self.show_expected or self.reference is None)

    @property
    def current_expected(self) -> FloatArray | None:
        """The expected error of `current_frame`, where it is shown and the network tells."""
        frame = self.current_frame
        return frame.expected if frame is not None and self.expected_shown else None

    @property
    def current_agreement(self) -> Agreed | None:
        """How the chosen sources fit together for the chosen checkpoint, once that is known."""
        found = self.agreed
        return found if found is not None and self._chose(found.request) else None

    @property
    def current_error(self) -> FloatArray | None:
        """The error map of `current_frame` while it was made against the chosen reference."""
        frame = self.current_frame
        if frame is None or frame.request.reference is not self.reference_on_grid:
            return None
        return frame.error

    @property
    def scale(self) -> IntensityScale | None:
        """How intensities of the first source map to model units under the loaded model."""
        source = self.source
        if source is None:
            return None
        if self._each_its_own:
            return source.range_scale
        return source.scale

    def reference_scale(self, scan: Scan) -> IntensityScale | None:
        """How an acquired scan maps to the units in which it is compared.

        The same as `scale`, except for networks that give each contrast its own range.
        """
        return scan.range_scale if self._each_its_own else self.scale

    @property
    def _each_its_own(self) -> bool:
        return self.model is not None and self.model.intensity_rule == "minmax"


class Store:
    """Holds the current `ViewerState` and announces each replacement.

    Attributes
    ----------
    changed
        Emitted with (old, new) after each update that changes something.
    """

    changed = Signal(ViewerState, ViewerState, reemission="queued")

    def __init__(self, state: ViewerState | None = None) -> None:
        self._state = state or ViewerState()

    @property
    def state(self) -> ViewerState:
        """The current value."""
        return self._state

    def update(self, **changes: Any) -> None:
        """Replace fields; listeners hear once, and only when something differs."""
        old = self._state
        new = replace(old, **changes)
        if new == old:
            return
        self._state = new
        self.changed.emit(old, new)


def differs(old: ViewerState, new: ViewerState, *names: str) -> bool:
    """Return whether any of the named fields differs."""
    return any(getattr(old, name) != getattr(new, name) for name in names)
