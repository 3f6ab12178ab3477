"""`lookalike evaluate`: how well a checkpoint searches, in numbers and as a page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from app.cli.terminal import console, errors_as_sentences, fail, step_by_step


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="The name of a network that ships, or a checkpoint's path.")],
    folder: Annotated[Path, typer.Argument(help="DIR/train/CLASS/FILE and DIR/test/CLASS/FILE, or DIR/CLASS/FILE.")],
    out: Annotated[Path, typer.Option(help="Where metrics.json, plots and report.html go.")] = Path("evaluation"),
    unseen: Annotated[
        bool | None,
        typer.Option(help="Measure classes that training did not have; by default where there are two or more."),
    ] = None,
) -> None:
    """Measure how well a network searches your labelled pictures."""
    with errors_as_sentences():
        from models.evaluation.evaluate import evaluate as run
        from models.reports.plots import LABELS

        with step_by_step() as report:
            try:
                found = run(checkpoint, folder, out, unseen=unseen, progress=report)
            except KeyboardInterrupt:
                fail("Stopped; nothing was written.")
        table = Table("mode", "P@1", "P@10", "mAP@1000", "mAP")
        for mode, scores in found["modes"].items():
            values = (scores["precision"]["1"], scores["precision"]["10"], scores["map_1000"], scores["map"])
            table.add_row(LABELS[mode], *(f"{value:.4f}" for value in values))
        console().print(table)
        if found["accuracy"] is not None:
            console().print(f"accuracy {found['accuracy']:.4f}")
        if left_out := found["data"]["unreadable"]:
            console().print(f"{len(left_out)} unreadable files were left out.")
        console().print(f"{out / 'report.html'}", soft_wrap=True)
