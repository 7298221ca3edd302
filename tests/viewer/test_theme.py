from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtGui import QAction, QColor, QFontInfo, QFontMetricsF, QPalette
from PySide6.QtWidgets import QPushButton, QWidget

from crl_core.errors import InputError
from crl_viewer import icons, theme


def luminance(colour: QColor) -> float:
    c = np.array(colour.getRgbF()[:3])
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: QColor, b: QColor) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", theme.PALETTES.values(), ids=lambda p: p.name)
def test_every_word_can_be_read(palette: theme.Palette) -> None:
    inks = (palette.text, palette.text2, palette.text3, palette.accent, palette.warn, palette.bad)
    for ink in inks:
        assert contrast(ink, palette.panel) >= 4.5
    assert contrast(palette.on_accent, palette.accent) >= 4.5
    assert contrast(palette.text, palette.control) >= 4.5
    assert palette.canvas == QColor("#000000")


def test_words_on_images_can_be_read() -> None:
    ink = theme.ON_IMAGE
    for colour in (ink.text, ink.text2, ink.accent, ink.warn, ink.region_b):
        assert contrast(colour, QColor("#000000")) >= 4.5


def test_a_change_of_theme_reaches_palette_and_listeners(themed) -> None:
    heard: list[str] = []
    listener = theme.changed.connect(lambda: heard.append(theme.current().name))
    theme.apply_theme(themed, "light")
    theme.changed.disconnect(listener)
    assert heard == ["light"]
    assert theme.current() is theme.LIGHT
    assert themed.palette().color(QPalette.ColorRole.Window) == theme.LIGHT.panel
    assert themed.palette().color(QPalette.ColorRole.Highlight) == theme.LIGHT.accent
    assert theme.LIGHT.control.name() in themed.styleSheet()


def test_an_unknown_theme_changes_nothing(themed) -> None:
    with pytest.raises(KeyError):
        theme.apply_theme(themed, "sepia")
    assert theme.current() is theme.DARK


@pytest.mark.parametrize("weight", [400, 500, 600])
def test_figures_are_equally_wide(themed, weight: int) -> None:
    metrics = QFontMetricsF(theme.font(12, weight))
    widths = [metrics.horizontalAdvance(figure) for figure in "0123456789"]
    assert max(widths) - min(widths) < 0.05


def test_the_shipped_font_is_used(themed) -> None:
    assert QFontInfo(theme.font(12)).family() == theme.FAMILY
    assert theme.font(12, 600).weight() == 600
    assert themed.font().family() == theme.FAMILY


def test_without_the_font_file_the_system_font_serves(themed, monkeypatch) -> None:
    def missing(*parts: str):
        raise InputError("a file shipped with the program is missing")

    monkeypatch.setattr(theme, "resource", missing)
    monkeypatch.setattr(theme._state, "family", None)
    themed.setFont("Sans Serif")
    assert theme.font(12).family() == "Sans Serif"


def test_text_scale_stays_within_its_bounds(themed) -> None:
    theme.set_text_scale(themed, 1.25)
    assert theme.font(12).pixelSize() == 15
    theme.set_text_scale(themed, 9)
    assert theme.text_scale() == 1.5
    theme.set_text_scale(themed, 0.1)
    assert theme.text_scale() == 0.8


@pytest.mark.parametrize("name", icons.names())
def test_every_icon_has_ink_and_fits_its_square(themed, name: str) -> None:
    image = icons.pixmap(name, QColor("#ffffff"), ratio=4.0).toImage()
    alpha = np.array(
        [[image.pixelColor(x, y).alpha() for x in range(64)] for y in range(64)], dtype=int
    )
    assert (alpha > 128).sum() > 40
    assert alpha[0].max() == alpha[-1].max() == alpha[:, 0].max() == alpha[:, -1].max() == 0


def test_an_unknown_icon_is_refused(themed) -> None:
    with pytest.raises(KeyError):
        icons.icon("unicorn")


def darkest(action: QAction) -> int:
    image = action.icon().pixmap(16, 16).toImage()
    inked = [
        image.pixelColor(x, y)
        for x in range(16)
        for y in range(16)
        if image.pixelColor(x, y).alpha() > 200
    ]
    return min(c.lightness() for c in inked)


def test_a_bound_icon_follows_the_theme(themed, qtbot) -> None:
    action = QAction()
    icons.bind(action, "link")
    dark = darkest(action)
    theme.apply_theme(themed, "light")
    light = darkest(action)
    assert dark > 128 > light
    icons.bind(action, "layout-one")
    assert len(action.children()) == 1


def test_a_bound_icon_dies_with_its_button(themed, qtbot) -> None:
    host = QWidget()
    qtbot.addWidget(host)
    button = QPushButton(host)
    icons.bind(button, "play")
    button.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    theme.apply_theme(themed, "light")
    assert theme.current() is theme.LIGHT
