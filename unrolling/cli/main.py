"""The command ``unroll``."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from unrolling.cli import errors
from unrolling.cli.apply import apply
from unrolling.cli.apply_options import ApplyCommand
from unrolling.cli.cite import cite
from unrolling.cli.compare import compare
from unrolling.cli.export import export
from unrolling.cli.gradients import gradients
from unrolling.cli.report import report
from unrolling.cli.reproduce import reproduce
from unrolling.cli.show import list_systems, schedules, show
from unrolling.cli.theory import theory
from unrolling.cli.train import train
from unrolling.files.ending import ends_in_order

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # code between backticks, paragraphs without the line ends of docstrings
    help="Turn iterative algorithms into small, fast, interpretable networks.",
)


def _version(asked: bool) -> None:
    if asked:
        from unrolling._version import __version__

        print(f"unrolling {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command("list")(list_systems)
app.command(cls=ApplyCommand)(apply)
for command in (show, train, compare, export, schedules, gradients, reproduce, theory, report, cite):
    app.command()(command)


def main() -> None:
    """Run the command; mistakes of the caller end with one line and exit status 2, not with a traceback."""
    _any_text()
    # Large tensors come and go with every operation: in huge pages the system clears them at half the time. PyTorch
    # reads this at its first allocation; where the system has no such pages, nothing changes.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        empty = [word for word in sys.argv[1:] if not word or (word.startswith("--") and word.endswith("="))]
        if empty:
            raise ValueError(f"an argument is empty{': ' * bool(empty[0])}{empty[0]}; a name or a value is missing")
        with ends_in_order():
            app()
    except errors.ERRORS as error:
        print(f"unroll: {errors.sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("unroll: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def _any_text() -> None:
    """What the terminal's encoding does not have is written as its escape, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            try:
                ("\u2265 \udc80" * 64).encode(stream.encoding, "backslashreplace")
                stream.reconfigure(errors="backslashreplace")
            except (UnicodeError, LookupError):  # an encoding for host names, say
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()
