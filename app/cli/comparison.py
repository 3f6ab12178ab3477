"""`lookalike compare`: the paper's method beside those that it was measured against, on one's own pictures."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.terminal import console, errors_as_sentences, fail, step_by_step


def compare(
    folder: Annotated[Path, typer.Argument(help="DIR/train/CLASS/FILE and DIR/test/CLASS/FILE, or DIR/CLASS/FILE.")],
    methods: Annotated[
        str | None, typer.Option(help="Which, with commas between: lsh,sh,itq,ksh,mlh,bre,cnnh,cnnh+,ours,ssdh.")
    ] = None,
    bits: Annotated[str, typer.Option(help="How long codes are, with commas between.")] = "12,24,32,48,128",
    out: Annotated[Path, typer.Option(help="Where metrics.json, plots and report.html go.")] = Path("comparison"),
    model: Annotated[str, typer.Option(help="Whose F7 all methods read: one that ships, or a path.")] = "general",
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Side of the pictures that it reads, in pixels; its own.")
    ] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="A checkpoint that learnt end to end, to stand beside; may be repeated.")
    ] = None,
    scaling: Annotated[bool, typer.Option(help="Time learning from more and more pictures too.")] = True,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Folder that caches F7 between runs; by default that of --out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Where all randomness starts.")] = 0,
) -> None:
    """Compare ways to make codes on your labelled pictures: the same features, queries and seeds for all."""
    with errors_as_sentences():
        from models.comparison.baselines.kinds import KINDS
        from models.comparison.compare import Choices
        from models.comparison.compare import compare as run

        choices = Choices(
            methods=tuple(dict.fromkeys(name.strip().lower() for name in (methods or ",".join(KINDS)).split(","))),
            bits=_numbers(bits),
            network=model,
            size=image_size,
            trained=tuple(checkpoint or ()),
            growth=scaling,
            keep=cache_dir,
            seed=seed,
        )
        with step_by_step() as report:
            try:
                found = run(folder, out, choices, report)
            except KeyboardInterrupt:
                fail("Stopped. What was encoded and measured is kept; the same command goes on from there.")
    _show(found)
    console().print(f"{out / 'report.html'}", soft_wrap=True)


def _numbers(given: str) -> tuple[int, ...]:
    from models.errors import RecipeError

    try:
        return tuple(sorted({int(part) for part in given.split(",")}))
    except ValueError as error:
        raise RecipeError(f"--bits is a list of whole numbers like 12,24,48, not {given}.") from error


def _show(found: dict[str, Any]) -> None:
    """Prints the mAP of every method and what learning took, and what could not be done."""
    # A network of its own may have codes of another length than was asked for.
    lengths = sorted({bits for method in found["methods"].values() for bits in method["bits"]}, key=int)
    table = Table("mAP", *(f"{bits} bits" for bits in lengths), "learning")
    for method in found["methods"].values():
        cells = [f"{method['bits'][bits]['map']:.4f}" if bits in method["bits"] else "–" for bits in lengths]
        taken = [scores["seconds"] for scores in method["bits"].values() if scores["seconds"] is not None]
        table.add_row(method["title"], *cells, f"{sum(taken):.1f} s" if taken else "")
    console().print(table)
    for method in found["methods"].values():
        for why in dict.fromkeys(method["refused"].values()):
            console().print(f"{method['title']}: {why}")
    if left_out := found["data"]["unreadable"]:
        console().print(f"{left_out} unreadable files were left out.")
