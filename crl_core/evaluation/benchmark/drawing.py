"""Pictures as PNG and drawings as SVG, written by hand: a report is one file without scripts."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crl_core.scan import FloatArray

SYNTHETIC = "SYNTHETIC"
"""Stands on every synthesised image."""

ERROR_RANGE = 0.2
"""The error, as a fraction of the peak, at which the colours of an error map end."""

Bytes = NDArray[np.uint8]


def png(pixels: Bytes) -> bytes:
    """Return a picture as a PNG file.

    Parameters
    ----------
    pixels
        (rows, columns) grey or (rows, columns, 3) colours, 0 to 255.
    """
    rows, columns = pixels.shape[:2]
    kind = 2 if pixels.ndim == 3 else 0
    # Each row begins with the number of its filter; 0 is none.
    lines = np.concatenate(
        [np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1).astype(np.uint8)], axis=1
    )
    header = struct.pack(">IIBBBBB", columns, rows, 8, kind, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def grey(image: FloatArray, top: float = 1.0) -> Bytes:
    """Return an image from black at 0 to white at `top`; what is beyond is clipped."""
    return np.asarray(np.clip(image / top, 0.0, 1.0) * 255.0 + 0.5, dtype=np.uint8)


def signed(error: FloatArray, mask: NDArray[np.bool_], top: float = ERROR_RANGE) -> Bytes:
    """Return a signed error in colours: blue is too dark, red too bright, white no error.

    Outside the mask, where nothing was judged, it is grey.
    """
    share = np.clip(error / top, -1.0, 1.0)
    red = np.where(share < 0, 1.0 + share * 0.87, 1.0 - share * 0.30)
    green = 1.0 - np.abs(share) * 0.85
    blue = np.where(share > 0, 1.0 - share * 0.85, 1.0 + share * 0.32)
    colours = np.stack([red, green, blue], axis=-1)
    colours[~mask] = 0.82
    return np.asarray(colours * 255.0 + 0.5, dtype=np.uint8)


class Drawing:
    """An SVG under construction, in pixels.

    Parameters
    ----------
    width, height
        Of the whole drawing.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []

    def add(self, tag: str, content: str = "", **attributes: Any) -> None:
        """Add an element; underscores in names of attributes stand for hyphens."""
        words = " ".join(f'{k.rstrip("_").replace("_", "-")}="{escape(_shown(v))}"'
                         for k, v in attributes.items())  # fmt: skip
        self._parts.append(f"<{tag} {words}>{content}</{tag}>" if content else f"<{tag} {words}/>")

    def text(self, x: float, y: float, words: str, size: float = 12, **attributes: Any) -> None:
        """Add a line of text."""
        self.add("text", escape(words), x=x, y=y, font_size=size, **attributes)

    def picture(self, x: float, y: float, width: float, height: float, pixels: Bytes) -> None:
        """Add a picture, its pixels as they are."""
        data = base64.b64encode(png(pixels)).decode()
        self.add("image", x=x, y=y, width=width, height=height, preserveAspectRatio="none",
                 href=f"data:image/png;base64,{data}")  # fmt: skip

    def synthetic(self, x: float, y: float, width: float) -> None:
        """Mark the picture whose upper left corner is given."""
        size = max(8.0, min(11.0, width / 12))
        self.add("rect", x=x + 3, y=y + 3, width=6.9 * size + 6, height=size + 5, fill="#000",
                 fill_opacity=0.75)  # fmt: skip
        self.text(x + 6, y + size + 3, SYNTHETIC, size, fill="#ffd54a", font_weight="bold",
                  textLength=6.9 * size)  # fmt: skip

    def svg(self, title: str) -> str:
        """Return the drawing, with a title for who cannot see it."""
        size = f'width="{self.width:.0f}" height="{self.height:.0f}"'
        box = f'viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        style = 'font-family="Helvetica, Arial, sans-serif" fill="#222"'
        body = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} {style} role="img">'
            f"<title>{escape(title)}</title>"
            f'<rect {size} fill="#fff"/>\n{body}\n</svg>\n'
        )


def colour_bar(drawing: Drawing, x: float, y: float, width: float = 160.0) -> None:
    """Draw what the colours of error maps mean."""
    ramp = np.linspace(-ERROR_RANGE, ERROR_RANGE, 81, dtype=np.float32)[None, :].repeat(8, axis=0)
    drawing.picture(x, y, width, 10, signed(ramp, np.ones(ramp.shape, bool)))
    percent = f"{100 * ERROR_RANGE:.0f} %"
    for share, words, anchor in (
        (0.0, f"-{percent}", "start"),
        (0.5, "0", "middle"),
        (1.0, f"+{percent}", "end"),
    ):
        drawing.text(x + share * width, y + 23, words, 10, text_anchor=anchor)
    drawing.text(x + width + 8, y + 9, "of the peak; blue too dark, red too bright", 10)


def ticks(low: float, high: float, among: Sequence[float]) -> list[float]:
    """Return those of some round values that lie within a range."""
    return [v for v in among if low <= v <= high]


def _shown(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
