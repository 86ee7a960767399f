"""``unroll report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unrolling.cli import prepare
from unrolling.cli.options import Json, Overwrite

STORED = Path(__file__).resolve().parents[2] / "docs" / "comparisons"  # of a checkout


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR...", help="folders that `unroll compare` wrote, or their comparison.json"),
    ] = None,
    table_2: Annotated[
        bool,
        typer.Option(
            "--table-2",
            help="Table II of the survey and the ratios that its text states, beside what was measured; of the "
            "comparisons that the repository keeps where no DIR is named",
        ),
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="folder for the page")] = Path("out/report"),
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Put several comparisons on one page, or into the form of the survey's Table II."""
    from unrolling.files.whole import keeping_others
    from unrolling.report.collection import read_comparison, write_collection

    if as_json and not table_2:
        raise ValueError("--json is of --table-2; of a comparison comparison.json holds the numbers")
    if table_2:
        _table_2(runs or _stored(), out, overwrite, as_json)
        return
    if not runs:
        raise ValueError("no comparison is named: give folders that `unroll compare` wrote, DIR...")
    found = [read_comparison(path) for path in runs]
    prepare.writable(out)
    with keeping_others(not overwrite):
        print(write_collection(found, out))


def _stored() -> list[Path]:
    if not STORED.is_dir():
        raise ValueError(
            "the stored comparisons are part of the repository and not of this installation: name folders that "
            "`unroll compare SYSTEM --pretrained` wrote, or docs/comparisons of a checkout"
        )
    return [STORED]


def _table_2(places: list[Path], out: Path, overwrite: bool, as_json: bool) -> None:
    from unrolling.files.whole import keeping_others
    from unrolling.report.survey_table import entries, markdown_survey_table, stored_comparisons, write_survey_table

    found = stored_comparisons(places)
    if as_json:
        prepare.print_json(entries(found))
        return
    prepare.writable(out)
    with keeping_others(not overwrite):
        page = write_survey_table(found, out)
    print(markdown_survey_table(found))
    print(page)
