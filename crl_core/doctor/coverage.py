"""Which settings of TR, TE and TI a dataset holds: as a table and as a drawing.

The drawing is SVG, written here as text, so that no plotting library is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from crl_core.doctor.findings import Report
from crl_core.sequence import PAPER_SEQUENCES

ALIKE = 0.01
"""Settings whose TR, TE and TI all differ by less than this share count as one."""

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Setting:
    """One combination of TR, TE and TI, and how often it occurs.

    Parameters
    ----------
    tr, te, ti
        Milliseconds, as the first scan has them; a TI of 0 means no inversion.
    subjects, scans
        How many subjects and scans have it.
    """

    tr: float
    te: float
    ti: float
    subjects: int
    scans: int


def settings_of(report: Report) -> list[Setting]:
    """Group the scans of a report by their settings, sorted by TI, TR and TE."""
    groups: list[tuple[Triple, list[str]]] = []
    for row in report.subjects:
        if row.tr is None or row.te is None or row.ti is None:
            continue
        triple = (row.tr.ms, row.te.ms, row.ti.ms)
        for known, who in groups:
            if _alike(known, triple):
                who.append(row.subject)
                break
        else:
            groups.append((triple, [row.subject]))
    found = [Setting(*triple, len(set(who)), len(who)) for triple, who in groups]
    return sorted(found, key=lambda s: (s.ti, s.tr, s.te))


def coverage_table(settings: Sequence[Setting]) -> str:
    """Return a table of settings as text."""
    lines = [f"{'TR ms':>8}  {'TE ms':>7}  {'TI ms':>6}  {'subjects':>8}  {'scans':>5}"]
    lines += [
        f"{s.tr:8.6g}  {s.te:7.5g}  {f'{s.ti:.5g}' if s.ti else 'off':>6}  "
        f"{s.subjects:8d}  {s.scans:5d}"
        for s in settings
    ]
    return "\n".join(lines)


def _alike(a: Triple, b: Triple) -> bool:
    return all(abs(p - q) <= ALIKE * max(p, q) for p, q in zip(a, b, strict=True))


# the drawing ------------------------------------------------------------------------------------

_WIDTH, _HEIGHT = 960, 600
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 720, 70, 520
_RADIUS = 11.0
_FONT = "font-family='Helvetica, Arial, sans-serif'"
_TICKS = [b * 10**e for e in range(6) for b in (1, 2, 3, 5)]

_KINDS: tuple[tuple[float, str, str, str], ...] = (
    (0.0, "no inversion", "#0072B2", "circle"),
    (300.0, "TI up to 300 ms", "#009E73", "square"),
    (1500.0, "TI 300 to 1500 ms", "#B37400", "triangle"),
    (math.inf, "TI above 1500 ms", "#C44500", "diamond"),
)
"""Upper end of TI, words, colour and shape; colours from Okabe and Ito's set for the colour
blind, two of them darkened so that white numbers can be read on them."""


def coverage_svg(settings: Sequence[Setting]) -> str:
    """Return a drawing of TR against TE, both logarithmic, in ms.

    Colour and shape say which inversion time, the number how many subjects; hollow marks are the
    nine sequences of the paper.
    """
    paper = [(p.triple, str(n)) for n, p in PAPER_SEQUENCES.items()]
    shown = [(s.tr, s.te, s.ti) for s in settings]
    axes = _Axes.around([*shown, *(triple for triple, _ in paper)])
    scans = sum(s.scans for s in settings)
    title = f"Coverage of the parameter space: {_count(scans, 'scan')}"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT}' "
        f"viewBox='0 0 {_WIDTH} {_HEIGHT}'>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='white'/>",
        _text(_LEFT, 38, title, size=20, anchor="start", weight="bold"),
        *axes.draw(),
        *_marks(axes, paper, settings),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Axes:
    """The ranges of both axes, ms."""

    tr: tuple[float, float]
    te: tuple[float, float]

    @classmethod
    def around(cls, triples: Iterable[Triple]) -> _Axes:
        rows = list(triples)
        return cls(_range([r[0] for r in rows]), _range([r[1] for r in rows]))

    def place(self, triple: Triple) -> tuple[float, float]:
        """Return the position of a setting on the drawing."""
        x = _LEFT + (_RIGHT - _LEFT) * _share(triple[0], self.tr)
        y = _BOTTOM - (_BOTTOM - _TOP) * _share(triple[1], self.te)
        return x, y

    def draw(self) -> list[str]:
        """Return grid lines, numbers and names of the axes."""
        parts = []
        for tick in _TICKS:
            if self.tr[0] <= tick <= self.tr[1]:
                x = self.place((tick, self.te[0], 0))[0]
                parts += [_line(x, _TOP, x, _BOTTOM), _text(x, _BOTTOM + 22, f"{tick:g}")]
            if self.te[0] <= tick <= self.te[1]:
                y = self.place((self.tr[0], tick, 0))[1]
                parts += [
                    _line(_LEFT, y, _RIGHT, y),
                    _text(_LEFT - 10, y + 5, f"{tick:g}", anchor="end"),
                ]
        frame = f"width='{_RIGHT - _LEFT}' height='{_BOTTOM - _TOP}' fill='none' stroke='#444'"
        middle = (_TOP + _BOTTOM) / 2
        return [
            *parts,
            f"<rect x='{_LEFT}' y='{_TOP}' {frame}/>",
            _text((_LEFT + _RIGHT) / 2, _BOTTOM + 52, "Repetition time TR (ms)", size=16),
            f"<g transform='rotate(-90 26 {middle})'>"
            + _text(26, middle, "Echo time TE (ms)", size=16)
            + "</g>",
        ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return a range with some room around positive values."""
    return min(values) / 1.7, max(values) * 1.7


def _share(value: float, span: tuple[float, float]) -> float:
    return math.log(value / span[0]) / math.log(span[1] / span[0])


def _marks(
    axes: _Axes, paper: Sequence[tuple[Triple, str]], settings: Sequence[Setting]
) -> list[str]:
    """Draw the paper's sequences, then the dataset's settings on top of them.

    Marks that would cover each other are set side by side, those of one setting together.
    """
    spots: list[tuple[Triple, str, int]] = [(triple, number, 0) for triple, number in paper]
    for s in settings:
        triple = (s.tr, s.te, s.ti)
        at = next((i for i, (known, _, _) in enumerate(spots) if _alike(known, triple)), None)
        if at is None:
            spots.append((triple, "", s.subjects))
        else:
            spots[at] = (spots[at][0], spots[at][1], s.subjects)
    taken: list[tuple[float, float]] = []
    leads, marks = [], []
    for triple, number, subjects in sorted(spots, key=lambda spot: spot[0]):
        x, y = axes.place(triple)
        free = x
        while any(math.hypot(free - a, y - b) < 2 * _RADIUS + 14 for a, b in taken):
            free += 2.0
        taken.append((free, y))
        if free > x + 1:
            leads.append(_line(x, y, free, y, "#888"))
        marks += _mark(free, y, triple[2], number, subjects)
    return [*leads, *marks]


def _mark(x: float, y: float, ti: float, number: str, subjects: int) -> list[str]:
    _, _, colour, shape = next(kind for kind in _KINDS if ti <= kind[0])
    parts = []
    if subjects:
        parts.append(_shape(shape, x, y, _RADIUS, f"fill='{colour}' stroke='white'"))
        parts.append(_text(x, y + 4.5, str(subjects), size=12, fill="white", weight="bold"))
    if number:
        parts.append(
            _shape(shape, x, y, _RADIUS + 2.5, f"fill='none' stroke='{colour}' stroke-width='1.5'")
        )
        parts.append(_text(x, y - _RADIUS - 11, number, size=11, fill="#555"))
    return parts


def _shape(shape: str, x: float, y: float, r: float, style: str) -> str:
    if shape == "circle":
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{r:.1f}' {style}/>"
    corners = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0, -1.4), (1.3, 0.8), (-1.3, 0.8)],
        "diamond": [(0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)],
    }[shape]
    points = " ".join(f"{x + r * dx:.1f},{y + r * dy:.1f}" for dx, dy in corners)
    return f"<polygon points='{points}' {style}/>"


def _legend() -> list[str]:
    x, y = _RIGHT + 36, _TOP + 16
    parts = []
    for _, words, colour, shape in _KINDS:
        parts.append(_shape(shape, x, y, 8, f"fill='{colour}'"))
        parts.append(_text(x + 20, y + 5, words, anchor="start"))
        y += 30
    y += 12
    hollow = "fill='none' stroke='#555' stroke-width='1.5'"
    parts.append(_shape("circle", x, y, 9, hollow))
    parts.append(_text(x + 20, y + 5, "sequence of the paper", anchor="start"))
    for line in (
        "Number inside: subjects that",
        "have this setting. Number above:",
        "which sequence of the paper.",
        "A line leads to the true place of",
        "a mark that was moved aside.",
    ):
        y += 24
        parts.append(_text(x - 10, y + 10, line, size=12, anchor="start", fill="#555"))
    return parts


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 14,
    anchor: str = "middle",
    fill: str = "#222",
    weight: str = "normal",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {_FONT} font-size='{size}' text-anchor='{anchor}' "
        f"fill='{fill}' font-weight='{weight}'>{escape(words)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = "#ddd") -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}'/>"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
