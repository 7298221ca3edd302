"""What the window remembers between two runs: one small JSON file.

A file that is missing, damaged or from another version never keeps the program from starting:
each value that cannot be used falls back to its default. Only paths of recent files are kept,
never anything out of a scan.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from crl_core.errors import OutputError
from crl_core.io.atomic import atomic_path

log = logging.getLogger(__name__)

MAX_RECENT = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """Remembered choices.

    Parameters
    ----------
    theme
        ``"dark"`` or ``"light"``.
    recent
        Paths of files opened last, newest first.
    geometry
        Size and place of the window as Qt writes it, base64.
    error_limit
        Half width of the error scale, percent.
    gain_matching
        Whether the error map is made after one gain.
    """

    theme: str = "dark"
    recent: tuple[str, ...] = ()
    geometry: str = ""
    error_limit: int = 10
    gain_matching: bool = False

    def with_recent(self, path: Path) -> Settings:
        """Return the settings with `path` as the newest file."""
        new = str(path.absolute())
        rest = [p for p in self.recent if p != new]
        return replace(self, recent=(new, *rest)[:MAX_RECENT])


def settings_path() -> Path:
    """Return where the settings lie for this user."""
    return user_config_path("crl-explorer", appauthor=False) / "viewer.json"


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings; whatever cannot be used is the default."""
    path = path or settings_path()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, RecursionError) as error:
        log.warning("settings not read: %s", type(error).__name__)
        return Settings()
    if not isinstance(found, dict):
        return Settings()
    usable = {
        f.name: _checked(f.name, found[f.name]) for f in fields(Settings) if f.name in found
    }
    return Settings(**{name: value for name, value in usable.items() if value is not None})


def save_settings(settings: Settings, path: Path | None = None) -> None:
    """Write the settings; a disk that is full or read-only is not worth an error."""
    path = path or settings_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, overwrite=True) as part:
            part.write_text(json.dumps(asdict(settings), indent=1), encoding="utf-8")
    except (OSError, OutputError) as error:
        log.warning("settings not written: %s", type(error).__name__)


def _checked(name: str, value: Any) -> Any:
    """Return a value fit for the field, or None."""
    match name:
        case "theme":
            return value if value in ("dark", "light") else None
        case "recent":
            usable = isinstance(value, list) and all(isinstance(p, str) for p in value)
            return tuple(value)[:MAX_RECENT] if usable else None
        case "error_limit":
            return value if value in (5, 10, 20) and not isinstance(value, bool) else None
        case "gain_matching":
            return value if isinstance(value, bool) else None
        case _:
            return value if isinstance(value, str) else None
