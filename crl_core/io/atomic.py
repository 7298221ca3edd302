"""Files that appear complete or not at all.

A result is written beside its final place under another name, flushed to the disk and then
renamed, so that neither a full disk nor a crash leaves half a file under the right name. The folder
is flushed too: after a power cut the new name is there.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crl_core.errors import OutputError

TEMPORARY = ".crl-"
"""How the names of unfinished files and folders begin."""

_COMPOUND = (".nii.gz", ".tar.gz")


def check_writable(path: str | Path, *, overwrite: bool = False) -> Path:
    """Return `path` when a file may be written there.

    Raises
    ------
    OutputError
        When it is a folder, or exists and `overwrite` is False.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError("is a folder, not a file", path=target, remedy="Name a file inside it")
    if target.exists() and not overwrite:
        raise OutputError(
            "already exists", path=target, remedy="Choose another name, or allow overwriting"
        )
    return target


@contextmanager
def atomic_path(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path in the same folder that takes the name `path` at the end.

    The temporary name keeps the ending (``.nii.gz`` included), because writers choose the
    format by it. Missing folders are made. When the body raises, nothing is left behind and
    an older file of that name stays as it was.

    Raises
    ------
    OutputError
        When the target exists and `overwrite` is False, or when the disk refuses.
    """
    target = check_writable(path, overwrite=overwrite)
    ending = next((e for e in _COMPOUND if target.name.lower().endswith(e)), target.suffix)
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}{ending}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush_to_disk(temporary)
        _open_to_colleagues(temporary)
        # A file that appeared meanwhile belongs to somebody else.
        check_writable(target, overwrite=overwrite)
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        raise _refused(target, error) from error
    finally:
        if temporary.exists():
            temporary.unlink()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` that takes its name at the end.

    When the body raises, nothing is left behind. What lies at `path` may be an empty folder.

    Raises
    ------
    OutputError
        When something else lies there, or the disk refuses.
    """
    target = Path(path)
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            target.rmdir()
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        raise _refused(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def as_disk_error(error: Exception) -> OSError | None:
    """Return the system's error that a library hides in words of its own; None where there is none.

    Parameters
    ----------
    error
        Such as ``I/O error: No space left on device (os error 28)`` of safetensors.
    """
    found = re.search(r"os error (\d+)", str(error))
    if found is not None:
        return OSError(int(found.group(1)), os.strerror(int(found.group(1))))
    return OSError(errno.EIO, os.strerror(errno.EIO)) if "I/O error" in str(error) else None


def _refused(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot be written ({error.strerror or type(error).__name__})",
        path=target,
        remedy="Check the folder, its permissions and the free space",
    )


def _open_to_colleagues(path: Path) -> None:
    """Give the file the permissions a plain ``open`` would have given it.

    Some writers make files that only their owner can read.
    """
    if os.name != "posix":
        return
    probe = path.with_name(path.name + ".mode")
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    path.chmod(mode)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(path: Path) -> None:
    """Have the names in a folder survive a power cut.

    Windows has no such call, and some network disks refuse it; the file is in place all the same.
    """
    if os.name != "posix":
        return
    with suppress(OSError):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
