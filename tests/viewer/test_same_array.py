"""The window and the command line make the same image of the same file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from crl_core.cli import app as command_line
from crl_core.demo import real_slice
from crl_core.sequence import SequenceParameters
from crl_viewer.app import Services, Viewer

PATIENCE = 120_000
TARGETS = [SequenceParameters(5000, 25), SequenceParameters(4000, 40, 160)]


@pytest.fixture
def viewer(qtbot, themed, tmp_path: Path) -> Iterator[Viewer]:
    viewer = Viewer(themed, Services(settings_path=tmp_path / "viewer.json"))
    qtbot.addWidget(viewer.window)
    viewer.window.asks = False
    viewer.window.resize(1280, 800)
    viewer.window.show()
    viewer.start()
    yield viewer
    viewer.close()
    viewer.window.close()


def source_file() -> Path:
    """Return the file of the shipped spin echo image of TE 90 ms."""
    (scan,) = (s for s in real_slice() if s.parameters == SequenceParameters(5000, 90))
    assert scan.path is not None
    return scan.path


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_crl_synth_writes_the_array_of_the_pane(
    viewer: Viewer, qtbot, tmp_path: Path, target: SequenceParameters
) -> None:
    source = source_file()
    painted: list[SequenceParameters] = []
    pane = viewer.window.panes.synthesised

    def note() -> None:
        frame = viewer.store.state.current_frame
        if frame is not None:
            painted.append(frame.request.parameters)

    pane.painted.connect(note)
    viewer.controllers.opening.open_paths([source])
    qtbot.waitUntil(lambda: bool(painted), timeout=PATIENCE)
    viewer.controllers.parameters.moved(*target.triple)
    qtbot.waitUntil(lambda: target in painted, timeout=PATIENCE)

    out = tmp_path / "out.nii.gz"
    tr, te, ti = (f"{v:g}" for v in target.triple)
    arguments = ["synth", str(source), "--tr", tr, "--te", te, "--ti", ti, "-o", str(out)]
    done = CliRunner().invoke(command_line, arguments)
    assert done.exit_code == 0, done.output
    written = np.asarray(nib.load(out).dataobj)

    frame = viewer.store.state.current_frame
    assert frame is not None
    assert written.std() > 0.05
    np.testing.assert_array_equal(written[..., 0], frame.synthesised)
    np.testing.assert_array_equal(pane.plane.to_display(written[..., 0]), pane.image())
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert sidecar["EchoTime"] == pytest.approx(target.te / 1000)
