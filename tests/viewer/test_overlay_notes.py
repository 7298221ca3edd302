"""Where notes in the margin of an image break."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QFontMetricsF

from crl_viewer import theme
from crl_viewer.views.overlay import _wrapped

NOTE = "Not like for like: TR \u22124\u2009600, TE \u221210, TI on"


@pytest.mark.parametrize("room", [60, 100, 130, 160, 220])
def test_a_setting_is_never_torn_apart(themed, room: float) -> None:
    font = theme.font(11)
    lines = _wrapped(NOTE, font, room)
    assert " ".join(lines) == NOTE
    for setting in ("TR \u22124\u2009600,", "TE \u221210,", "TI on"):
        assert sum(setting in line for line in lines) == 1
    wide = [line for line in lines if QFontMetricsF(font).horizontalAdvance(line) > room]
    assert all(line.count(" ") <= 1 for line in wide)
