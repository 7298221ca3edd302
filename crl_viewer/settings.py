"""What the window remembers between two runs: one small JSON file.

A file that is missing, damaged or from another version never keeps the program from starting:
each value that cannot be used falls back to its default. Of what was opened only the paths the
user chose are kept, with the keys of the series opened there, never anything out of a scan.
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
MAX_RUNS = 20


SIZE_RANGE = (320, 8000)
"""What a remembered width or height of a window may be, pixels."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Something opened before.

    Parameters
    ----------
    path
        File, folder or archive.
    series
        Keys of the series that were opened from it; none for a NIfTI file.
    """

    path: str
    series: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Remembered choices.

    Parameters
    ----------
    theme
        ``"dark"`` or ``"light"``.
    recent
        What was opened last, newest first.
    geometry
        Size and place of the window as Qt writes it, base64.
    error_limit
        Half width of the error scale, percent.
    gain_matching
        Whether the error map is made after one gain.
    chooser
        Width and height of the chooser of scans as it was last left, pixels.
    training
        The same of the training dialog.
    runs
        Folders of the training runs opened last, newest first.
    """

    theme: str = "dark"
    recent: tuple[Recent, ...] = ()
    geometry: str = ""
    error_limit: int = 10
    gain_matching: bool = False
    chooser: tuple[int, int] | None = None
    training: tuple[int, int] | None = None
    runs: tuple[str, ...] = ()

    def with_recent(self, *opened: Recent) -> Settings:
        """Return the settings with what was just opened in front, the last of it first."""
        recent = self.recent
        for new in opened:
            recent = (new, *(r for r in recent if r != new))
        return replace(self, recent=recent[:MAX_RECENT])

    def with_run(self, folder: str) -> Settings:
        """Return the settings with a training run in front."""
        runs = (folder, *(r for r in self.runs if r != folder))
        return replace(self, runs=runs[:MAX_RUNS])


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
            entries = [_recent(v) for v in value] if isinstance(value, list) else []
            return tuple(r for r in entries if r is not None)[:MAX_RECENT]
        case "runs":
            texts = [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
            return tuple(texts)[:MAX_RUNS]
        case "chooser" | "training":
            low, high = SIZE_RANGE
            pair = isinstance(value, list) and len(value) == 2
            fits = pair and all(type(v) is int and low <= v <= high for v in value)
            return (value[0], value[1]) if fits else None
        case "error_limit":
            return value if value in (5, 10, 20) and not isinstance(value, bool) else None
        case "gain_matching":
            return value if isinstance(value, bool) else None
        case _:
            return value if isinstance(value, str) else None


def _recent(value: Any) -> Recent | None:
    """Return one recent entry; a plain path is what older versions wrote."""
    if isinstance(value, str):
        return Recent(value)
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        return None
    keys = value.get("series", [])
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        return None
    return Recent(value["path"], tuple(keys))
