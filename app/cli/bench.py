"""`lookalike bench`: reproducible benchmarks."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import console, exit_on_error, fail

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.results import Results

# Benchmarks are only in source checkouts; servers do not need them.
CHECKOUT = Path(__file__).parents[2]
NAMES = ("core", "growth", "indexes", "service", "cpu", "load", "peers", "encode", "adaptation")


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    json: Annotated[Path | None, typer.Option(help="JSON file for the results; a plot is written next to it.")] = None,
    images: Annotated[
        int | None, typer.Option(min=20_000, help="Number of images. Default: the benchmark's full size.")
    ] = None,
    feature_dim: Annotated[list[int] | None, typer.Option(min=16, help="Dimension of F7; may be repeated.")] = None,
    bits: Annotated[list[int] | None, typer.Option(min=8, help="Bits per code; may be repeated.")] = None,
    work_dir: Annotated[Path, typer.Option(help="Folder for large temporary files.")] = Path("benchmarks/data"),
    url: Annotated[str | None, typer.Option(help="load: address of a running service. Default: starts some.")] = None,
    rate: Annotated[list[int] | None, typer.Option(min=1, help="load: searches a second; may be repeated.")] = None,
    seconds: Annotated[int | None, typer.Option(min=1, help="load: duration of each rate.")] = None,
) -> None:
    """Measure speed, next to hardware limits and other engines, in one run."""
    if name not in NAMES:
        fail(f"Unknown benchmark {name}. Choose one of {', '.join(NAMES)}.")
    if not (CHECKOUT / "benchmarks").is_dir():
        fail("Benchmarks are not in the installed package. Run `pip install -e '.[bench]'` in a source checkout.")
    if name != "load" and (url or rate or seconds):
        fail(f"--url, --rate and --seconds are for the benchmark load, not for {name}.")
    sys.path.append(str(CHECKOUT))
    with exit_on_error():
        from benchmarks.options import Options

        dims, widths, rates = (tuple(given) if given else None for given in (feature_dim, bits, rate))
        results = _run(name, Options(images, dims, widths, work_dir, url, rates, seconds))
        results.show()
        if json is not None:
            results.write(json)


def _run(name: str, options: "Options") -> "Results":
    results: Results = import_module(f"benchmarks.{name}").run(options, lambda text: console().print(text))
    return results
