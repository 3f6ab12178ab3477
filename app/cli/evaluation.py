"""`lookalike evaluate`: search quality of a checkpoint, as numbers and an HTML report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from app.cli.terminal import console, exit_on_error, fail, progress_steps


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="Name of a shipped checkpoint, or path of another.")],
    folder: Annotated[Path, typer.Argument(help="DIR/train/CLASS/FILE and DIR/test/CLASS/FILE, or DIR/CLASS/FILE.")],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, plots and report.html.")] = Path("evaluation"),
    unseen: Annotated[
        bool | None,
        typer.Option(help="Measure only classes that were not in training. Default: if there are two or more."),
    ] = None,
) -> None:
    """Measure a model's search quality on labelled images."""
    with exit_on_error():
        from models.evaluation.evaluate import evaluate as run
        from models.reports.plots import LABELS

        with progress_steps() as report:
            try:
                found = run(checkpoint, folder, out, unseen=unseen, progress=report)
            except KeyboardInterrupt:
                fail("Stopped. No results were written.")
        table = Table("mode", "P@1", "P@10", "mAP@1000", "mAP")
        for mode, scores in found["modes"].items():
            values = (scores["precision"]["1"], scores["precision"]["10"], scores["map_1000"], scores["map"])
            table.add_row(LABELS[mode], *(f"{value:.4f}" for value in values))
        console().print(table)
        if found["accuracy"] is not None:
            console().print(f"accuracy {found['accuracy']:.4f}")
        for line in found["data"]["notes"]:
            console().print(line, soft_wrap=True)
        if unreadable := found["data"]["unreadable"]:
            console().print(f"{len(unreadable)} unreadable files were skipped.")
        console().print(f"{out / 'report.html'}", soft_wrap=True)
