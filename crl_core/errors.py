"""One family of errors, each of which reads as a single clear line.

A message says which file is meant, what is wrong with it and what to do about it.
"""

from __future__ import annotations

from pathlib import Path


class CRLError(Exception):
    """A refusal that a user can act on.

    Parameters
    ----------
    problem
        What is wrong, without a full stop.
    path
        The file it is about, if any.
    remedy
        What the user can do, a full sentence without a full stop.
    """

    def __init__(self, problem: str, *, path: str | Path | None = None, remedy: str = "") -> None:
        self.problem = problem
        self.path = None if path is None else Path(path)
        self.remedy = remedy
        super().__init__(problem)

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path is not None else ""
        what = self.problem.rstrip(".") + "."
        then = f" {self.remedy.rstrip('.')}." if self.remedy else ""
        return " ".join(f"{where}{what}{then}".split())


class InputError(CRLError):
    """A file that cannot be read, or does not hold what its name promises."""


class ParameterError(CRLError):
    """Sequence parameters that are missing, out of range or impossible on a scanner."""


class CheckpointError(CRLError):
    """A checkpoint that is damaged, unsafe or of an unknown architecture."""


class GridError(CRLError):
    """Scans whose grids cannot be brought together."""


class OutputError(CRLError):
    """A result that cannot be written where it was asked for."""


class Cancelled(CRLError):
    """Work that was given up because it was no longer wanted."""
