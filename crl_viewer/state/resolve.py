"""Turn what is chosen into what is to be done and shown; pure functions, no Qt.

`render_request` says what the worker has to compute, `resolve` what every pane has to say.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from crl_core.physics.determinacy import undetermined
from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters
from crl_viewer import strings
from crl_viewer.state.model import Aligned, ModelFacts, ViewerState, Window
from crl_viewer.state.requests import RenderRequest

Tone = Literal["accent", "warn", "text"]

GAIN_APART = 1.5
"""Images whose best gain lies further from 1 differ in scanner gain more than in contrast."""


@dataclass(frozen=True, slots=True)
class PaneWords:
    """What stands around one image; `tip` says where what stands there was read."""

    title: str
    lines: tuple[str, ...] = ()
    badges: tuple[tuple[str, Tone], ...] = ()
    corner: str = ""
    note: tuple[str, Tone] | None = None
    message: str = ""
    tip: str = ""


@dataclass(frozen=True, slots=True)
class ViewModel:
    """Everything a window shows that follows from the state alone."""

    source: PaneWords
    synthesised: PaneWords
    acquired: PaneWords
    error: PaneWords
    source_levels: Window | None
    shared_levels: Window | None
    acquired_levels: Window | None
    slice_text: str
    n_slices: int
    deviation: str
    table_title: str
    table_note: str
    coverage_sentence: str
    extrapolating: bool
    model_text: str


def render_request(
    state: ViewerState, generation: int, *, issued: float | None = None
) -> RenderRequest:
    """Return the work that brings the window up to date with `state`."""
    return RenderRequest(
        generation=generation,
        sources=state.source_scans if state.timeless is None else (),
        reference=state.reference_on_grid,
        parameters=state.parameters,
        index=state.slice_index,
        checkpoint=state.checkpoint,
        refreshed=state.refreshed,
        learning=state.learning,
        gain=state.gain_matching,
        expected=state.expected_shown,
        voxel=state.crosshair,
        curve_axis=state.curve_axis,
        issued=time.perf_counter() if issued is None else issued,
        covered=state.alignment.covered if state.alignment is not None else None,
    )


def resolve(state: ViewerState) -> ViewModel:
    """Return the words and levels that follow from `state`.

    What stands around a picture tells the setting and slice of that very picture, which during a
    drag may be one step behind the sliders.
    """
    source, frame = state.source, state.current_frame
    shown = frame.request.parameters if frame is not None else state.parameters
    index = frame.request.index if frame is not None else state.slice_index
    corner = slice_text(source, state.slice_index)
    extrapolating = is_extrapolating(state.model, shown)
    unlike = _deviation(state, shown)
    return ViewModel(
        source=_source_words(state, corner),
        synthesised=_synthesised_words(state, shown, slice_text(source, index), extrapolating),
        acquired=_acquired_words(state, corner),
        error=_error_words(state, extrapolating, unlike),
        source_levels=_source_levels(state),
        shared_levels=state.window,
        acquired_levels=_acquired_levels(state),
        slice_text=corner,
        n_slices=source.n_slices if source else 0,
        deviation=unlike,
        table_title=_table_title(state),
        table_note=_table_note(state),
        coverage_sentence=_coverage_sentence(state),
        extrapolating=extrapolating,
        model_text=_model_text(state),
    )


def _source_levels(state: ViewerState) -> Window | None:
    """Return the source's own window until there is one to share."""
    shared = state.window if state.lock_windows else None
    return state.source_window if shared is None else shared


def _acquired_levels(state: ViewerState) -> Window | None:
    """Return the acquired scan's own window until one window is set by hand or locked."""
    if state.auto_window and not state.lock_windows and state.reference_window is not None:
        return state.reference_window
    return state.window


def is_extrapolating(model: ModelFacts | None, parameters: SequenceParameters) -> bool:
    """Return whether the model is asked for a setting outside its training coverage."""
    if model is None or model.coverage is None:
        return False
    return not model.coverage.inside(parameters)


def slice_text(scan: Scan | None, index: int) -> str:
    """Write where in the volume the slice lies: ``z 12 / 25``, or nothing for a single slice."""
    if scan is None or scan.n_slices < 2:
        return ""
    return f"{'xyz'[scan.slice_axis]} {index + 1} / {scan.n_slices}"


def _source_words(state: ViewerState, corner: str) -> PaneWords:
    source = state.source
    if source is None:
        return PaneWords("Source", message=strings.NO_SOURCE)
    more = len(state.sources) - 1
    lines = [source.name, strings.acquired_line(source)]
    if more:
        lines.append(f"and {more} more source{'s' if more > 1 else ''}")
    lines += strings.remarks(source.note)
    doubts = []
    if source.parameters is not None and source.nominal:
        doubts.append(_doubt(source))
    if state.timeless is not None:
        doubts.append(strings.needs_times(state.scans[state.timeless].name))
    if _source_outside(state):
        doubts.append(strings.SOURCE_OUTSIDE)
    agreed = state.current_agreement
    if agreed is not None and agreed.contradicting is not None:
        k = agreed.contradicting
        doubts.append(strings.contradicts(state.source_scans[k].name, agreed.psnr[k]))
    text = ". ".join([*(d.rstrip(".") for d in doubts[:-1]), *doubts[-1:]])
    note: tuple[str, Tone] | None = (text, "warn") if doubts else None
    tip = strings.scan_tip(source)
    if agreed is not None:
        given_back = zip(state.source_scans, agreed.psnr, strict=True)
        tip = "\n".join([tip, *(strings.given_back(s.name, psnr) for s, psnr in given_back)])
    badges = _acquired_badges(source)
    return PaneWords("Source", tuple(lines), badges=badges, corner=corner, note=note, tip=tip)


def _acquired_badges(scan: Scan) -> tuple[tuple[str, Tone], ...]:
    """Mark an image that this program made where acquired ones stand."""
    return ((strings.SYNTHETIC, "accent"),) if scan.synthetic else ()


def _source_outside(state: ViewerState) -> bool:
    """Return whether a source was acquired with settings the model was never trained on.

    Where the training is unknown, the badge on the synthesised pane says so already.
    """
    coverage = state.model.coverage if state.model is not None else None
    if coverage is None or not coverage.known:
        return False
    known = (scan.parameters for scan in state.source_scans)
    return any(p is not None and not coverage.inside(p) for p in known)


def _synthesised_words(
    state: ViewerState, shown: SequenceParameters, corner: str, extrapolating: bool
) -> PaneWords:
    badges: list[tuple[str, Tone]] = [(strings.SYNTHETIC, "accent")]
    if extrapolating:
        badges.append(("EXTRAPOLATING", "warn"))
    return PaneWords(
        "Synthesised",
        (strings.parameters_line(shown),),
        badges=tuple(badges),
        corner=corner,
        note=_undetermined(state, shown),
        message=_synthesised_message(state),
    )


def _undetermined(state: ViewerState, shown: SequenceParameters) -> tuple[str, Tone] | None:
    """Warn where the sources cannot tell tissues apart that the setting shown would."""
    known = [s.parameters for s in state.source_scans if s.parameters is not None]
    playable = [p for p in (*known, shown) if p.tr >= p.ti + p.te]
    if not known or len(playable) <= len(known):
        return None
    doubt = undetermined(known, shown, known[0].field_strength or 3.0)
    return None if doubt is None else (doubt.brief, "warn")


def _synthesised_message(state: ViewerState) -> str:
    """Return what stands in the pane while there is no image."""
    if state.model_phase == "failed":
        return state.model_message
    if state.source is None:
        return ""
    if state.refusal:
        return state.refusal
    if state.timeless is not None:
        return strings.TYPE_TIMES.format(scan=state.scans[state.timeless].name)
    return strings.RENDERING if state.model_phase == "ready" else strings.LOADING_MODEL


def _acquired_words(state: ViewerState, corner: str) -> PaneWords:
    acquired = state.acquired
    if acquired is None:
        return PaneWords("Acquired", message=strings.NO_REFERENCE if state.source else "")
    note: tuple[str, Tone] | None = None
    if state.reference in state.sources:
        note = (strings.REFERENCE_IS_SOURCE, "text")
    elif state.alignment is not None:
        note = (_alignment_note(state.alignment, acquired), "text")
    message = "" if state.reference_on_grid is not None else "Resampling to the source's grid…"
    lines = (acquired.name, strings.acquired_line(acquired), *strings.remarks(acquired.note))
    return PaneWords(
        "Acquired",
        lines,
        badges=_acquired_badges(acquired),
        corner=corner,
        note=note,
        message=message,
        tip=strings.scan_tip(acquired),
    )


def _alignment_note(aligned: Aligned, acquired: Scan) -> str:
    """Return how the scan came onto the grid of the source."""
    added = aligned.scan.note.removeprefix(acquired.note).strip()
    if not aligned.registered:
        return added
    return strings.REGISTERED.format(kind=aligned.registered)


def _error_words(state: ViewerState, extrapolating: bool, unlike: str) -> PaneWords:
    badges: list[tuple[str, Tone]] = [(strings.SYNTHETIC, "accent")]
    if extrapolating:
        badges.append(("EXTRAPOLATING", "warn"))
    if state.expected_shown:
        return _expected_words(state, badges)
    if state.reference_on_grid is None:
        return PaneWords("Error", message="")
    line = "synthesised − acquired"
    if state.gain_matching:
        line += ", gain matched"
    note: tuple[str, Tone] | None = (f"Not like for like: {unlike}", "warn") if unlike else None
    acquired = state.acquired
    if note is None and acquired is not None and acquired.parameters is None:
        note = ("Not like for like: acquired settings not known", "warn")
    if note is None and not state.gain_matching:
        note = _gain_note(state)
    return PaneWords("Error", (line,), badges=tuple(badges), note=note)


def _expected_words(state: ViewerState, badges: list[tuple[str, Tone]]) -> PaneWords:
    """Write what stands around the error that the network expects."""
    frame = state.current_frame
    if frame is None or frame.expected is None:
        return PaneWords("Expected error", message="")
    lines = (strings.EXPECTED_LINE,)
    return PaneWords("Expected error", lines, badges=tuple(badges), tip=strings.EXPECTED_TIP)


def _gain_note(state: ViewerState) -> tuple[str, Tone] | None:
    """Say where two scanner gains, not two contrasts, make the error what it is."""
    compared = state.current_compared
    if compared is None:
        return None
    gain = compared.comparison.gain
    if not gain > 0 or 1 / GAIN_APART < gain < GAIN_APART:
        return None
    return (f"Brightness differs {max(gain, 1 / gain):.2g} times: match gain (Ctrl+G)", "warn")


def _deviation(state: ViewerState, shown: SequenceParameters) -> str:
    acquired = state.acquired
    if acquired is None or acquired.parameters is None:
        return ""
    return strings.deviation(shown, acquired.parameters)


def _doubt(scan: Scan) -> str:
    kinds = {o.certainty for o in scan.origins.values()}
    return strings.NOMINAL if "nominal" in kinds else strings.ESTIMATED


def _table_title(state: ViewerState) -> str:
    acquired = state.acquired
    return f"Against {acquired.name}" if acquired is not None else "Against acquired"


def _table_note(state: ViewerState) -> str:
    if state.reference is None:
        return strings.NO_REFERENCE
    if state.current_compared is None:
        return ""
    numbers = state.current_compared.comparison
    return f"{numbers.mask_name} · range 0–{numbers.peak:.3g} · gain: least squares"


def _coverage_sentence(state: ViewerState) -> str:
    if state.model is None or state.model.coverage is None:
        return ""
    return state.model.coverage.sentence(state.parameters)


def _model_text(state: ViewerState) -> str:
    if state.model is not None and state.model_phase != "failed":
        return state.model.name
    return {"loading": "loading…", "failed": "not loaded"}.get(state.model_phase, "none")
