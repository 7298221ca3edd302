from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor

from crl_core.geometry import SlicePlane
from crl_viewer.views.camera import Camera
from crl_viewer.views.colours import (
    BLACK,
    N_COLOURS,
    signed_picture,
    signed_table,
    size_picture,
    size_table,
)
from crl_viewer.views.error_pane import ErrorPane

COLS, ROWS = 12, 10


@pytest.fixture
def pane(qtbot, themed) -> ErrorPane:
    pane = ErrorPane("Error", Camera())
    qtbot.addWidget(pane)
    pane.resize(552, 378)
    pane.set_plane(SlicePlane(np.diag([-1.0, -1.0, 3.0, 1.0]), (COLS, ROWS, 4), 2))
    pane.camera.set_view(QPointF(COLS / 2, ROWS / 2), 1 / 20)
    pane.set_smooth(False)
    pane.show()
    return pane


def colour_at(pane: ErrorPane, col: int, row: int) -> str:
    at = pane.pixel_to_screen(col, row).toPoint()
    return pane.grab().toImage().pixelColor(at).name()


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of 0xFFRRGGBB."""
    rgb = np.stack([(colours >> s) & 0xFF for s in (16, 8, 0)], axis=-1) / 255.0
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(y) - 16


def test_lightness_grows_with_the_error_as_designed() -> None:
    picture = signed_picture(np.array([[-10, -5, -2, 0, 2, 5, 10]], np.float32), 10)
    np.testing.assert_allclose(lightness(picture)[0], [81, 46, 28, 23, 31, 54, 88], atol=1.0)
    table = lightness(signed_table())
    middle = N_COLOURS // 2
    assert (np.diff(table[: middle + 1]) <= 1e-9).all()
    assert (np.diff(table[middle:]) >= -1e-9).all()


def test_the_ends_are_the_named_colours_and_no_entry_is_black() -> None:
    table = signed_table()
    assert [f"{c & 0xFFFFFF:06x}" for c in table[[0, 127, 254]]] == ["9ecdff", "363638", "ffd696"]
    assert (table != BLACK).all()


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30), st.sampled_from([5, 20]))
def test_any_difference_takes_the_colour_of_its_sign(values, limit) -> None:
    picture = signed_picture(np.array([values], np.float32), limit)[0]
    at = np.clip(np.rint(np.array(values) / limit * 127), -127, 127) + 127
    nearest = signed_table()[np.clip(at.astype(int)[:, None] + [-1, 0, 1], 0, 254)]
    assert (picture[:, None] == nearest).any(axis=1).all()


def test_not_judged_is_black_and_no_difference_is_grey(pane) -> None:
    percent = np.zeros((ROWS, COLS), np.float32)
    percent[:, 6:] = np.nan
    percent[2, 2], percent[2, 3] = 400, -400
    kept = percent.copy()
    pane.set_error(percent)
    pane.set_labels_visible(False)
    found = [colour_at(pane, c, r) for c, r in ((1, 1), (8, 1), (2, 2), (3, 2))]
    assert found == ["#363638", "#000000", "#ffd696", "#9ecdff"]
    np.testing.assert_array_equal(percent, kept)


def test_the_scale_moves_only_when_it_is_chosen(pane) -> None:
    pane.set_labels_visible(False)
    percent = np.full((ROWS, COLS), 5, np.float32)
    pane.set_error(percent)
    at_ten = colour_at(pane, 1, 1)
    percent = percent.copy()
    percent[8:] = 90
    pane.set_error(percent)
    assert colour_at(pane, 1, 1) == at_ten
    pane.set_levels(0, 1)
    assert colour_at(pane, 1, 1) == at_ten
    pane.set_limit(5)
    assert colour_at(pane, 1, 1) == "#ffd696"
    with pytest.raises(ValueError, match="5, 10, 20"):
        pane.set_limit(7)
    assert pane.limit() == 5


def test_the_bar_says_what_the_colours_mean(pane, spoken) -> None:
    pane.set_error(np.zeros((ROWS, COLS), np.float32))
    image = pane.grab().toImage()
    bar = pane.bar_rect()
    x, top, bottom = int(bar.center().x()), int(bar.top()), int(bar.bottom())
    assert image.pixelColor(x, top).red() > 240
    assert image.pixelColor(x, bottom - 1).blue() > 240
    middle = image.pixelColor(x, (top + bottom) // 2)
    assert abs(middle.red() - 0x36) < 6
    said = {text for text, *_ in spoken}
    assert {"+10", "+5", "0", "−5", "−10", "% of range"} <= said
    spoken.clear()
    pane.set_limit(5)
    pane.grab()
    assert {"+5", "+2.5", "0", "−2.5", "−5"} <= {text for text, *_ in spoken}


def test_a_size_goes_from_black_to_light_and_its_bar_from_zero(pane, spoken) -> None:
    assert bool((np.diff(lightness(size_table())) >= 0).all())
    picture = size_picture(np.array([[np.nan, 0.0, 2.5, 5.0, 10.0, 99.0]], np.float32), 10)[0]
    assert picture[0] == picture[1] == BLACK
    assert len(set(picture[1:5].tolist())) == 4
    assert picture[4] == picture[5] == size_table()[-1]
    pane.set_signed(False)
    pane.set_error(np.full((ROWS, COLS), 4.0, np.float32))
    image = pane.grab().toImage()
    bar = pane.bar_rect()
    assert image.pixelColor(int(bar.center().x()), int(bar.bottom()) - 1).lightness() < 12
    texts = {text for text, *_ in spoken}
    assert {"10", "7.5", "5", "2.5", "0", "% of range"} <= texts
    assert not any(text.startswith(("+", "\N{MINUS SIGN}")) for text in texts)


def test_no_bar_without_an_error_and_no_window_numbers(pane, spoken) -> None:
    pane.set_error(None, "Choose an acquired sequence")
    pane.grab()
    assert "% of range" not in {text for text, *_ in spoken}
    pane.set_error(np.zeros((ROWS, COLS), np.float32))
    pane.set_crosshair((3, 3), "value −2.7 %")
    pane.grab()
    said = {text for text, *_ in spoken}
    assert "value −2.7 %" in said
    assert not any(text.startswith("W ") for text in said)


def test_fairness_stands_at_the_bottom_right(pane, spoken) -> None:
    pane.set_error(np.zeros((ROWS, COLS), np.float32))
    pane.set_words(note=("Not like for like: TE +8 ms", "warn"))
    pane.grab()
    _, colour, x, middle = next(s for s in spoken if s[0].startswith("Not like"))
    assert QColor(colour) == QColor("#E3B04B")
    assert middle == 378 - 20
    assert x > 378


@pytest.mark.parametrize("width", range(330, 700, 10))
def test_the_right_letter_keeps_clear_of_the_fitted_head(pane, spoken, width: int) -> None:
    head = QRectF(1, 1, 7, 9)
    pane.set_error(np.zeros((ROWS, COLS), np.float32))
    pane.set_foreground(head)
    pane.resize(width, 364)
    pane.camera.fit(head, pane.size())
    spoken.clear()
    pane.grab()
    letter = next(x for text, _, x, _ in spoken if text == "L")
    assert letter >= pane.to_screen(head.topRight()).x()
    assert -40 <= pane.view_shift <= 0
    shift = pane.view_shift
    pane.camera.zoom_at(3, QPointF(4, 4))
    assert pane.view_shift == shift


def test_a_wide_pane_is_not_shifted(pane) -> None:
    pane.set_foreground(QRectF(1, 1, 7, 9))
    assert pane.view_shift == 0
