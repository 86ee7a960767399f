"""``unroll report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unrolling.cli import prepare
from unrolling.cli.options import Overwrite


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="folders that `unroll compare` wrote, or their comparison.json"),
    ],
    out: Annotated[Path, typer.Option("--out", help="folder for the page")] = Path("out/report"),
    overwrite: Overwrite = False,
) -> None:
    """Put several comparisons on one page."""
    from unrolling.files.whole import keeping_others
    from unrolling.report.collection import read_comparison, write_collection

    found = [read_comparison(path) for path in runs]
    prepare.writable(out)
    with keeping_others(not overwrite):
        print(write_collection(found, out))
