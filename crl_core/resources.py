"""Where the data shipped with the program lies.

In a source checkout that is the folder ``resources/`` beside the packages; in an installed
wheel the same files lie inside this package, so that no top-level module named
``resources`` is ever installed.
"""

from __future__ import annotations

from pathlib import Path

from crl_core.errors import InputError

_PACKAGED = Path(__file__).parent / "_resources"
_CHECKOUT = Path(__file__).parent.parent / "resources"


def resource_root() -> Path:
    """Return the folder that holds ``checkpoints/``, ``demo/`` and the rest."""
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / "demo").is_dir():
            return folder
    raise InputError(
        "the program's own data are missing", path=_PACKAGED, remedy="Install the program again"
    )


def resource(*parts: str) -> Path:
    """Return the path of one shipped file, or raise `InputError` when it is not there."""
    path = resource_root().joinpath(*parts)
    if not path.exists():
        raise InputError(
            "a file shipped with the program is missing",
            path=path,
            remedy="Install the program again",
        )
    return path
