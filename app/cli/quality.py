"""`lookalike report`: how good the catalogue's search is, in numbers and as a page."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.terminal import console, counting, errors_as_sentences
from app.common import private_modes as private
from app.settings import Settings


def report(
    out: Annotated[
        Path | None, typer.Option(help="Where report.html and report.json go; the data folder, unless given.")
    ] = None,
    queries: Annotated[int, typer.Option(min=10, max=100_000, help="How many pictures ask.")] = 500,
) -> None:
    """Measure how good the search over your own pictures is, and which settings suit them. The service may run."""
    with errors_as_sentences():
        from app.bootstrap import report_folder
        from app.maintenance.tools import open_content
        from app.quality.page import write
        from app.quality.report import measure

        settings = Settings()
        with open_content(settings) as (content, vectors, network), counting("searching") as heard:
            found = measure(content, vectors, network, settings.search_pool or network.pool, queries, heard)
        page = write(found, out) if out is not None else _written_privately(found, report_folder(settings))
        table = Table("pool", "recall@10", "precision@10", "milliseconds")
        for one in found["pools"]:
            precision = "" if one["precision"] is None else f"{one['precision']:.3f}"
            name = f"{one['pool']}{' (in use)' if one['pool'] == found['pool'] else ''}"
            table.add_row(name, f"{one['recall']:.3f}", precision, f"{one['milliseconds']:.2f}")
        console().print(table)
        advice = found["advice"]
        console().print(f"Recommended: a pool of {advice['pool']}. {advice['why']}", soft_wrap=True)
        console().print(str(page), soft_wrap=True)


def _written_privately(found: dict[str, Any], folder: Path) -> Path:
    """Writes the report into the data folder, where only its owner may read it."""
    from app.quality.page import write

    private.make_folder(folder)
    page = write(found, folder)
    for file in folder.iterdir():
        private.close(file)
    return page
