"""What the controllers ask of the views: setters only, no toolkit.

Controllers are written against these, so that tests can put mocks in place of widgets. What a
view has to say comes back through its signals, which `crl_viewer.app` wires to the controllers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crl_core.evaluation.metrics import Comparison
from crl_core.geometry import SlicePlane
from crl_core.sequence import SequenceParameters
from crl_core.trust import TrainingCoverage
from crl_viewer.state.offers import Offer

Image = NDArray[np.float32]


class PaneView(Protocol):
    """One image and the words around it."""

    def set_plane(self, plane: SlicePlane) -> None:
        """Choose the geometry of what follows."""

    def set_image(self, image: Image | None, message: str = "") -> None:
        """Show a picture in display orientation, or a message in its place."""

    def set_levels(self, low: float, high: float) -> None:
        """Choose which intensities are black and white."""

    def set_words(
        self,
        *,
        title: str,
        lines: Sequence[str],
        badges: Sequence[tuple[str, str]],
        corner: str,
        note: tuple[str, str] | None,
        tip: str,
    ) -> None:
        """Write the words in the margin; `tip` explains them."""

    def set_crosshair(self, position: tuple[float, float] | None, value_text: str = "") -> None:
        """Place the crosshair at (col, row)."""

    def set_menu(
        self,
        entries: Sequence[str],
        current: int | None = None,
        ticked: Collection[int] | None = None,
    ) -> None:
        """Offer a choice beside the title."""

    def set_labels_visible(self, visible: bool) -> None:
        """Show or hide all words but sides and badges."""

    def set_scale_bar(self, visible: bool) -> None:
        """Draw a scale bar, or none where the size of a pixel is a guess."""


class ErrorView(PaneView, Protocol):
    """The pane of the signed error, and of the error to be expected."""

    def set_signed(self, signed: bool) -> None:
        """Show differences with their sign, or sizes that have none."""

    def set_error(self, percent: Image | None) -> None:
        """Show an error map in display orientation, NaN where not judged."""

    def set_limit(self, percent: int) -> None:
        """Choose the half width of the scale."""


class ParameterView(Protocol):
    """Sliders or pad."""

    def set_parameters(self, parameters: SequenceParameters) -> None:
        """Move the handles without announcing it."""

    def set_acquired(self, acquired: Sequence[tuple[str, SequenceParameters]]) -> None:
        """Mark the acquired settings."""

    def set_coverage(self, coverage: TrainingCoverage | None) -> None:
        """Shade what the model was trained on."""


class SlidersView(ParameterView, Protocol):
    """The three sliders and the lines below them."""

    def set_fat_usable(self, usable: bool) -> None:
        """Say whether the network knows what suppressed fat is."""

    def set_reference(self, label: str | None, parameters: SequenceParameters | None) -> None:
        """Name the acquired setting that can be snapped to."""


class PresetsView(Protocol):
    """The preset chips."""

    def set_current(self, name: str | None, moved_away: bool) -> None:
        """Mark a chip as chosen, or as left."""


class TableView(Protocol):
    """The table of metrics."""

    def set_title(self, title: str) -> None:
        """Say what is compared with."""

    def set_comparison(
        self, in_slice: Comparison | None, in_volume: Comparison | None, stale: bool = False
    ) -> None:
        """Show the numbers; dimmed where older than the image."""

    def set_reasons(self, slice_reason: str = "", volume_reason: str = "") -> None:
        """Say why a scope has no numbers; an empty text keeps the usual reason."""

    def set_note(self, note: str) -> None:
        """State mask, range and gain."""


class PlotView(Protocol):
    """The signal curve."""

    def set_curve(
        self,
        x: NDArray[np.float64] | None,
        y: NDArray[np.float64] | None,
        marker_x: float | None,
        acquired: Sequence[tuple[float, float]] = (),
        extrapolating: bool = False,
    ) -> None:
        """Draw the network's signal and the acquired points; no signal clears the plot."""

    def rest(self) -> None:
        """Let the axis shrink to what is shown."""


class StatusView(Protocol):
    """The line at the bottom."""

    def set_engine(self, text: str, ready: bool) -> None:
        """Name the device, or what is going on."""

    def set_timing(self, milliseconds: float | None, *, first: bool = False) -> None:
        """Time from the last event to the painted picture."""

    def set_probe(self, texts: Sequence[str]) -> None:
        """Position and values under the crosshair."""


class ActivityView(Protocol):
    """The line of something that goes on in the background."""

    def set_progress(self, text: str, share: float | None) -> None:
        """Say what is done and how much of it, 0 to 1; None where that is not known."""

    def end(self) -> None:
        """Take the line away."""


class ChooserView(Protocol):
    """The dialog that lists scans to choose from."""

    def set_offers(self, offers: Sequence[Offer], ticks: Sequence[int]) -> None:
        """Show a list with some of it ticked."""

    def set_message(self, text: str) -> None:
        """Say something in the place of the list."""

    def set_picture(self, number: int, picture: Image | None) -> None:
        """Give an offer its picture, 0 to 1; None says that there is none."""


class ShellView(Protocol):
    """The window around everything."""

    @property
    def asks(self) -> bool:
        """Whether there is anybody to put questions to."""

    def show_workspace(self, shown: bool) -> None:
        """Show the panes, or the welcome page."""

    def set_banner(self, text: str) -> None:
        """Show one line about what went wrong; empty hides it."""

    def set_notice(self, text: str) -> None:
        """Tell something in passing on the status line."""

    def set_model(self, text: str) -> None:
        """Name the model in the top bar."""

    def set_coverage_sentence(self, text: str, warn: bool) -> None:
        """Say where the setting lies among the trained ones."""

    def fit(self, foreground: tuple[float, float, float, float]) -> None:
        """Show the box (x, y, width, height in mm of the display) with a margin."""

    def set_slices(self, index: int, count: int) -> None:
        """Tell the slice position."""

    def ask_about(
        self,
        name: str,
        *,
        parameters: bool,
        volumes: int,
        known: Mapping[str, float],
        volume: int,
        answer: Callable[[SequenceParameters | None, int | None], None],
        closed: Callable[[], None],
    ) -> None:
        """Ask for TR, TE, TI or a volume without blocking.

        `known` holds the times that are stated, ms, and `volume` the one that shows; `closed` is
        called in any case, after `answer` if there is one.
        """

    def activity(self, text: str, cancel: Callable[[], None]) -> ActivityView:
        """Show a line about something that goes on, with a way to stop it."""

    def choose_scans(
        self,
        title: str,
        sentence: str,
        people: Sequence[tuple[str, int]],
        chosen: Callable[[Sequence[int]], None],
        person: Callable[[int], None],
        closed: Callable[[], None],
    ) -> ChooserView:
        """Open a chooser that blocks nothing.

        `people` are (name, number of images); `chosen` gets the numbers of the offers to open,
        `person` that of another one of the people, `closed` is called when the chooser goes.
        """

    def on_painted(self, call: Callable[[], None]) -> None:
        """Call once the synthesised pane has been painted."""
