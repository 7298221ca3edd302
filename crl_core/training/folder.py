"""The folder of a run: what lies in it, who owns it, and how others talk to the run.

Nothing here needs torch, so a window can follow and steer a run without it.

    config.json          the settings            data.json      what it learns from
    environment.json     versions and hardware   events.jsonl   everything told, a line each
    last.safetensors     the state to go on from
    best.safetensors     the best network so far, complete with its card
    model.safetensors    the finished network
    previews/            the fixed validation slices as they looked at some steps
    lock, command.json   who runs it, and what it is asked to do
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from crl_core.errors import CRLError, InputError, OutputError
from crl_core.io.atomic import TEMPORARY, atomic_path
from crl_core.training.events import Event, from_line, to_line

Command = Literal["pause", "continue", "stop", "finish"]
COMMANDS: tuple[str, ...] = get_args(Command)

CONFIG, DATA, ENVIRONMENT = "config.json", "data.json", "environment.json"
EVENTS, STATE = "events.jsonl", "last.safetensors"
BEST, MODEL = "best.safetensors", "model.safetensors"
PREVIEWS = "previews"
_LOCK, _COMMAND = "lock", "command.json"

_GONE = "the folder of the run is gone"

_TAIL = 20_000
"""So many bytes of the log hold its last line."""


class RunFolder:
    """One run on disk.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._unwritten: list[str] = []
        self._lock: tuple[int, int] | None = None
        self._obeyed: int | None = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def exists(self) -> bool:
        """Whether a run lies here."""
        return (self / CONFIG).is_file()

    def check_free(self) -> None:
        """Refuse a folder that holds anything.

        Raises
        ------
        OutputError
            Naming it; nothing in it was touched.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputError("is a file, not a folder", path=self.path, remedy="Name a new folder")
        try:
            used = self.path.exists() and not all(_leftover(p) for p in self.path.iterdir())
        except OSError as error:
            raise _refused(self.path, error) from error
        if used:
            raise OutputError(
                "the folder is not empty",
                path=self.path,
                remedy="Name a new folder, or give --resume to go on with the run in it",
            )

    def check_run(self) -> None:
        """Refuse a folder that holds no run.

        Raises
        ------
        InputError
            Naming it.
        """
        if not self.exists:
            raise InputError(
                "holds no training run", path=self.path, remedy="Name the folder given with -o"
            )

    # who runs it -------------------------------------------------------------------------------

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the run; the system lets go when the process dies, however it dies.

        Raises
        ------
        OutputError
            When another process runs it.
        """
        # Others take the lock for an instant to see whether anybody holds it.
        lock = FileLock(self / _LOCK, timeout=1.0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            self._lock = _identity(self / _LOCK)
        except Timeout:
            raise OutputError(
                "is being trained by another process",
                path=self.path,
                remedy="Stop that one first, with crl train --stop -o RUN",
            ) from None
        except OSError as error:
            raise _refused(self.path, error) from error
        try:
            yield
        finally:
            self._lock = None
            lock.release()

    def check_here(self) -> None:
        """Refuse to write where the owned folder no longer is.

        It may have been moved, or deleted and made anew by another run; nothing of this one may
        appear there.

        Raises
        ------
        OutputError
            Naming it.
        """
        if self._lock is not None and _identity(self / _LOCK) != self._lock:
            raise OutputError(_GONE, path=self.path, remedy="Put it back where it was")

    def alive(self) -> bool:
        """Return whether a process is at work here."""
        if not (self / _LOCK).exists():
            return False
        probe = FileLock(self / _LOCK, timeout=0)
        try:
            probe.acquire()
        except (Timeout, OSError):
            return True
        probe.release()
        return False

    def tidy(self) -> None:
        """Clear away what a killed process left: unfinished files, a torn line, an old command.

        To be called by the owner only.

        Raises
        ------
        OutputError
            When the folder cannot be written.
        """
        try:
            self._tidy()
        except OSError as error:
            raise _refused(self.path, error) from error

    def _tidy(self) -> None:
        for folder in (self.path, self / PREVIEWS):
            for leftover in folder.glob(f"{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)
        (self / _COMMAND).unlink(missing_ok=True)
        log = self / EVENTS
        if log.exists():
            with log.open("rb+") as stream:
                text = stream.read()
                if text and not text.endswith(b"\n"):
                    stream.truncate(text.rfind(b"\n") + 1)

    # the log -----------------------------------------------------------------------------------

    def log(self, event: Event) -> str:
        """Append an event; returns why that was impossible, or an empty text.

        A full disk must not end a run: what could not be written is written with the next.
        """
        self._unwritten.append(to_line(event, time.time()) + "\n")
        if self._lock is not None and _identity(self / _LOCK) != self._lock:
            return _GONE
        try:
            number = os.open(self / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            return error.strerror or type(error).__name__
        try:
            before = os.fstat(number).st_size
            data = "".join(self._unwritten).encode()
            if os.write(number, data) < len(data):
                os.ftruncate(number, before)
                return "no space left"
        except OSError as error:
            return error.strerror or type(error).__name__
        finally:
            os.close(number)
        self._unwritten.clear()
        return ""

    # steering ----------------------------------------------------------------------------------

    def last_told(self) -> Event | None:
        """Return the last event in the log, from its end alone; None where there is none."""
        try:
            with (self / EVENTS).open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
                lines = stream.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return None
        # What comes after the last line end is not complete yet.
        found = from_line(lines[-2]) if len(lines) > 1 else None
        return None if found is None else found[1]

    def send(self, command: Command) -> None:
        """Ask the run to do something; it looks after every step.

        Raises
        ------
        InputError
            When no process is at work here.
        """
        self.check_run()
        if not self.alive():
            raise InputError(
                "is not being trained now", path=self.path, remedy="Go on with it with --resume"
            )
        with atomic_path(self / _COMMAND, overwrite=True) as temporary:
            temporary.write_text(json.dumps({"command": command}), encoding="utf-8")

    def take_command(self) -> Command | None:
        """Return what the run was asked to do since the last look, once."""
        path = self / _COMMAND
        try:
            if path.stat().st_mtime_ns == self._obeyed:
                return None  # it could not be taken away
            found = json.loads(path.read_text(encoding="utf-8"))["command"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            found = None
        try:
            path.unlink(missing_ok=True)
        except OSError:
            with suppress(OSError):
                self._obeyed = path.stat().st_mtime_ns
        return found if found in COMMANDS else None

    # what others read --------------------------------------------------------------------------

    def newest_network(self) -> Path | None:
        """Return the file that holds the network as it is now: finished, else as last saved."""
        for name in (MODEL, STATE, BEST):
            if (self / name).is_file():
                return self / name
        return None

    def preview_steps(self) -> list[int]:
        """Return the steps whose previews lie here, ascending."""
        names = (p.stem for p in (self / PREVIEWS).glob("*.npz") if p.stem.isdigit())
        return sorted(int(name) for name in names)

    def preview_path(self, step: int) -> Path:
        """Return where the preview of a step lies."""
        return self / PREVIEWS / f"{step:08d}.npz"

    def read_json(self, name: str) -> dict[str, Any]:
        """Read one of the JSON files; empty where there is none.

        Raises
        ------
        InputError
            When it is damaged.
        """
        from crl_core.io.bids import read_json

        return read_json(self / name) if (self / name).is_file() else {}


class Log:
    """Reads the log of a run as it grows.

    Parameters
    ----------
    folder
        The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder / EVENTS
        self._at = 0

    def poll(self) -> list[tuple[float, Event]]:
        """Return (time, event) of every complete line that came since the last look."""
        try:
            with self._path.open("rb") as stream:
                if os.fstat(stream.fileno()).st_size < self._at:
                    self._at = 0  # another run under the same name
                stream.seek(self._at)
                data = stream.read()
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        self._at += end
        # Not splitlines: a text may hold one of the rarer line ends as it is.
        lines = data[:end].decode("utf-8", "replace").split("\n")
        return [found for line in lines if (found := from_line(line)) is not None]


def _leftover(path: Path) -> bool:
    """Return whether a run that was killed before it began left this behind."""
    return path.name in (_LOCK, DATA, ENVIRONMENT) or path.name.startswith(TEMPORARY)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot be used ({error.strerror or type(error).__name__})",
        path=path,
        remedy="Check the folder and its permissions",
    )


def is_run(path: str | Path) -> bool:
    """Return whether a folder holds a run."""
    try:
        return RunFolder(path).exists
    except (OSError, CRLError):
        return False
