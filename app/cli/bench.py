"""`lookalike bench`: reproducible benchmarks."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import console, exit_on_error, fail

if TYPE_CHECKING:
    from benchmarks.results import Results

# Benchmarks are only in source checkouts; servers do not need them.
CHECKOUT = Path(__file__).parents[2]
NAMES = ("core", "growth", "indexes", "service", "cpu", "peers", "encode", "adaptation")


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    json: Annotated[Path | None, typer.Option(help="JSON file for the results; a plot is written next to it.")] = None,
    images: Annotated[
        int | None, typer.Option(min=20_000, help="Number of images. Default: the benchmark's full size.")
    ] = None,
    feature_dim: Annotated[list[int] | None, typer.Option(min=16, help="Dimension of F7; may be repeated.")] = None,
    bits: Annotated[list[int] | None, typer.Option(min=8, help="Bits per code; may be repeated.")] = None,
    work_dir: Annotated[Path, typer.Option(help="Folder for large temporary files.")] = Path("benchmarks/data"),
) -> None:
    """Measure speed, next to hardware limits and other engines, in one run."""
    if name not in NAMES:
        fail(f"Unknown benchmark {name}. Choose one of {', '.join(NAMES)}.")
    if not (CHECKOUT / "benchmarks").is_dir():
        fail("Benchmarks are not in the installed package. Run `pip install -e '.[bench]'` in a source checkout.")
    sys.path.append(str(CHECKOUT))
    with exit_on_error():
        results = _run(name, images, tuple(feature_dim or ()), tuple(bits or ()), work_dir)
        results.show()
        if json is not None:
            results.write(json)


def _run(name: str, images: int | None, dims: tuple[int, ...], bits: tuple[int, ...], folder: Path) -> "Results":
    from benchmarks.options import Options

    options = Options(images, dims or None, bits or None, folder)
    results: Results = import_module(f"benchmarks.{name}").run(options, lambda text: console().print(text))
    return results
