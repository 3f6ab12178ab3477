"""`lookalike compare`: the paper's method and its baselines on labelled images."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.terminal import console, exit_on_error, fail, progress_steps


def compare(
    folder: Annotated[Path, typer.Argument(help="DIR/train/CLASS/FILE and DIR/test/CLASS/FILE, or DIR/CLASS/FILE.")],
    methods: Annotated[
        str | None, typer.Option(help="Comma-separated methods. Default: lsh,sh,itq,ksh,mlh,bre,cnnh,cnnh+,ours,ssdh.")
    ] = None,
    bits: Annotated[str, typer.Option(help="Comma-separated code lengths in bits.")] = "12,24,32,48,128",
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, plots and report.html.")] = Path("comparison"),
    model: Annotated[
        str, typer.Option(help="Model that gives all methods F7: name of a shipped checkpoint, or path of another.")
    ] = "general",
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Side of its input images in pixels. Default: the model's own.")
    ] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Checkpoint trained end to end to add to the comparison; may be repeated.")
    ] = None,
    scaling: Annotated[bool, typer.Option(help="Also time training on increasing numbers of images.")] = True,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Folder that caches F7 between runs. Default: the folder of --out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
) -> None:
    """Compare hashing methods on labelled images, with the same features, queries and seeds."""
    with exit_on_error():
        from models.comparison.baselines.registry import METHODS
        from models.comparison.compare import ComparisonConfig
        from models.comparison.compare import compare as run

        choices = ComparisonConfig(
            methods=tuple(dict.fromkeys(name.strip().lower() for name in (methods or ",".join(METHODS)).split(","))),
            bits=_parse_numbers(bits),
            network=model,
            size=image_size,
            trained=tuple(checkpoint or ()),
            growth=scaling,
            keep=cache_dir,
            seed=seed,
        )
        with progress_steps() as report:
            try:
                found = run(folder, out, choices, report)
            except KeyboardInterrupt:
                fail("Stopped. Finished encodings and measurements are kept; run the same command again to continue.")
    _show(found)
    console().print(f"{out / 'report.html'}", soft_wrap=True)


def _parse_numbers(text: str) -> tuple[int, ...]:
    from models.errors import ConfigError

    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise ConfigError(f"--bits: {text} is not a list of whole numbers. Give, for example, 12,24,48.") from error


def _show(found: dict[str, Any]) -> None:
    """Print the mAP and training time of every method, and the reasons for missing results."""
    # A checkpoint from --checkpoint may have codes of another length than --bits.
    lengths = sorted({bits for method in found["methods"].values() for bits in method["bits"]}, key=int)
    table = Table("mAP", *(f"{bits} bits" for bits in lengths), "training")
    for method in found["methods"].values():
        cells = [f"{method['bits'][bits]['map']:.4f}" if bits in method["bits"] else "–" for bits in lengths]
        seconds = [scores["seconds"] for scores in method["bits"].values() if scores["seconds"] is not None]
        table.add_row(method["title"], *cells, f"{sum(seconds):.1f} s" if seconds else "")
    console().print(table)
    for method in found["methods"].values():
        for reason in dict.fromkeys(method["refused"].values()):
            console().print(f"{method['title']}: {reason}")
    for line in found["data"]["notes"]:
        console().print(line, soft_wrap=True)
    if unreadable := found["data"]["unreadable"]:
        console().print(f"{unreadable} unreadable files were skipped.")
