"""The parameter pad under a real pointer and keyboard."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPixmap
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from crl_core.physics.feasibility import assess
from crl_core.sequence import PAPER_HELD_OUT, PAPER_SEQUENCES, SequenceParameters
from crl_core.trust import ParameterBox, TrainingCoverage
from crl_viewer import theme
from crl_viewer.views import pad_field
from crl_viewer.views.pad import PLANES, ParameterPad
from crl_viewer.views.pad_words import Legend

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
ALT = Qt.KeyboardModifier.AltModifier
ACQUIRED = [(f"TE {te}", SequenceParameters(5000, te)) for te in (10, 25, 50, 90, 150, 250)]
COVERAGE = TrainingCoverage(
    (*(PAPER_SEQUENCES[i] for i in (1, 2, 3, 5, 7, 8, 9)), SequenceParameters(600, 12)),
    held_out=tuple(PAPER_SEQUENCES[i] for i in PAPER_HELD_OUT),
)


@pytest.fixture
def pad(themed, qtbot):
    widget = ParameterPad()
    qtbot.addWidget(widget)
    widget.set_coverage(COVERAGE)
    widget.set_acquired(ACQUIRED)
    widget.set_parameters(SequenceParameters(3000, 40))
    widget.resize(304, 240)
    widget.show()
    widget.activateWindow()
    qtbot.waitExposed(widget)
    widget.heard, widget.rests = [], []
    widget.changed.connect(lambda *triple: widget.heard.append(triple))
    widget.released.connect(lambda: widget.rests.append(widget.parameters().triple))
    return widget


def at(pad: ParameterPad, p: SequenceParameters) -> QPoint:
    return pad.canvas.place(p).toPoint()


def move(widget, place: QPoint, modifiers=NONE) -> None:
    event = QMouseEvent(
        QEvent.Type.MouseMove, QPointF(place), QPointF(widget.mapToGlobal(place)),
        Qt.MouseButton.NoButton, LEFT, modifiers,
    )
    QApplication.sendEvent(widget, event)


def drag(pad: ParameterPad, start: QPoint, end: QPoint, modifiers=NONE) -> None:
    QTest.mousePress(pad.canvas, LEFT, modifiers, start)
    for k in range(1, 7):
        move(pad.canvas, start + (end - start) * k / 6, modifiers)
    QTest.mouseRelease(pad.canvas, LEFT, modifiers, end)


def test_a_click_moves_both_values(pad):
    QTest.mouseClick(pad.canvas, LEFT, NONE, at(pad, SequenceParameters(1000, 20)))
    p = pad.parameters()
    assert p.tr == pytest.approx(1000, rel=0.04)
    assert p.te == pytest.approx(20, rel=0.06)
    assert p.ti == 0
    assert pad.heard[-1] == p.triple
    assert pad.rests == [p.triple]


def test_a_drag_moves_both_values_all_the_way(pad):
    drag(pad, at(pad, pad.parameters()), at(pad, SequenceParameters(9000, 120)))
    assert len(pad.heard) > 3
    assert pad.parameters().tr == pytest.approx(9000, rel=0.05)
    assert pad.parameters().te == pytest.approx(120, rel=0.07)
    assert len(pad.rests) == 1


def test_shift_holds_one_axis(pad):
    start = at(pad, pad.parameters())
    drag(pad, start, start + QPoint(60, 25), SHIFT)
    assert {te for _, te, _ in pad.heard} == {40}
    assert pad.parameters().tr > 3500


def test_the_pad_snaps_to_acquired_settings_unless_alt_is_held(pad):
    near = at(pad, ACQUIRED[2][1]) + QPoint(3, -3)
    QTest.mouseClick(pad.canvas, LEFT, NONE, near)
    assert pad.parameters().triple == (5000, 50, 0)
    QTest.mouseClick(pad.canvas, LEFT, ALT, near)
    assert pad.parameters().triple != (5000, 50, 0)


@pytest.mark.parametrize("plane", range(3))
def test_each_plane_moves_its_own_two_values(pad, plane):
    pad.set_parameters(SequenceParameters(5000, 40, 600))
    QTest.mouseClick(pad.planes.buttons[plane], LEFT)
    third = next(n for n in ("tr", "te", "ti") if n not in PLANES[plane])
    before = getattr(pad.parameters(), third)
    frame = pad.canvas.frame
    QTest.mouseClick(
        pad.canvas, LEFT, ALT, QPoint(round(frame.right() - 40), round(frame.center().y()))
    )
    assert getattr(pad.parameters(), third) == before
    assert pad.heard


def test_the_stop_for_no_inversion_is_reached(pad):
    pad.set_parameters(SequenceParameters(5000, 40, 600))
    QTest.mouseClick(pad.planes.buttons[1], LEFT)
    bottom = QPoint(200, round(pad.canvas.frame.bottom()) - 4)
    QTest.mouseClick(pad.canvas, LEFT, NONE, bottom)
    assert pad.parameters().ti == 0


def test_no_click_leads_to_what_cannot_be_played(pad):
    rng = np.random.default_rng(1)
    for k in range(90):
        if k % 30 == 0:
            QTest.mouseClick(pad.planes.buttons[k // 30], LEFT)
        frame = pad.canvas.frame
        x = int(rng.integers(round(frame.left()), round(frame.right())))
        y = int(rng.integers(0, round(frame.bottom())))
        QTest.mouseClick(pad.canvas, LEFT, NONE, QPoint(x, y))
        assert not [f for f in assess(pad.parameters()) if f.severity == "impossible"]


def test_arrows_move_in_steps(pad):
    canvas = pad.canvas
    canvas.setFocus()
    QTest.keyClick(canvas, Qt.Key.Key_Up)
    assert pad.parameters().te == 41
    QTest.keyClick(canvas, Qt.Key.Key_Right, SHIFT)
    assert pad.parameters().tr > 3000
    assert len(pad.rests) == 2
    for key, claimed in ((Qt.Key.Key_Up, True), (Qt.Key.Key_G, False)):
        event = QKeyEvent(QEvent.Type.ShortcutOverride, key, NONE)
        event.ignore()
        QApplication.sendEvent(canvas, event)
        assert event.isAccepted() is claimed


@pytest.mark.parametrize("plane", range(3))
@pytest.mark.parametrize("ti", [0.0, 1200.0])
def test_the_hull_is_the_trust_field(pad, plane, ti):
    """Line and shading are read back from the picture and compared with the one field."""
    names, p = PLANES[plane], SequenceParameters(6000, 60, ti)
    pad.canvas.names = names
    pad.set_parameters(p)
    scales = pad.canvas.scales()
    boxed = TrainingCoverage(box=ParameterBox((900, 9000), (9, 90), (200, 2000)))
    for coverage in (COVERAGE, boxed):
        margins = pad_field.margins_on(coverage, names, scales, p)
        shade = pad_field.shading(margins, theme.current().accent)
        full = round(255 * pad_field.FILL)
        for row in range(0, margins.shape[0], 5):
            for col in range(0, margins.shape[1], 5):
                x = scales[0].value(scales[0].start + col * pad_field.CELL)
                y = scales[1].value(scales[1].end + row * pad_field.CELL)
                here = p.at(**dict(zip(names, (x, y), strict=True)))
                alpha = shade.pixelColor(col, row).alpha()
                assert alpha == pytest.approx(full * coverage.trust(here), abs=1)
        ends = pad_field.outline(margins).reshape(-1, 2)
        assert len(ends)
        for col, row in ends:
            around = []
            for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
                x = scales[0].value(scales[0].start + (col + dx) * pad_field.CELL)
                y = scales[1].value(scales[1].end + (row + dy) * pad_field.CELL)
                around.append(p.at(**dict(zip(names, (x, y), strict=True))).triple)
            reach = coverage.margins(around)
            assert reach.min() < 1e-3
            assert reach.max() > -1e-3


def test_badge_sentence_and_ring_agree(pad):
    rng = np.random.default_rng(2)
    for tr, te in np.exp(rng.uniform(np.log([300, 6]), np.log([19_000, 290]), (40, 2))):
        p = SequenceParameters(max(tr, te + 20), te)
        pad.set_parameters(p)
        outside = not COVERAGE.inside(p)
        assert pad.sentence.text == COVERAGE.sentence(p)
        assert pad.sentence.text.startswith("Extrapolating") is outside
        image = pad.canvas.grab().toImage()
        ring = pad.canvas.place(p) + QPointF(5.75, 0)
        colour = image.pixelColor(int(ring.x()), int(ring.y()))
        amber = colour.red() > colour.blue() + 40
        assert amber is outside


def test_rested_places_leave_a_trail_and_reach_screen_readers(pad, qtbot):
    pad.set_parameters(SequenceParameters(7000, 70))
    pad.set_parameters(SequenceParameters(7500, 70))
    qtbot.waitUntil(lambda: len(pad.canvas.trail) == 1)
    assert pad.canvas.trail[0].tr == 7500
    assert pad.canvas.accessibleDescription().startswith("TR 7500  TE 70  TI off. Between")


def test_setting_parameters_announces_nothing(pad):
    pad.set_parameters(SequenceParameters(7000, 70, 900))
    pad.set_coverage(None)
    pad.set_acquired([])
    pad.grab()
    assert pad.heard == pad.rests == []


def test_the_legend_keeps_clear_of_the_marks(themed, qtbot, pad):
    frame = QRectF(32, 0, 272, 160)
    legend = Legend()
    corners = legend._corners(frame, 48)
    crowded = [corners[0].center(), corners[1].center(), corners[3].center()]
    canvas = QPixmap(304, 180)
    painter = QPainter(canvas)
    legend.paint(painter, frame, ["trained", "held back", "acquired"], crowded, QRectF())
    painter.end()
    assert legend._corner == 2


def test_the_legend_does_not_touch_a_mark_beside_it(themed) -> None:
    frame = QRectF(32, 0, 272, 160)
    legend = Legend()
    boxes = legend._corners(frame, 34)
    beside = [boxes[n].topLeft() + QPointF(20, -4) for n in (2, 3)]
    beside.append(boxes[0].bottomLeft() + QPointF(20, 4))
    canvas = QPixmap(304, 180)
    painter = QPainter(canvas)
    legend.paint(painter, frame, ["trained", "acquired"], beside, QRectF())
    painter.end()
    assert legend._corner == 1


def test_without_a_network_nothing_is_called_extrapolating(pad) -> None:
    pad.set_coverage(None)
    pad.set_parameters(SequenceParameters(250, 10))
    assert pad.sentence.text == ""
    pad.set_coverage(TrainingCoverage())
    assert pad.sentence.text.startswith("Extrapolating")


def test_the_pad_never_widens_the_panel(pad):
    assert pad.minimumSizeHint().width() <= 304
    assert pad.minimumSizeHint().height() <= 200
