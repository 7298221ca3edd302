"""Icons drawn as small SVG strings and coloured by the theme.

All lie on a grid of 16 px with strokes of 1.25 px and are meant for targets of 28 px.
"""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QByteArray, QObject, QRectF, QSize, Qt
from PySide6.QtGui import QAction, QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton

from crl_viewer import theme

SIZE = 16
_RATIOS = (1.0, 2.0, 3.0)

_SHAPES: dict[str, str] = {
    "undo": '<path d="M5.5 3 3 5.5 5.5 8M3 5.5h6.2a3.6 3.6 0 0 1 0 7.2H6"/>',
    "redo": '<path d="M10.5 3 13 5.5 10.5 8M13 5.5H6.8a3.6 3.6 0 0 0 0 7.2H10"/>',
    "layout-four": '<rect x="2.5" y="2.5" width="4.5" height="4.5" rx=".8"/>'
    '<rect x="9" y="2.5" width="4.5" height="4.5" rx=".8"/>'
    '<rect x="2.5" y="9" width="4.5" height="4.5" rx=".8"/>'
    '<rect x="9" y="9" width="4.5" height="4.5" rx=".8"/>',
    "layout-main": '<rect x="2.5" y="2.5" width="6.5" height="11" rx=".8"/>'
    '<path d="M11.5 3h2M11.5 8h2M11.5 13h2"/>',
    "layout-planes": '<rect x="2.5" y="2.5" width="6" height="11" rx=".8"/>'
    '<rect x="10.5" y="2.5" width="3" height="4.5" rx=".8"/>'
    '<rect x="10.5" y="9" width="3" height="4.5" rx=".8"/>',
    "layout-one": '<rect x="2.5" y="2.5" width="11" height="11" rx="1"/>',
    "side-by-side": '<rect x="2.5" y="3" width="4.5" height="10" rx=".8"/>'
    '<rect x="9" y="3" width="4.5" height="10" rx=".8"/>',
    "curtain": '<path d="M6 3H3.5a1 1 0 0 0-1 1v8a1 1 0 0 0 1 1H6M10 3h2.5a1 1 0 0 1 1 1v8'
    'a1 1 0 0 1-1 1H10M8 1.5v13M4.5 8h1M10.5 8h1"/>',
    "blink": '<path d="M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8z"/>'
    '<circle cx="8" cy="8" r="1.9"/>',
    "lens": '<circle cx="7" cy="7" r="4.2"/><path d="m10.2 10.2 3.3 3.3"/>',
    "checker": '<rect x="2.5" y="2.5" width="6.5" height="6.5" rx=".8"/>'
    '<path d="M11 7h1.7a.8.8 0 0 1 .8.8v4.9a.8.8 0 0 1-.8.8H7.8a.8.8 0 0 1-.8-.8V11"/>',
    "crosshair": '<path d="M8 1.5v4.2M8 10.3v4.2M1.5 8h4.2M10.3 8h4.2"/>',
    "contrast": '<circle cx="8" cy="8" r="5.5"/>'
    '<path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="ink" stroke="none"/>',
    "region": '<ellipse cx="8" cy="8" rx="5.8" ry="4.2"/>',
    "link": '<path d="m6.7 9.3 2.6-2.6M7.6 4.9l1.5-1.5a2.5 2.5 0 0 1 3.5 3.5l-1.5 1.5M8.4 11.1l'
    '-1.5 1.5a2.5 2.5 0 0 1-3.5-3.5l1.5-1.5"/>',
    "export": '<path d="M8 10V2.5M5 5.2l3-2.9 3 2.9M2.8 9.5v3a1 1 0 0 0 1 1h8.4a1 1 0 0 0 1-1'
    'v-3"/>',
    "folder": '<path d="M2.5 12.2V4a.9.9 0 0 1 .9-.9h3l1.4 1.7h4.8a.9.9 0 0 1 .9.9v6.5a.9.9 0 0 1'
    '-.9.9H3.4a.9.9 0 0 1-.9-.9zM2.7 7h10.6"/>',
    "open": '<path d="M2.5 12.2V4a.9.9 0 0 1 .9-.9h3l1.4 1.7h4.8a.9.9 0 0 1 .9.9v6.5a.9.9 0 0 1'
    '-.9.9H3.4a.9.9 0 0 1-.9-.9z"/>',
    "home": '<path d="m2.5 7.8 5.5-5 5.5 5M4 6.8v6.4h8V6.8"/>',
    "fit": '<path d="M2.5 5.5v-3h3M10.5 2.5h3v3M13.5 10.5v3h-3M5.5 13.5h-3v-3"/>'
    '<ellipse cx="8" cy="8" rx="2.4" ry="2.9"/>',
    "maximise": '<path d="M9.5 2.5h4v4M13.5 2.5 9.3 6.7M6.5 13.5h-4v-4M2.5 13.5l4.2-4.2"/>',
    "restore": '<path d="M13.5 6.5h-4v-4M9.5 6.5l4.2-4.2M2.5 9.5h4v4M6.5 9.5l-4.2 4.2"/>',
    "play": '<path d="M5 3.2v9.6l7.5-4.8z" fill="ink" stroke-linejoin="round"/>',
    "pause": '<path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2"/>',
    "chevron-down": '<path d="m4 6.2 4 4 4-4"/>',
    "chevron-up": '<path d="m4 9.8 4-4 4 4"/>',
    "chevron-right": '<path d="m6.2 4 4 4-4 4"/>',
    "chevron-left": '<path d="m9.8 4-4 4 4 4"/>',
    "close": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "check": '<path d="m3 8.6 3.2 3.2L13 4.8"/>',
    "info": '<circle cx="8" cy="8" r="5.5"/><path d="M8 7.4v3.4M8 5.2v.2"/>',
    "warning": '<path d="M8 2.6 14 13H2zM8 6.4v3.2M8 11.2v.2"/>',
    "copy": '<rect x="5.5" y="5.5" width="8" height="8" rx="1"/>'
    '<path d="M3.5 10.5h-.2a.8.8 0 0 1-.8-.8V3.3a.8.8 0 0 1 .8-.8h6.4a.8.8 0 0 1 .8.8v.2"/>',
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "minus": '<path d="M3 8h10"/>',
    "invert": '<rect x="2.5" y="2.5" width="11" height="11" rx="1"/>'
    '<path d="M13 3 3 13h9.2a.8.8 0 0 0 .8-.8z" fill="ink" stroke="none"/>',
    "flip": '<path d="M8 2v12M6 5 2 11.5h4zM10 5l4 6.5h-4z"/>',
    "sliders": '<path d="M2.5 5h5M11 5h2.5M2.5 11H5M8.5 11h5"/><circle cx="9.2" cy="5" r="1.7"/>'
    '<circle cx="6.8" cy="11" r="1.7"/>',
    "settings": '<circle cx="8" cy="8" r="2"/><path d="M8 1.8v2M8 12.2v2M1.8 8h2M12.2 8h2'
    'M3.6 3.6 5 5M11 11l1.4 1.4M12.4 3.6 11 5M5 11l-1.4 1.4"/>',
    "panel": '<rect x="2.5" y="3" width="11" height="10" rx="1"/><path d="M10 3v10"/>',
    "menu": '<path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11"/>',
    "help": '<circle cx="8" cy="8" r="5.5"/><path d="M6.4 6.6a1.7 1.7 0 1 1 2.3 1.6c-.5.2-.7.5'
    '-.7 1M8 11v.2"/>',
}
_SHAPES["search"] = _SHAPES["lens"]


def names() -> tuple[str, ...]:
    """Return the names of all icons."""
    return tuple(_SHAPES)


def icon(name: str) -> QIcon:
    """Return an icon in the colours of the theme in force.

    Grey at rest, accent when on, faint when disabled. An icon holds copies of the colours: use
    `bind` for whatever outlives a change of theme.

    Raises
    ------
    KeyError
        For a name that is not in `names()`.
    """
    return _icon(name, theme.current().name)


@cache
def _icon(name: str, palette_name: str) -> QIcon:
    palette = theme.PALETTES[palette_name]
    faint = QColor(palette.text3)
    faint.setAlphaF(0.55)
    made = QIcon()
    for mode, state, colour in (
        (QIcon.Mode.Normal, QIcon.State.Off, palette.text2),
        (QIcon.Mode.Active, QIcon.State.Off, palette.text),
        (QIcon.Mode.Normal, QIcon.State.On, palette.accent),
        (QIcon.Mode.Active, QIcon.State.On, palette.accent),
        (QIcon.Mode.Disabled, QIcon.State.Off, faint),
        (QIcon.Mode.Disabled, QIcon.State.On, faint),
    ):
        for ratio in _RATIOS:
            made.addPixmap(pixmap(name, colour, ratio=ratio), mode, state)
    return made


def pixmap(name: str, colour: QColor, size: int = SIZE, ratio: float = 1.0) -> QPixmap:
    """Draw one icon in one colour at `size` logical pixels.

    Raises
    ------
    KeyError
        For a name that is not in `names()`.
    """
    return _drawn(name, colour.rgba(), size, ratio)


@cache
def _drawn(name: str, rgba: int, size: int, ratio: float) -> QPixmap:
    colour = QColor.fromRgba(rgba)
    renderer = _renderer(name, colour.name())
    drawn = QPixmap(QSize(size, size) * ratio)
    drawn.fill(Qt.GlobalColor.transparent)
    painter = QPainter(drawn)
    renderer.render(painter, QRectF(0, 0, size * ratio, size * ratio))
    painter.end()
    drawn.setDevicePixelRatio(ratio)
    if colour.alpha() < 255:
        return _faded(drawn, colour.alphaF())
    return drawn


def _renderer(name: str, ink: str) -> QSvgRenderer:
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke="{ink}" '
        'stroke-width="1.25" stroke-linecap="round" stroke-linejoin="round">'
        f'{_SHAPES[name].replace("ink", ink)}</svg>'
    )
    return QSvgRenderer(QByteArray(text.encode()))


def _faded(drawn: QPixmap, opacity: float) -> QPixmap:
    faded = QPixmap(drawn.size())
    faded.setDevicePixelRatio(drawn.devicePixelRatio())
    faded.fill(Qt.GlobalColor.transparent)
    painter = QPainter(faded)
    painter.setOpacity(opacity)
    painter.drawPixmap(0, 0, drawn)
    painter.end()
    return faded


class _Binding(QObject):
    """Keeps one icon in step with the theme; lives and dies with its target."""

    def __init__(self, target: QAction | QAbstractButton, name: str) -> None:
        super().__init__(target)
        self.name = name
        theme.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Give the target its icon in the colours of now."""
        target = self.parent()
        if isinstance(target, QAction | QAbstractButton):
            target.setIcon(icon(self.name))


def bind(target: QAction | QAbstractButton, name: str) -> None:
    """Give an action or button an icon that follows the theme; a later call replaces it."""
    for child in target.children():
        if isinstance(child, _Binding):
            child.name = name
            child.refresh()
            return
    _Binding(target, name)
