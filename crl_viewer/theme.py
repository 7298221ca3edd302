"""Palettes, fonts and the one style sheet of the window.

Painted widgets call `current()` and `font()` while they paint, so a change of theme needs no
more than a repaint, which `apply_theme` asks for. Widgets that keep a copy of a colour connect
to `changed`. Nothing on an image depends on the theme: see `ON_IMAGE`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication

from crl_core.errors import InputError
from crl_core.resources import resource


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of the chrome, one per role; `name` is ``"dark"``, ``"light"`` or ``"reading"``.

    ``canvas`` lies behind every image, ``window`` shows in the gaps, ``panel`` carries the
    controls; ``text``, ``text2`` and ``text3`` are value, label and hint. ``accent`` means chosen
    or movable, ``warn`` extrapolating or nominal, ``bad`` impossible, ``ok`` ready, ``region_b``
    the second region of interest.
    """

    name: str
    canvas: QColor
    window: QColor
    panel: QColor
    control: QColor
    hover: QColor
    line: QColor
    text: QColor
    text2: QColor
    text3: QColor
    accent: QColor
    on_accent: QColor
    warn: QColor
    bad: QColor
    ok: QColor
    region_b: QColor


@dataclass(frozen=True, slots=True)
class ImageInk:
    """Colours of words and marks on images, the same in every theme."""

    text: QColor
    text2: QColor
    accent: QColor
    warn: QColor
    region_b: QColor
    halo: QColor


def _palette(name: str, *colours: str) -> Palette:
    return Palette(name, *(QColor(c) for c in colours))


def _dimmed(colour: QColor, ground: QColor, share: float) -> QColor:
    """Mix `share` of a colour into a ground."""

    def mixed(over: int, under: int) -> int:
        return round(over * share + under * (1 - share))

    return QColor(
        mixed(colour.red(), ground.red()),
        mixed(colour.green(), ground.green()),
        mixed(colour.blue(), ground.blue()),
    )


DARK = _palette(
    "dark", "#000000", "#101113", "#16171A", "#22242A", "#2C2F36", "#2A2C32", "#D4D6DB", "#9DA2AC",
    "#848A95", "#4DB6AC", "#0B1716", "#D9A441", "#E06C5F", "#7FA88B", "#C58AC9",
)  # fmt: skip
LIGHT = _palette(
    "light", "#000000", "#DFE1E5", "#ECEEF0", "#FAFAFB", "#E1E4E8", "#CDD1D7", "#1E2126", "#4E545E",
    "#626973", "#0B6F68", "#FFFFFF", "#8A5A00", "#B3372B", "#3C7350", "#8E3F93",
)  # fmt: skip
READING = replace(
    DARK, name="reading", text=QColor("#A9ACB2"), accent=_dimmed(DARK.accent, DARK.panel, 0.8)
)
"""Dark with quieter words, for a reading room; images are never dimmed."""

PALETTES = {p.name: p for p in (DARK, LIGHT, READING)}

ON_IMAGE = ImageInk(
    text=QColor("#C9CCD2"),
    text2=QColor("#9A9FA9"),
    accent=QColor("#4DB6AC"),
    warn=QColor("#E3B04B"),
    region_b=QColor("#D49BD8"),
    halo=QColor(0, 0, 0, 110),
)

FAMILY = "Inter"
_FONT_FILES = ("Inter-Regular.ttf", "Inter-Medium.ttf", "Inter-SemiBold.ttf")
_TABULAR = QFont.Tag("tnum")


class _State(QObject):
    """The theme in force; a QObject only so that it can signal."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.palette = DARK
        self.text_scale = 1.0
        self.family: str | None = None


_state = _State()
changed = _state.changed
"""Emitted after the palette or the text scale has changed."""


def current() -> Palette:
    """Return the palette in force."""
    return _state.palette


def text_scale() -> float:
    """Return the user's text scale, 1.0 for 100 %."""
    return _state.text_scale


def apply_theme(app: QApplication, name: str) -> None:
    """Dress the application in a theme and repaint everything.

    Parameters
    ----------
    app
        The application.
    name
        ``"dark"``, ``"light"`` or ``"reading"``.

    Raises
    ------
    KeyError
        For any other name.
    """
    palette = PALETTES[name]
    _load_fonts()
    _state.palette = palette
    if not app.styleSheet():
        app.setStyle("Fusion")
    app.setPalette(_qt_palette(palette))
    app.setFont(font(12))
    app.setStyleSheet(_style_sheet(palette))
    _state.changed.emit()
    for widget in app.allWidgets():
        widget.update()


def set_text_scale(app: QApplication, scale: float) -> None:
    """Set the size of all words, 0.8 to 1.5 of the design's; values outside are brought back."""
    _state.text_scale = min(max(scale, 0.8), 1.5)
    apply_theme(app, _state.palette.name)


def font(px: float, weight: int = 400) -> QFont:
    """Return the interface font at a size given for 100 %, with figures of equal width.

    Parameters
    ----------
    px
        Height in pixels at a text scale of 100 %.
    weight
        400, 500 or 600.
    """
    return _font(round(px * _state.text_scale), weight, _load_fonts())


@cache
def _font(px: int, weight: int, family: str) -> QFont:
    made = QFont(family)
    made.setPixelSize(max(px, 1))
    made.setWeight(QFont.Weight(weight))
    made.setFeature(_TABULAR, 1)
    made.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    return made


def _load_fonts() -> str:
    """Register the shipped font once; the system's own serves where it cannot be loaded."""
    if _state.family is None:
        family = ""
        for name in _FONT_FILES:
            try:
                number = QFontDatabase.addApplicationFont(str(resource("fonts", name)))
            except InputError:
                break
            if number >= 0:
                family = FAMILY
        _state.family = family or QApplication.font().family()
    return _state.family


def _qt_palette(p: Palette) -> QPalette:
    """Build the full Qt palette, so that Fusion draws every standard widget in our colours."""
    role = QPalette.ColorRole
    colours = {
        role.Window: p.panel,
        role.WindowText: p.text,
        role.Base: p.control,
        role.AlternateBase: p.panel,
        role.Text: p.text,
        role.Button: p.control,
        role.ButtonText: p.text,
        role.BrightText: p.bad,
        role.ToolTipBase: p.control,
        role.ToolTipText: p.text,
        role.PlaceholderText: p.text3,
        role.Highlight: p.accent,
        role.HighlightedText: p.on_accent,
        role.Accent: p.accent,
        role.Link: p.accent,
        role.LinkVisited: p.accent,
        role.Light: p.hover,
        role.Midlight: p.hover,
        role.Mid: p.line,
        role.Dark: p.line,
        role.Shadow: p.window,
    }
    palette = QPalette()
    for key, colour in colours.items():
        palette.setColor(key, colour)
    for key in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, key, _dimmed(p.text3, p.panel, 0.6))
    palette.setColor(QPalette.ColorGroup.Disabled, role.Highlight, p.line)
    return palette


def _style_sheet(p: Palette) -> str:
    """Return rules for buttons, fields, lists and scroll bars; Fusion draws the rest."""
    c = {
        "text": p.text.name(), "text2": p.text2.name(), "text3": p.text3.name(),
        "control": p.control.name(), "hover": p.hover.name(), "line": p.line.name(),
        "accent": p.accent.name(), "on_accent": p.on_accent.name(), "panel": p.panel.name(),
        "thumb": _dimmed(p.text3, p.panel, 0.5).name(),
    }  # fmt: skip
    return """
QToolButton {{ border: 1px solid transparent; border-radius: 4px; padding: 4px; color: {text2};
  background: transparent; }}
QToolButton:hover {{ background: {hover}; }}
QToolButton:checked {{ background: {control}; color: {text}; }}
QToolButton:focus {{ border-color: {accent}; }}
QToolButton::menu-indicator {{ image: none; }}
QPushButton {{ border: 1px solid transparent; border-radius: 4px; padding: 3px 10px;
  min-height: 16px; background: {control}; color: {text}; }}
QPushButton:hover {{ background: {hover}; }}
QPushButton:pressed {{ background: {line}; }}
QPushButton:disabled {{ color: {text3}; }}
QPushButton:focus {{ border-color: {accent}; }}
QPushButton[primary="true"], QPushButton:checked {{ background: {accent}; color: {on_accent}; }}
QPushButton[primary="true"]:focus {{ border-color: {text}; }}
QPushButton:flat {{ background: transparent; color: {text2}; }}
QPushButton:flat:hover {{ color: {text}; }}
QComboBox {{ border: 1px solid transparent; border-radius: 4px; padding: 3px 8px;
  min-height: 16px; background: {control}; color: {text}; }}
QComboBox:hover {{ background: {hover}; }}
QComboBox:focus {{ border-color: {accent}; }}
QLineEdit[field="true"] {{ border: 1px solid transparent; border-radius: 4px; padding: 3px 8px;
  background: {control}; color: {text}; }}
QLineEdit[field="true"]:focus {{ border-color: {accent}; }}
QListWidget {{ background: transparent; color: {text2}; outline: none; }}
QListWidget::item {{ border: 1px solid transparent; border-radius: 4px; padding-left: 8px; }}
QListWidget::item:hover {{ background: {hover}; }}
QListWidget::item:selected {{ background: {control}; color: {text}; }}
QListWidget::item:selected:focus {{ border-color: {accent}; }}
QScrollBar:vertical {{ width: 12px; background: transparent; margin: 0; }}
QScrollBar::handle:vertical {{ background: {thumb}; border-radius: 3px; margin: 0 3px;
  min-height: 32px; }}
QScrollBar::handle:vertical:hover {{ background: {text3}; }}
QScrollBar::add-line:vertical, QScrollBar::sub-line:vertical {{ height: 0; }}
QScrollBar::add-page:vertical, QScrollBar::sub-page:vertical {{ background: transparent; }}
QComboBox::drop-down {{ border: 0; width: 20px; }}
QToolTip {{ border: 1px solid {line}; padding: 4px 6px; background: {control}; color: {text}; }}
QMenuBar {{ background: {panel}; }}
""".format(**c)
