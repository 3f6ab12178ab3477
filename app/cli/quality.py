"""`lookalike report`: search quality of the catalogue, as numbers and an HTML report."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.terminal import console, exit_on_error, progress_counter
from app.common import private_modes
from app.settings import Settings


def report(
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json. Default: in the data folder.")
    ] = None,
    queries: Annotated[int, typer.Option(min=10, max=100_000, help="Number of images to use as queries.")] = 500,
) -> None:
    """Measure search quality on the catalogue and recommend a pool size. The service may run meanwhile."""
    with exit_on_error():
        from app.bootstrap import report_folder
        from app.catalogue import index_versions
        from app.maintenance.tools import open_content
        from app.quality.page import write
        from app.quality.report import measure

        settings = Settings()
        with open_content(settings) as (content, vectors, network, version), progress_counter("searching") as progress:
            latent = index_versions.latent_layer(version)
            pool, adaptation = settings.search_pool or network.pool, version.feature_set.last_adaptation
            found = measure(content, vectors, network, pool, queries, progress, latent, adaptation)
        page = write(found, out) if out is not None else _write_private(found, report_folder(settings))
        table = Table("pool", "recall@10", "precision@10", "milliseconds")
        for one in found["pools"]:
            precision = "" if one["precision"] is None else f"{one['precision']:.3f}"
            name = f"{one['pool']}{' (in use)' if one['pool'] == found['pool'] else ''}"
            table.add_row(name, f"{one['recall']:.3f}", precision, f"{one['milliseconds']:.2f}")
        console().print(table)
        advice = found["advice"]
        console().print(f"Recommended: a pool of {advice['pool']}. {advice['why']}", soft_wrap=True)
        console().print(str(page), soft_wrap=True)


def _write_private(found: dict[str, Any], folder: Path) -> Path:
    """Write the report into the data folder, readable by its owner only."""
    from app.quality.page import write

    private_modes.make_folder(folder)
    page = write(found, folder)
    for file in folder.iterdir():
        private_modes.restrict(file)
    return page
