"""The whole program from the command line, with the shipped network and demos."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QImage

from crl_core import demo
from crl_core.geometry import SlicePlane
from crl_core.io import save
from crl_core.scan import Scan
from crl_viewer.app import DEMOS
from crl_viewer.workers.thumbnails import thumbnails
from tests.viewer.fakes import make_scan

ROOT = Path(__file__).parents[2]
LIMIT_S = 240


def run(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the viewer without a display and with an empty home."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "APPDATA": str(home)}
    if not sys.platform.startswith("linux"):
        environment["QT_QPA_PLATFORM"] = "offscreen"
    return subprocess.run(
        [sys.executable, "-m", "crl_viewer", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def grey(path: Path) -> np.ndarray:
    """Return a picture as brightness, (rows, columns)."""
    image = QImage(str(path)).convertToFormat(QImage.Format.Format_Grayscale8)
    rows, line = image.height(), image.bytesPerLine()
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(rows, line)
    return pixels[:, : image.width()].astype(float)


def quadrants(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Cut the four panes of a 1280x800 window without their rims."""
    areas = picture[40:776, :944]
    half = (areas.shape[0] // 2, areas.shape[1] // 2)
    top, bottom = areas[: half[0]], areas[half[0] : 2 * half[0]]
    panes = {
        "source": top[:, : half[1]],
        "synthesised": top[:, half[1] :],
        "acquired": bottom[:, : half[1]],
        "error": bottom[:, half[1] :],
    }
    return {name: pane[60:-60, 90:-90] for name, pane in panes.items()}


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of two pictures over their common size."""
    rows, cols = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    return float(np.corrcoef(a[:rows, :cols].ravel(), b[:rows, :cols].ravel())[0, 1])


@pytest.mark.parametrize("name", ["real", "digital"])
def test_a_demo_makes_a_picture_of_four_panes(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out.png"
    done = run("--demo", name, "--screenshot", out, "--size", "1280x800", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    picture = grey(out)
    assert picture.shape == (800, 1280)
    # The next window on a display is not as small as what a picture was taken of.
    assert not list(tmp_path.rglob("viewer.json"))
    panes = quadrants(picture)
    for role, pane in panes.items():
        assert pane.std() > 10, role
    # The synthesised pane holds the same head as the acquired one, in much the same contrast.
    assert alike(panes["synthesised"], panes["acquired"]) > 0.6


def test_a_missing_file_is_one_line_and_code_1(tmp_path: Path) -> None:
    done = run("no-such.nii.gz", "--screenshot", tmp_path / "out.png", home=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "no-such.nii.gz" in line
    assert not (tmp_path / "out.png").exists()


def test_a_file_without_parameters_is_refused_until_they_are_given(tmp_path: Path) -> None:
    bare = tmp_path / "bare.nii"
    save(make_scan("bare", None, shape=(48, 56, 3)), bare)
    out = tmp_path / "out.png"
    done = run(bare, "--screenshot", out, home=tmp_path)
    assert done.returncode == 1
    assert "--source-params" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    done = run(bare, "--source-params", "5000,10", "--screenshot", out, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert out.exists()


class _Trap:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path(os.environ["CRL_TEST_TRAP"]),))


def test_a_checkpoint_with_code_is_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = tmp_path / "touched"
    monkeypatch.setenv("CRL_TEST_TRAP", str(touched))
    trap = tmp_path / "trap.pth"
    trap.write_bytes(pickle.dumps(_Trap()))
    out = tmp_path / "out.png"
    done = run("--demo", "--checkpoint", trap, "--screenshot", out, home=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "trap.pth" in line
    assert not touched.exists()
    assert not out.exists()


def test_the_window_starts_without_torch() -> None:
    code = "import sys, crl_viewer.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("make", DEMOS.values(), ids=DEMOS)
def test_demo_cards_show_the_head_upright(make) -> None:
    pictures = thumbnails(make)
    assert len(pictures) == 3
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape[0] > picture.shape[1]
        assert picture.std() > 20


def test_every_demo_scan_can_be_shown_and_compared() -> None:
    for scans in (demo.real_slice(), demo.digital_subject()):
        first: Scan = scans[0]
        for scan in scans:
            assert scan.parameters is not None
            assert scan.same_grid(first)
            SlicePlane(scan.affine, scan.shape, scan.slice_axis, scan.orientation_stated)
