"""Values under the crosshair; pure functions of the state."""

from __future__ import annotations

import numpy as np

from crl_core.evaluation.metrics import Comparison
from crl_core.scan import IntensityScale, Scan
from crl_viewer import strings
from crl_viewer.state.model import ViewerState
from crl_viewer.state.requests import Voxel


def voxel_in_slice(voxel: Voxel, index: int, axis: int) -> Voxel:
    """Return the same place in another slice."""
    i, j, k = (index if n == axis else v for n, v in enumerate(voxel))
    return (i, j, k)


def value_at(state: ViewerState, role: str) -> str:
    """Return the value one pane shows under the crosshair, or an empty text."""
    value = _value(state, role)
    if value is None or not np.isfinite(value):
        return ""
    if role == "error":
        return f"{strings.number(value, 1, sign=not state.expected_shown)} %"
    return strings.number(value, 3)


def probe_texts(state: ViewerState, where: str) -> list[str]:
    """Return what the status bar says of the crosshair: position, voxel, every pane's value."""
    if state.crosshair is None:
        return []
    texts = [where] if where else []
    texts.append("voxel " + ", ".join(str(v) for v in state.crosshair))
    for role in ("source", "synthesised", "acquired", "error"):
        value = value_at(state, role)
        if value:
            what = "expected error" if role == "error" and state.expected_shown else role
            texts.append(f"{what} {value}")
    return texts


def numbers_of(state: ViewerState) -> tuple[Comparison | None, Comparison | None, bool]:
    """Return the numbers of the slice and of the volume, and whether the former are older.

    Numbers of another network, source or reference never show. Those of the slice stay while the
    next ones are made, marked as older than the picture; those of the volume belong to one setting
    only.
    """
    compared, volume, frame = state.current_compared, state.current_volume, state.current_frame
    if compared is None:
        return None, None, False
    stale = frame is None or compared.request.image != frame.request.image
    return compared.comparison, volume.comparison if volume else None, stale


def acquired_points(state: ViewerState) -> list[tuple[float, float]]:
    """Return (ms, model units) of the acquired scans that lie on the curve at the crosshair.

    These are the scans on the source's grid that agree with the sliders in the other two times.
    """
    source, scale, voxel = state.source, state.scale, state.crosshair
    if source is None or scale is None or voxel is None:
        return []
    points = []
    for scan in state.scans:
        if scan.parameters is None or scan.synthetic or not scan.same_grid(source):
            continue
        value = getattr(scan.parameters, state.curve_axis)
        moved = state.parameters.at(**{state.curve_axis: value})
        if not strings.deviation(moved, scan.parameters):
            points.append((float(value), _reference_value(scan, state)))
    return sorted(points)


def _value(state: ViewerState, role: str) -> float | None:
    source, voxel = state.source, state.crosshair
    if source is None or voxel is None or state.scale is None:
        return None
    if role == "source":
        return _value_in(state.scale, source, state)
    if role == "acquired":
        reference = state.reference_on_grid
        return None if reference is None else _reference_value(reference, state)
    frame = state.current_frame
    if frame is None or state.refusal or frame.request.index != state.slice_index:
        return None
    place = tuple(v for n, v in enumerate(voxel) if n != source.slice_axis)
    if role == "synthesised":
        return float(frame.synthesised[place])
    error = state.current_expected if state.expected_shown else state.current_error
    return None if error is None else float(error[place])


def _reference_value(scan: Scan, state: ViewerState) -> float:
    scale = state.reference_scale(scan)
    assert scale is not None
    return _value_in(scale, scan, state)


def _value_in(scale: IntensityScale, scan: Scan, state: ViewerState) -> float:
    assert state.crosshair is not None
    return float(scale.to_model(scan.data[state.crosshair]))
