"""The ground of the parameter pad: where trust ends and what cannot be played, as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QImage, QPolygonF

from crl_core.sequence import SequenceParameters
from crl_core.trust import FADE, TrainingCoverage
from crl_viewer.views.scales import NAMES, Scale, obstacle, playable

CELL = 3
"""Pixels per sample of the field; it is smooth enough to be interpolated between them."""

COLUMNS = 25
"""Places at which the limits of what can be played are looked for."""

FILL = 0.12
LINE = 0.8

Array = NDArray[np.float64]


def margins_on(
    coverage: TrainingCoverage,
    names: tuple[str, str],
    scales: tuple[Scale, Scale],
    at: SequenceParameters,
) -> Array:
    """Sample the trust field on the plane of two parameters.

    Parameters
    ----------
    coverage
        What was trained.
    names
        Parameters along x and y.
    scales
        Their scales in pixels; y runs upwards, so its start is the larger pixel.
    at
        The third parameter.

    Returns
    -------
    Shape (rows, cols), `TrainingCoverage.margins` from the top left, one sample per `CELL`.
    """
    across, down = scales
    x = [across.value(v) for v in np.arange(across.start, across.end + CELL, CELL)]
    y = [down.value(v) for v in np.arange(down.end, down.start + CELL, CELL)]
    triples = np.tile(np.array(at.triple), (len(y), len(x), 1))
    triples[:, :, NAMES.index(names[0])] = np.array(x)[None, :]
    triples[:, :, NAMES.index(names[1])] = np.array(y)[:, None]
    return coverage.margins(triples.reshape(-1, 3)).reshape(len(y), len(x))


def shading(margins: Array, accent: QColor) -> QImage:
    """Return the trusted region as one faint pixel per sample, to be drawn enlarged.

    Parameters
    ----------
    margins
        From `margins_on`.
    accent
        Its colour.
    """
    fall = np.clip(margins / FADE, 0.0, 1.0)
    alpha = FILL * (1.0 - fall**2 * (3.0 - 2.0 * fall))
    pixels = np.empty((*margins.shape, 4), dtype=np.uint8)
    for channel, value in enumerate((accent.blueF(), accent.greenF(), accent.redF(), 1.0)):
        pixels[:, :, channel] = np.round(255 * alpha * value)
    form = QImage.Format.Format_ARGB32_Premultiplied
    rows, cols = margins.shape
    return QImage(pixels.tobytes(), cols, rows, 4 * cols, form).copy()


def blend(colour: QColor, ground: QColor, share: float) -> QColor:
    """Mix a colour into a ground; overlapping strokes of it show no seams."""
    pairs = zip(colour.getRgb()[:3], ground.getRgb()[:3], strict=True)
    return QColor(*(round(c * share + g * (1 - share)) for c, g in pairs))


def outline(margins: Array) -> Array:
    """Return where the inside ends, as line segments between samples.

    Each square of four samples is crossed by the zero of the field on two of its sides, or on
    all four, where two lines pass.

    Parameters
    ----------
    margins
        From `margins_on`.

    Returns
    -------
    Shape (n, 2, 2): segments, ends, (col, row) in samples.
    """
    field = np.minimum(margins, 10.0)
    a, b, c, d = field[:-1, :-1], field[:-1, 1:], field[1:, :-1], field[1:, 1:]
    rows, cols = np.mgrid[: a.shape[0], : a.shape[1]].astype(float)
    places, crossed = [], []
    for first, second, x, y, dx, dy in (
        (a, b, cols, rows, 1, 0),
        (b, d, cols + 1, rows, 0, 1),
        (c, d, cols, rows + 1, 1, 0),
        (a, c, cols, rows, 0, 1),
    ):
        change = first - second
        share = np.divide(first, change, out=np.zeros_like(change), where=change != 0)
        places.append(np.stack([x + dx * share, y + dy * share], axis=-1))
        crossed.append((first <= 0) != (second <= 0))
    ends = np.stack(places, axis=2)[np.stack(crossed, axis=2)]
    return ends.reshape(-1, 2, 2)


def forbidden(
    names: tuple[str, str], scales: tuple[Scale, Scale], at: SequenceParameters
) -> QPolygonF:
    """Return the part of the pad above the highest y that can be played at each x."""
    across, down = scales
    edge = []
    for pixel in np.linspace(across.start, across.end, COLUMNS):
        here = at.at(**{names[0]: across.value(float(pixel))})
        high = down.end
        if obstacle(here.at(**{names[1]: down.high})) is not None:
            span = playable(names[1], here, down)
            high = down.start if span.empty else down.pixel(span.high)
        edge.append(QPointF(float(pixel), high))
    top = [QPointF(across.end, down.end), QPointF(across.start, down.end)]
    return QPolygonF([*edge, *top])

