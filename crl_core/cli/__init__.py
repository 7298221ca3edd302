"""The command ``crl``: headless, what the window does with a mouse.

Exit code 0 on success, 2 on wrong usage, 1 on a refused input, with one line on stderr that
says which file, what is wrong and what to do. A traceback appears only with ``--debug``.

Every command imports what it needs when it runs, so that ``crl --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType

import typer

from crl_core import __version__
from crl_core.cli.arranging import arrange
from crl_core.cli.benchmarking import benchmark
from crl_core.cli.checking import check
from crl_core.cli.evaluating import evaluate
from crl_core.cli.inspecting import inspect
from crl_core.cli.mending import mend
from crl_core.cli.preparing import prepare
from crl_core.cli.simulating import simulate
from crl_core.cli.synthesising import synth
from crl_core.cli.training import train
from crl_core.errors import CRLError

app = typer.Typer(
    name="crl",
    help="Explore MR contrast: synthesise, inspect, simulate, check, prepare, train and benchmark.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    synth, inspect, simulate, arrange, check, mend, prepare, train, evaluate, benchmark
):  # fmt: skip
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_show_version, help="Show the version."
    ),
    debug: bool = typer.Option(
        False, "--debug", help="Show the traceback of an error; works anywhere on the line."
    ),
) -> None:
    """Explore MR contrast: synthesise, inspect, simulate, check, prepare, train and benchmark."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    Parameters
    ----------
    arguments
        What follows ``crl`` on the line; taken from the process by default.
    """
    line = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in line
    command = typer.main.get_command(app)
    # Typer's own call would replace the exception hook; calling the command does not.
    if not debug:
        sys.excepthook = _report_bug
    try:
        command(args=[word for word in line if word != "--debug"], prog_name="crl")
    except CRLError as error:
        if debug:
            raise
        typer.echo(str(error), err=True)
        raise SystemExit(1) from None


def _report_bug(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say in one line that the program itself went wrong."""
    words = " ".join(str(error).split())
    typer.echo(
        f"Internal error ({kind.__name__}: {words}). Run again with --debug and report it.",
        err=True,
    )
