"""`lookalike train`: fine-tune a network on a folder of labelled folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import console, errors_as_sentences, fail, progress_bar

if TYPE_CHECKING:
    from models.train import Progress


def train(
    folder: Annotated[Path, typer.Argument(help="DIR/CLASS/FILE, or DIR/train/CLASS/FILE and DIR/test/CLASS/FILE.")],
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes: a path without suffix.")] = Path("runs/model"),
    backbone: Annotated[str, typer.Option(help="efficientnet_lite0 or alexnet.")] = "efficientnet_lite0",
    bits: Annotated[int, typer.Option(help="Bits of a code, a multiple of 8.")] = 128,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the pictures; as many as they need.")] = None,
    size: Annotated[int, typer.Option(min=32, help="Side of the pictures, in pixels.")] = 160,
) -> None:
    """Teach a network the labels of your pictures. Stopped, the same command goes on where it was."""
    with errors_as_sentences():
        from models.recipe import Recipe
        from models.train import train as run

        recipe = Recipe(backbone=backbone, bits=bits, epochs=epochs, size=size)
        with progress_bar() as bar:
            task = bar.add_task("decoding", total=None)

            def report(progress: "Progress") -> None:
                done = (progress.epoch - 1) * progress.steps + progress.step
                if progress.accuracy is None:
                    what = f"epoch {progress.epoch}, loss {progress.loss:.3f}"
                    bar.update(task, total=progress.epochs * progress.steps, completed=done, description=what)
                else:
                    bar.console.print(f"epoch {progress.epoch}: accuracy {progress.accuracy:.3f} on held-out pictures")

            try:
                info = run(folder, out, recipe, report, lambda note: bar.console.print(note, markup=False))
            except KeyboardInterrupt:
                fail("Stopped. The same command goes on from the last whole epoch.")
        console().print(f"{out}.safetensors, fingerprint {info.fingerprint}. Use it with LOOKALIKE_MODEL={out}.json")
