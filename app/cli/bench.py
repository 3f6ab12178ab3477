"""`lookalike bench`: measurements that anybody can repeat."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import console, errors_as_sentences, fail

if TYPE_CHECKING:
    from benchmarks.results import Results

# Benchmarks are in checkouts only: no server needs them.
CHECKOUT = Path(__file__).parents[2]
NAMES = ("core", "growth", "indexes", "service", "peers", "encode")


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    json: Annotated[Path | None, typer.Option(help="Where the rows go; a plot goes beside them.")] = None,
    images: Annotated[int | None, typer.Option(min=20_000, help="How many; the full size is the default.")] = None,
    feature_dim: Annotated[
        list[int] | None, typer.Option(min=16, help="Floats in F7; may come more than once.")
    ] = None,
    bits: Annotated[list[int] | None, typer.Option(min=8, help="Bits of a code; may come more than once.")] = None,
    work_dir: Annotated[Path, typer.Option(help="Folder for large temporary files.")] = Path("benchmarks/data"),
) -> None:
    """Measure speed beside its limits and its rivals, in one run."""
    if name not in NAMES:
        fail(f"There is no benchmark {name}; there are {', '.join(NAMES)}.")
    if not (CHECKOUT / "benchmarks").is_dir():
        fail("Benchmarks are not in the installed package. Run them in a checkout: pip install -e '.[bench]' there.")
    sys.path.append(str(CHECKOUT))
    with errors_as_sentences():
        results = _run(name, images, tuple(feature_dim or ()), tuple(bits or ()), work_dir)
        results.show()
        if json is not None:
            results.write(json)


def _run(name: str, pictures: int | None, floats: tuple[int, ...], bits: tuple[int, ...], folder: Path) -> "Results":
    from benchmarks.options import Options

    options = Options(pictures, floats or None, bits or None, folder)
    results: Results = import_module(f"benchmarks.{name}").run(options, lambda text: console().print(text))
    return results
