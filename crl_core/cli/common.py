"""What several commands share: progress, notices and the choice of a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from crl_core.errors import CheckpointError, InputError, ParameterError
from crl_core.sequence import SequenceParameters, parse_parameters

Progress = Callable[[int, int], None]
"""Called with how many of how many are done."""


def notice(text: str) -> None:
    """Say something beside the result, on stderr."""
    typer.echo(text, err=True)


def parse_option(option: str, text: str) -> SequenceParameters:
    """Read TR,TE,TI given to an option; text that is no such triple is wrong usage."""
    try:
        return parse_parameters(text)
    except ParameterError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def find_checkpoint(given: str | None) -> Path:
    """Return the file meant by ``--checkpoint``: a path, the name of a bundled one, or none.

    Raises
    ------
    CheckpointError
        When there is neither such a file nor a bundled checkpoint of that name.
    """
    from crl_core.checkpoint import bundled_checkpoints, default_checkpoint

    if given is None:
        return default_checkpoint()
    bundled = bundled_checkpoints()
    if given in bundled and not Path(given).exists():
        return bundled[given]
    if not Path(given).exists():
        raise CheckpointError(
            "does not exist",
            path=given,
            remedy=f"Name a checkpoint file or one of {', '.join(sorted(bundled)) or 'ours'}",
        )
    return Path(given)


def refuse_missing(paths: Sequence[Path]) -> None:
    """Refuse files and folders that are not there, before anything is written.

    Raises
    ------
    InputError
        Naming the first that is missing.
    """
    for path in paths:
        if not path.exists():
            raise InputError("does not exist", path=path, remedy="Check the name and the folder")


def check_device(device: str | None) -> None:
    """Refuse a ``--device`` this computer does not have, as wrong usage."""
    if device is None:
        return
    import torch

    try:
        if torch.device(device).type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise typer.BadParameter(
            f"'{device}' cannot be used on this computer", param_hint="--device"
        ) from error


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Give a function that shows progress on stderr.

    A bar on a terminal; elsewhere a plain line for each tenth of the work.
    """
    if not sys.stderr.isatty():
        yield _plain_lines(label)
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_lines(label: str) -> Progress:
    last = -1

    def show(done: int, total: int) -> None:
        nonlocal last
        tenth = 10 * done // max(total, 1)
        if tenth > last:
            last = tenth
            notice(f"{label}: {done} of {total}")

    return show


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Return rows of name and value, the values aligned."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)
