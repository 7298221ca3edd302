"""The counterparts of the paper's figures 1, 3 and 4 for the data at hand, and calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crl_core.evaluation.benchmark.drawing import Drawing, colour_bar, grey, signed, ticks
from crl_core.evaluation.benchmark.gallery import (
    Picture,
    main_source,
    read_picture,
    shown_targets,
)
from crl_core.evaluation.benchmark.protocol import Protocol, Task
from crl_core.evaluation.benchmark.results import MethodRows, Results
from crl_core.evaluation.benchmark.tables import held_back_words
from crl_core.sequence import SequenceParameters

SHOWN = "figure-1.svg", "figure-3.svg", "figure-4.svg"
CALIBRATION = "calibration.svg"

_COLOURS = ("#1f6fb2", "#c0392b", "#2e8b57", "#8e44ad")
_PERCENT_MARKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)

_TILE, _GAP = 150.0, 6.0
_MOST = 9
"""Columns of figure 3; more would be too small to judge."""

_MARKS = ("learnt-table", "patch-ridge", "table", "oracle")
"""Methods without a network that figure 3 shows."""

_TR_MARKS = (200, 500, 1000, 2000, 4000, 8000, 16000)
_TE_MARKS = (5, 10, 20, 40, 80, 160, 320)
_TI_MARKS = (0, 100, 250, 500, 1000, 2000, 4000)


# figure 1 ---------------------------------------------------------------------------------------


def parameter_space(protocol: Protocol) -> str:
    """Draw TR against TE and TI against TE; filled is seen in training, ringed held back.

    Long names go by letters, which are told below.
    """
    names = list(protocol.contrasts)
    marks = dict(zip(names, names, strict=True))
    told: list[str] = []
    if max(len(name) for name in names) > 3:
        marks = {name: _letter(n) for n, name in enumerate(names)}
        told = [f"{mark}: {name}" for name, mark in marks.items()]
    lines = [told[k : k + 6] for k in range(0, len(told), 6)]
    drawing = Drawing(780, 390 + 18 * len(lines))
    _panel(drawing, protocol, marks, 60, "TR, ms", _TR_MARKS, lambda p: p.tr)
    _panel(drawing, protocol, marks, 450, "TI, ms (0: none)", _TI_MARKS, lambda p: p.ti)
    drawing.add("circle", cx=70, cy=372, r=7, fill="#1f6fb2")
    drawing.text(83, 376, "seen in training")
    if protocol.held_back:
        drawing.add("circle", cx=210, cy=372, r=7, fill="#fff", stroke="#c0392b", stroke_width=2.5)
        drawing.text(223, 376, "held back: never source nor target in training")
    for n, line in enumerate(lines):
        for k, words in enumerate(line):
            drawing.text(60 + 118 * k, 398 + 18 * n, words, 11)
    return drawing.svg("Settings of all acquired contrasts")


def _letter(number: int) -> str:
    """Return a, b, ... z, aa, ab, ..."""
    more, last = divmod(number, 26)
    return (_letter(more - 1) if more else "") + chr(ord("a") + last)


_TOP, _WIDE, _HIGH = 40.0, 300.0, 270.0
"""Where a panel of figure 1 begins, and its size."""


def _panel(
    drawing: Drawing,
    protocol: Protocol,
    names: Mapping[str, str],
    left: float,
    label: str,
    marks: Sequence[float],
    value: Callable[[SequenceParameters], float],
) -> None:
    points = protocol.contrasts
    xs = _span([p.te for p in points.values()], _TE_MARKS)
    ys = _span([value(p) for p in points.values()], marks)
    _axes(drawing, left, label, xs, ys, marks)
    placed: dict[tuple[float, float], float] = {}
    for key, p in points.items():
        x = left + _WIDE * _share(p.te, xs)
        y = _TOP + _HIGH * (1 - _share(value(p), ys))
        held = key in protocol.held_back
        look = {"fill": "#fff", "stroke": "#c0392b"} if held else {"fill": "#1f6fb2"}
        drawing.add("circle", cx=x, cy=y, r=6, stroke_width=2.5, **look)
        # Settings that share a place get their names side by side.
        near = [end for (a, b), end in placed.items() if abs(x - a) < 16 and abs(y - b) < 14]
        start = max([x + 9, *near])
        drawing.text(start, y - 6, names[key], 12, font_weight="bold")
        placed[x, y] = start + 9.0 * len(names[key]) + 2


def _axes(
    drawing: Drawing,
    left: float,
    label: str,
    xs: tuple[float, float],
    ys: tuple[float, float],
    marks: Sequence[float],
) -> None:
    drawing.add("rect", x=left, y=_TOP, width=_WIDE, height=_HIGH, fill="none", stroke="#999")
    for mark in ticks(*xs, _TE_MARKS):
        x = left + _WIDE * _share(mark, xs)
        drawing.add("line", x1=x, x2=x, y1=_TOP, y2=_TOP + _HIGH, stroke="#eee")
        drawing.text(x, _TOP + _HIGH + 15, f"{mark:g}", 10, text_anchor="middle")
    for mark in ticks(*ys, marks):
        y = _TOP + _HIGH * (1 - _share(mark, ys))
        drawing.add("line", x1=left, x2=left + _WIDE, y1=y, y2=y, stroke="#eee")
        drawing.text(left - 6, y + 4, f"{mark:g}", 10, text_anchor="end")
    drawing.text(left + _WIDE / 2, _TOP + _HIGH + 33, "TE, ms", 12, text_anchor="middle")
    drawing.text(left, _TOP - 12, label, 12)


def _span(values: Sequence[float], marks: Sequence[float]) -> tuple[float, float]:
    """Return a range of marks around some values."""
    low = max((m for m in marks if m <= min(values)), default=marks[0])
    high = min((m for m in marks if m >= max(values) and m > low), default=marks[-1])
    return float(low), float(high)


def _share(value: float, span: tuple[float, float]) -> float:
    """Return where a value lies in a range on the scale that settings are compared in."""
    shift = 150.0 if span[0] == 0 else 0.0
    low, high = (math.log(v + shift) for v in span)
    return 0.04 + 0.92 * (math.log(max(value + shift, 1e-3)) - low) / max(high - low, 1e-9)


def calibration(results: Results) -> str | None:
    """Draw the mean actual error over the expected one; None where nobody expects any."""
    told = [m for m in results.methods.values() if m.calibration and m.calibration.curve()]
    if not told:
        return None
    left, marks = 60.0, _PERCENT_MARKS
    curves = {m.name: m.calibration.curve() for m in told if m.calibration}
    values = [v for curve in curves.values() for b, e, _ in curve for v in (b, max(e, 0.05))]
    span = _span(values, marks)
    drawing = Drawing(left + _HIGH + 360, _TOP + _HIGH + 50)

    def place(value: float) -> float:
        return (math.log(value) - math.log(span[0])) / (math.log(span[1]) - math.log(span[0]))

    drawing.add("rect", x=left, y=_TOP, width=_HIGH, height=_HIGH, fill="none", stroke="#999")
    for mark in ticks(*span, marks):
        at = _HIGH * place(mark)
        drawing.text(left + at, _TOP + _HIGH + 15, f"{mark:g}", 10, text_anchor="middle")
        drawing.text(left - 6, _TOP + _HIGH - at + 4, f"{mark:g}", 10, text_anchor="end")
    drawing.add("line", x1=left, y1=_TOP + _HIGH, x2=left + _HIGH, y2=_TOP, stroke="#bbb",
                stroke_dasharray="4 4")  # fmt: skip
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        clipped = [(max(b, span[0]), max(e, span[0])) for b, e, _ in curve]
        points = " ".join(
            f"{left + _HIGH * place(b):.1f},{_TOP + _HIGH * (1 - place(e)):.1f}" for b, e in clipped
        )
        drawing.add("polyline", points=points, fill="none", stroke=colour, stroke_width=2)
        told_by = results.methods[name].calibration
        assert told_by is not None
        y = _TOP + 14 + 48 * number
        drawing.text(left + _HIGH + 16, y, name, 12, font_weight="bold", fill=colour)
        for line, words in enumerate(told_by.sentence().split("; ")):
            drawing.text(left + _HIGH + 16, y + 15 * (line + 1), words, 10)
    drawing.text(left, _TOP - 12, "mean actual error, % of peak", 12)
    drawing.text(left + _HIGH / 2, _TOP + _HIGH + 33, "expected error, % of peak", 12,
                 text_anchor="middle")  # fmt: skip
    return drawing.svg("Expected and actual errors")


# figures 3 and 4 --------------------------------------------------------------------------------


def methods_side_by_side(results: Results) -> str | None:
    """Draw three pairs in rows: source, each method with its signed error below, acquired."""
    source = main_source(results.protocol)
    targets = shown_targets(results.protocol)
    columns = _columns(results, [Task((source,), target) for target in targets])
    rows = {t: [pictures[n] for _, pictures in columns] for n, t in enumerate(targets)}
    rows = {t: pictures for t, pictures in rows.items() if any(pictures)}
    if not rows:
        return None
    first = next(p for pictures in rows.values() for p in pictures if p is not None)
    width, height = _TILE, _TILE * first.proportion
    edge = 16.0 + 7.0 * max(len(f"{source} to {target}") for target in rows)
    step = width + _GAP
    drawing = Drawing(edge + (len(columns) + 2) * step, 110 + len(rows) * (2 * height + 3 * _GAP))
    drawing.text(8, 20, f"From {source}, {first.person}: {_note(results)}", 13)
    names = ["source", *(method.name for method, _ in columns), "acquired"]
    for c, name in enumerate(names):
        drawing.text(edge + c * step + width / 2, 46, name, 11, text_anchor="middle")
    for r, (target, pictures) in enumerate(rows.items()):
        top = 54 + r * (2 * height + 3 * _GAP)
        drawing.text(8, top + height / 2, f"{source} to {target}", 12)
        drawing.text(8, top + 1.5 * height, "error", 11, fill="#777")
        known = next(p for p in pictures if p is not None)
        drawing.picture(edge, top, width, height, grey(known.source))
        for c, picture in enumerate(pictures, start=1):
            left = edge + c * step
            if picture is None:
                drawing.text(left + width / 2, top + height / 2, "-", 14, text_anchor="middle")
            else:
                _synthesised(drawing, left, top, width, height, picture)
        last = edge + (len(names) - 1) * step
        drawing.picture(last, top, width, height, grey(known.acquired))
    colour_bar(drawing, edge, drawing.height - 34)
    return drawing.svg("Methods side by side with signed error maps; SYNTHETIC images")


def all_contrasts(results: Results, method: MethodRows) -> str | None:
    """Draw all contrasts from one source: acquired, synthesised and error rows."""
    protocol = results.protocol
    source = main_source(protocol)
    keys = list(protocol.contrasts)
    pictures = {k: _picture(results, method, Task((source,), k)) for k in keys}
    first = next((p for p in pictures.values() if p is not None), None)
    if first is None:
        return None
    width = min(_TILE, 1300.0 / len(keys))
    height = width * first.proportion
    drawing = Drawing(90 + len(keys) * (width + _GAP), 52 + 3 * (height + _GAP) + 50)
    drawing.text(8, 20, f"{method.name} from {source}, {first.person}: {_note(results)}", 13)
    for row, words in enumerate(("acquired", "synthesised", "error")):
        drawing.text(8, 52 + row * (height + _GAP) + height / 2, words, 12)
    for c, key in enumerate(keys):
        left, picture = 90 + c * (width + _GAP), pictures[key]
        mark = "*" if key in protocol.held_back else " (source)" if key == source else ""
        drawing.text(left + width / 2, 44, f"{key}{mark}", 12, text_anchor="middle")
        if picture is None:
            continue
        drawing.picture(left, 52, width, height, grey(picture.acquired))
        _synthesised(drawing, left, 52 + height + _GAP, width, height, picture)
    end = drawing.height - 34
    colour_bar(drawing, 90, end)
    words = "At the source's own parameters the network alone is shown."
    drawing.text(500, end + 9, f"{held_back_words(results, method)} {words}".strip(), 11)
    return drawing.svg(f"All contrasts from {source} by {method.name}; SYNTHETIC images")


def _columns(
    results: Results, tasks: Sequence[Task]
) -> list[tuple[MethodRows, list[Picture | None]]]:
    """Return the methods that have something to show: networks, then what they have to beat."""
    wanted = [m.name for m in results.networks]
    wanted += [n for n in _MARKS if n in results.methods]
    found = []
    for method in (results.methods[name] for name in wanted):
        pictures = [_picture(results, method, task) for task in tasks]
        if any(pictures):
            found.append((method, pictures))
    return found[: _MOST - 2]


def _picture(results: Results, method: MethodRows, task: Task) -> Picture | None:
    """Read a picture of the first fold that every method was measured on."""
    folds = results.folds or method.folds
    for unit in results.units_of(method.name):
        if unit.fold == folds[0]:
            return read_picture(_beside(results.plan.unit_path(unit)), task)
    return None


def _beside(path: Path) -> Path:
    return path.with_suffix(".npz")


def _note(results: Results) -> str:
    what = "digital subjects" if results.simulated else "acquired scans"
    return f"{what}; each image after one gain, 0 to p99.5 of the target in the head"


def _synthesised(
    drawing: Drawing, x: float, y: float, width: float, height: float, picture: Picture
) -> None:
    """Draw a synthesised image and its error below it."""
    drawing.picture(x, y, width, height, grey(picture.image))
    drawing.synthetic(x, y, width)
    error = signed(picture.image - picture.acquired, picture.mask)
    drawing.picture(x, y + height + _GAP, width, height, error)
