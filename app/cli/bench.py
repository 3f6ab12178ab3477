"""`lookalike bench`: measurements that anybody can repeat."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import console, errors_as_sentences, fail

if TYPE_CHECKING:
    from benchmarks.results import Results

NAMES = ("core",)


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    json: Annotated[Path | None, typer.Option(help="Where the rows go; a plot goes beside them.")] = None,
    pictures: Annotated[int, typer.Option(min=20_000, help="How many; the paper's are the default.")] = 1_124_087,
    floats: Annotated[list[int] | None, typer.Option(help="Floats in F7; 4096 and 1280.")] = None,
    bits: Annotated[list[int] | None, typer.Option(help="Bits of a code; 128 and 48.")] = None,
    folder: Annotated[Path, typer.Option(help="Where large files lie while it runs.")] = Path("benchmarks/data"),
) -> None:
    """Measure speed beside its limits and its rivals, in one run."""
    if name not in NAMES:
        fail(f"There is no benchmark {name}; there are {', '.join(NAMES)}.")
    if find_spec("benchmarks") is None:
        fail("The benchmarks are not part of this installation. Run this from a checkout.")
    with errors_as_sentences():
        results = _run(pictures, floats, bits, folder)
        results.show()
        if json is not None:
            results.write(json)


def _run(pictures: int, floats: list[int] | None, bits: list[int] | None, folder: Path) -> "Results":
    from benchmarks import core

    options = core.Core(pictures, tuple(floats or core.DIMS), tuple(bits or core.BITS), folder)
    return core.run(options, lambda text: console().print(text))
