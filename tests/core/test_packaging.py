"""What users install: the wheel, its data and its promises."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]

APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of the licence text as published at apache.org/licenses/LICENSE-2.0.txt."""

DEMO = """
import json
import crl_core
from crl_core import demo
from crl_core.resources import resource_root
print(json.dumps({
    "code": crl_core.__file__,
    "data": str(resource_root()),
    "slices": [s.name for s in demo.real_slice()],
    "volumes": [list(s.shape) for s in demo.digital_subject()],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel the way pip does, with the backend of this environment."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*build, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[PurePosixPath]:
    with zipfile.ZipFile(wheel) as archive:
        return {PurePosixPath(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with nothing but the wheel installed in it."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target"]
    done = subprocess.run(
        [*pip, str(target), str(wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_wheel_installs_two_packages_and_nothing_else_on_top(names: set[PurePosixPath]) -> None:
    tops = {name.parts[0] for name in names}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert tops - info == {"crl_core", "crl_viewer"}
    assert len(info) == 1
    assert not any("tests" in name.parts for name in names)


def test_every_resource_lies_inside_the_package(names: set[PurePosixPath]) -> None:
    here = {
        PurePosixPath("crl_core/_resources") / p.relative_to(ROOT / "resources").as_posix()
        for p in (ROOT / "resources").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    shipped = {name for name in names if name.parts[:2] == ("crl_core", "_resources")}
    assert len(here) > 40
    assert shipped == here


def test_every_module_is_in_the_wheel(names: set[PurePosixPath]) -> None:
    here = {
        PurePosixPath(p.relative_to(ROOT).as_posix())
        for package in ("crl_core", "crl_viewer")
        for p in (ROOT / package).rglob("*.py")
    }
    assert here <= names


def test_demo_starts_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """Code and data must both come from the installation: the checkout is out of reach."""
    done = subprocess.run(
        [sys.executable, "-c", DEMO],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["code"]).is_relative_to(installed)
    assert Path(found["data"]) == installed / "crl_core" / "_resources"
    assert len(found["slices"]) == 12
    assert found["volumes"] == [[168, 200, 22]] * 10


def test_commands_are_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        text = archive.read(entry).decode()
    assert "crl = crl_core.cli:main" in text
    assert "crl-viewer = crl_viewer.__main__:main" in text


def test_metadata_carries_licence_and_pins(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(entry).decode())
        licence = archive.read(entry.replace("METADATA", "licenses/LICENSE"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert hashlib.sha256(licence).hexdigest() == APACHE_2
    assert SpecifierSet(metadata["Requires-Python"]) == SpecifierSet(">=3.11")
    needed = {
        r.name.lower(): r.specifier for r in map(Requirement, metadata.get_all("Requires-Dist"))
    }
    assert needed["torch"] == SpecifierSet(">=2.11,<2.14")
    assert needed["pyside6-essentials"] == SpecifierSet(">=6.10,<6.12")
    assert needed["pyqtgraph"] == SpecifierSet(">=0.14")


def test_pyside_that_aborts_is_refused() -> None:
    """6.12.0 kills the interpreter on Python 3.11; see tests/viewer/test_qt_sanity.py."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pin,) = (Requirement(d) for d in project["dependencies"] if d.startswith("PySide6"))
    assert "6.12.0" not in pin.specifier
    assert "6.11.3" in pin.specifier


def test_readme_names_exactly_one_test_command() -> None:
    """`.ci/run` takes its command from the README, so there must be no doubt which it is."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|powershell)\n(.*?)```", readme, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    unix = [line for line in lines if "bin/python -m pytest" in line]
    assert len(unix) == 1
    assert unix[0].startswith("python3 -m venv .venv && ")
    assert sum("crl-viewer --demo" in line for line in lines) == 2
