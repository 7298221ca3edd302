"""The arrows between the rooms, and what may be loaded when.

The walls are checked on the import statements themselves, wherever they stand in a file and
whether or not they run. What a running program loads is checked in fresh processes.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(importlib.util.find_spec("crl_core").origin).parents[1]

QT = ("PySide6", "shiboken6", "PyQt5", "PyQt6", "qtpy", "pyqtgraph", "superqt")

WALLS = {
    "crl_core": (*QT, "crl_viewer"),
    "crl_viewer.views": ("crl_viewer.app", "crl_viewer.controllers", "crl_viewer.workers"),
    "crl_viewer.state": (
        *QT,
        "crl_viewer.app",
        "crl_viewer.controllers",
        "crl_viewer.workers",
        "crl_viewer.views",
    ),
    "crl_viewer.workers": ("crl_viewer.app", "crl_viewer.controllers", "crl_viewer.views"),
    "crl_viewer.controllers": ("crl_viewer.app", "crl_viewer.views"),
    "crl_viewer": ("torch", "scipy", "nibabel", "safetensors"),
}
"""For each package, what nothing in it may import."""

GATES = {"crl_viewer.controllers": ("crl_viewer.views.bases",)}
"""What may be imported all the same: controllers know views only by what they promise."""

TORCH_AT_THE_TOP = ("crl_core.models", "crl_core.synthesis", "crl_core.training")
"""The packages that are imported only once a network is needed."""


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    folder = ROOT.joinpath(*package.split("."))
    for path in sorted(folder.rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join(parts), path


def _imports(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of everything a source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                up = node.level - 1 if is_package else node.level
                parts = parts[: len(parts) - up]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _breaches(
    module: str,
    source: str,
    forbidden: tuple[str, ...],
    *,
    is_package: bool = False,
    allowed: tuple[str, ...] = (),
) -> list[str]:
    return [
        f"{module}:{line} imports {name}"
        for line, name in _imports(source, module, is_package)
        if any(_within(name, wall) for wall in forbidden)
        and not any(_within(name, gate) for gate in allowed)
    ]


@pytest.mark.parametrize("package", WALLS)
def test_no_import_crosses_a_wall(package: str) -> None:
    modules = list(_modules(package))
    assert modules, f"{package} holds no modules"
    found = [
        breach
        for module, path in modules
        for breach in _breaches(
            module,
            path.read_text("utf-8"),
            WALLS[package],
            is_package=path.name == "__init__.py",
            allowed=GATES.get(package, ()),
        )
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import crl_viewer.controllers.loading", True),
        ("from crl_viewer import controllers", True),
        ("from crl_viewer.controllers import loading as later", True),
        ("def f():\n    from ..controllers.loading import Loading", True),
        ("if TYPE_CHECKING:\n    from .. import controllers", True),
        ("from crl_viewer.state import model", False),
        ("import crl_viewer.controllers_of_nothing", False),
        ("text = 'import crl_viewer.controllers'", False),
        ("from .pane import ImagePane", False),
    ],
)
def test_the_check_sees_every_way_to_import(source: str, expected: bool) -> None:
    found = _breaches("crl_viewer.views.pane", source, ("crl_viewer.controllers",))
    assert bool(found) is expected


def test_a_gate_lets_one_module_through_a_wall() -> None:
    source = "from crl_viewer.views import bases\nfrom crl_viewer.views.pane import ImagePane"
    found = _breaches(
        "crl_viewer.controllers.display",
        source,
        WALLS["crl_viewer.controllers"],
        allowed=GATES["crl_viewer.controllers"],
    )
    assert found == ["crl_viewer.controllers.display:2 imports crl_viewer.views.pane.ImagePane"]


def test_relative_imports_of_a_package_start_at_the_package() -> None:
    found = list(_imports("from .a import b\nfrom .. import c", "crl_viewer.views", True))
    assert [name for _, name in found] == ["crl_viewer.views.a.b", "crl_viewer.c"]


def _run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module", ["crl_core", "crl_core.cli", "crl_core.io", "crl_viewer", "crl_viewer.app"]
)
def test_importing_the_entry_points_loads_no_torch(module: str) -> None:
    assert _run(f"import sys, {module}; print('torch' in sys.modules)") == "False\n"


def test_no_module_outside_the_networks_loads_torch() -> None:
    names = [
        name
        for package in ("crl_core", "crl_viewer")
        for name, _ in _modules(package)
        if not name.endswith("__main__") and not any(_within(name, p) for p in TORCH_AT_THE_TOP)
    ]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
        "print(len(sys.modules))\n"
    )
    assert int(_run(script)) > len(names)


def test_the_core_runs_without_qt() -> None:
    names = [name for name, _ in _modules("crl_core") if not name.endswith("__main__")]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"print(sorted(set({QT!r}) & set(sys.modules)))\n"
    )
    assert _run(script) == "[]\n"


def test_asking_for_help_loads_no_torch() -> None:
    script = (
        "import sys\n"
        "from crl_core.cli import main\n"
        "sys.argv = ['crl', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert "synth" in _run(script)
