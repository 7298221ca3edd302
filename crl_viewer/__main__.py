"""The command ``crl-viewer``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from crl_core import __version__
from crl_core.errors import CRLError
from crl_core.sequence import SequenceParameters, parse_parameters


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="crl-viewer",
        description="Move TR, TE and TI of a fast spin echo scan and see the contrast change.",
    )
    made.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="NIfTI or DICOM files, folders, zip archives or a BIDS dataset to open",
    )
    made.add_argument(
        "--series",
        action="append",
        default=[],
        metavar="K",
        help="open this series of a DICOM folder or archive without asking; may be repeated",
    )
    made.add_argument(
        "--demo",
        nargs="?",
        const="real",
        choices=("real", "digital"),
        help="open a demo instead (real by default)",
    )
    made.add_argument("--checkpoint", type=Path, metavar="C", help="network to use")
    made.add_argument(
        "--screenshot", type=Path, metavar="OUT.png", help="save a picture and end"
    )
    made.add_argument("--size", type=_size, metavar="WxH", help="size of the window, pixels")
    made.add_argument("--theme", choices=("dark", "light"), help="surroundings of the images")
    made.add_argument(
        "--source-params",
        action="append",
        type=_parameters,
        default=[],
        metavar="TR,TE,TI",
        help="in ms, once per file in order (of one folder: once per scan), for scans that carry "
        "none",
    )
    made.add_argument("--version", action="version", version=f"crl-viewer {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the window; return the exit code."""
    options = parser().parse_args(arguments)
    if options.screenshot is not None and _no_display():
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from crl_viewer.run import run

    return run(options)


def _no_display() -> bool:
    linux = sys.platform.startswith("linux")
    return linux and not any(os.environ.get(k) for k in ("DISPLAY", "WAYLAND_DISPLAY"))


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT, as in 1440x900")
    size = (int(width), int(height))
    if not all(200 <= n <= 16_000 for n in size):
        raise argparse.ArgumentTypeError(f"'{text}' lies outside 200x200 to 16000x16000")
    return size


def _parameters(text: str) -> SequenceParameters:
    try:
        return parse_parameters(text)
    except CRLError as refusal:
        raise argparse.ArgumentTypeError(str(refusal)) from None


if __name__ == "__main__":
    sys.exit(main())
