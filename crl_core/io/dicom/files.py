"""Where DICOM objects lie: a file, a folder of any depth, or a zip archive.

Archives are read in place. Nothing is unpacked to disk, and the names inside are never used
as paths.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, cast

from crl_core.errors import InputError

MAX_FILES = 200_000
MAX_DEPTH = 32
MAX_HEADER = 256 * 2**20
"""Most bytes of one object that are read for its header."""

MAX_OBJECT = 6 * 2**30
"""Most bytes of one object of an archive."""

MAX_INFLATED = 2**30
"""Most bytes a deflated file may inflate to."""

_BOMB_RATIO, _BOMB_SIZE = 200, 2**30
"""An archive that promises this many times its size, and this much, is no archive of scans."""

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_REPRESENTATIONS = (
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US UT OB OW".split()
)
DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""What reading a damaged file or archive may raise."""


class Window(io.RawIOBase):
    """A stream that never reads, nor asks for memory, beyond its end.

    `io.BufferedReader` reserves as many bytes as it is asked for, whatever the file holds;
    the lengths in a damaged header may ask for four gigabytes.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size

    def read(self, count: int = -1) -> bytes:
        """Return up to `count` bytes, fewer at the end."""
        left = max(self._size - self._stream.tell(), 0)
        return self._stream.read(left if count < 0 else min(count, left))

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as any stream does."""
        if whence == 2:
            return self._stream.seek(self._size + offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return where the stream stands."""
        return self._stream.tell()


class Unrolled(io.RawIOBase):
    """A seekable view of a stream that can only be read forwards; it keeps what was read.

    Parameters
    ----------
    more
        Returns about that many further bytes, ``b""`` at the end.
    limit
        Most bytes that are kept.
    """

    def __init__(self, more: Callable[[int], bytes], limit: int) -> None:
        self._more, self._limit = more, limit
        self._held = bytearray()
        self._at, self._ended = 0, False

    def _fill(self, end: int) -> None:
        while len(self._held) < min(end, self._limit) and not self._ended:
            chunk = self._more(1 << 16)
            self._ended = not chunk
            self._held += chunk

    def read(self, count: int = -1) -> bytes:
        """Return up to `count` bytes, fewer at the end."""
        end = self._limit if count < 0 else min(self._at + count, self._limit)
        self._fill(end)
        found = bytes(self._held[self._at : end])
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as any stream does."""
        if whence == 2:
            self._fill(self._limit)
        start = {0: 0, 1: self._at, 2: len(self._held)}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def tell(self) -> int:
        """Return where the stream stands."""
        return self._at


class Archive:
    """A zip archive that stays open while somebody reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._users = 0
        self._zip: zipfile.ZipFile | None = None

    @contextmanager
    def opened(self) -> Iterator[zipfile.ZipFile]:
        """Give the open archive; it closes when the last user leaves."""
        with self._lock:
            if self._zip is None:
                self._zip = zipfile.ZipFile(self.path)
            self._users += 1
            archive = self._zip
        try:
            yield archive
        finally:
            with self._lock:
                self._users -= 1
                if not self._users and self._zip is not None:
                    self._zip.close()
                    self._zip = None


@dataclass(frozen=True, eq=False)
class Item:
    """One file that may be a DICOM object.

    Parameters
    ----------
    path
        The file, or the archive that holds it.
    size
        Its bytes, once decompressed.
    member
        Its place in the archive; None for a plain file.
    """

    path: Path
    size: int
    archive: Archive | None = field(default=None, repr=False)
    member: zipfile.ZipInfo | None = field(default=None, repr=False)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Give a seekable stream of the bytes that reads no further than they go."""
        if self.archive is None or self.member is None:
            with self.path.open("rb", buffering=1 << 16) as stream:
                yield cast(BinaryIO, Window(stream, self.size))
            return
        with self.archive.opened() as archive, archive.open(self.member) as packed:
            yield cast(BinaryIO, Unrolled(packed.read, min(self.size, MAX_OBJECT)))

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, fewer where the file ends before.

        Raises
        ------
        OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error
            When the file or the archive is damaged.
        """
        if self.archive is None or self.member is None:
            with self.opened() as stream:
                stream.seek(offset)
                return stream.read(length)
        with self.archive.opened() as archive, archive.open(self.member) as packed:
            while offset > 0:
                skipped = len(packed.read(min(offset, 1 << 20)))
                if not skipped:
                    return b""
                offset -= skipped
            return packed.read(min(length, self.size))


def starts_as_dicom(head: bytes) -> bool:
    """Tell from its first 140 bytes whether a file may be a DICOM object.

    Files without the preamble, or without the group of file meta elements, begin with an
    element of group 2 or 8; those of other kinds do so only by chance.
    """
    if head[128:132] == b"DICM" or head[:4] == b"DICM":
        return True
    if len(head) < 16:
        return False
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    for order in orders:
        group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))
        if group in (2, 8) and element <= 0x60:
            length = int.from_bytes(head[4:8], "little")
            implicit = order == "little" and length <= 64 and length % 2 == 0
            if head[4:6] in _REPRESENTATIONS or implicit:
                return True
    return False


def is_zip(path: Path) -> bool:
    """Tell from its first bytes whether a file is a zip archive."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) in _ZIP_MAGIC
    except OSError:
        return False


def head_of(item: Item) -> bytes:
    """Return the first 140 bytes, or ``b""`` where they cannot be read."""
    try:
        with item.opened() as stream:
            return stream.read(140)
    except (*DAMAGED, RuntimeError):  # RuntimeError: an encrypted member
        return b""


def list_items(path: Path) -> list[Item]:
    """List the files below `path` by name, without opening them.

    Raises
    ------
    InputError
        When nothing is there, there are too many, or an archive is damaged or promises
        more than its bytes can hold.
    """
    if path.is_dir():
        return list(_walk(path, path))
    if not path.exists():
        raise InputError("does not exist", path=path, remedy="Check the name and the folder")
    if not path.is_file():
        raise InputError("is no regular file", path=path, remedy="Name a file or a folder")
    return _members(path) if is_zip(path) else [Item(path, path.stat().st_size)]


def _walk(root: Path, folder: Path) -> Iterator[Item]:
    count = 0
    for here, folders, names in os.walk(folder):
        depth = len(Path(here).relative_to(root).parts)
        folders[:] = sorted(folders) if depth < MAX_DEPTH else []
        for name in sorted(names):
            path = Path(here) / name
            try:
                status = path.stat()
            except OSError:
                continue
            # A pipe or a device would wait for ever.
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                continue
            count += 1
            if count > MAX_FILES:
                raise InputError(
                    f"holds more than {MAX_FILES} files", path=root, remedy="Name a folder in it"
                )
            yield Item(path, status.st_size)


def _members(path: Path) -> list[Item]:
    try:
        with zipfile.ZipFile(path) as opened:
            members = [m for m in opened.infolist() if not m.is_dir() and m.file_size]
    except DAMAGED as error:
        raise InputError(
            "is a damaged zip archive", path=path, remedy="Copy or export the file again"
        ) from error
    promised = sum(member.file_size for member in members)
    if len(members) > MAX_FILES or (
        promised > _BOMB_SIZE and promised > _BOMB_RATIO * path.stat().st_size
    ):
        raise InputError(
            f"promises {promised / 2**30:.0f} GiB in {len(members)} files, too much for its size",
            path=path,
            remedy="Unpack it yourself if you trust it",
        )
    archive = Archive(path)
    members.sort(key=lambda member: member.filename)
    return [Item(path, member.file_size, archive, member) for member in members]


@contextmanager
def all_open(items: Sequence[Item]) -> Iterator[None]:
    """Keep the archive of these items open meanwhile, which saves reading its directory."""
    archive = next((item.archive for item in items if item.archive is not None), None)
    if archive is None:
        yield
        return
    with archive.opened():
        yield
