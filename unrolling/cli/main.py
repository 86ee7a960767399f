"""The command ``unroll``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

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

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
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
    try:
        app()
    except (ValueError, TypeError, OSError, ArithmeticError, ImportError, RuntimeError) as error:
        print(f"unroll: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("unroll: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
