"""Commands that make networks: `train` with labels, `fit` without, `models` to see which ship."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from app.cli.output_guard import refuse_finished
from app.cli.terminal import console, counting, errors_as_sentences, fail, progress_bar

if TYPE_CHECKING:
    from models.data.dataset import Splits
    from models.training.train import Progress


class Method(StrEnum):
    """How H is set without labels."""

    ITQ = "itq"
    LSH = "lsh"


def train(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="DIR/CLASS/FILE, DIR/train/CLASS/FILE and DIR/test/CLASS/FILE, or what `make-shards` wrote."
        ),
    ] = None,
    catalogue: Annotated[
        bool, typer.Option("--catalogue", help="Learn from the catalogue's labels, and compare with its network.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes: a path without suffix.")] = Path("runs/model"),
    backbone: Annotated[
        str | None, typer.Option(help="efficientnet_lite0 (if nothing else is said), alexnet or small.")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of a code, a multiple of 8; 128.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the pictures; as many as they need.")] = None,
    image_size: Annotated[int | None, typer.Option(min=16, help="Side of the pictures, in pixels; 192.")] = None,
    quantization_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the term that drives activations to 0 or 1.")
    ] = 0.0,
    bit_balance_weight: Annotated[float, typer.Option(min=0, help="Weight of the term that balances each bit.")] = 0.0,
    hflip: Annotated[bool, typer.Option(help="Flip images horizontally at random; not for digits and letters.")] = True,
    pretrained: Annotated[bool, typer.Option(help="Start from ImageNet weights.")] = True,
    init_from: Annotated[str | None, typer.Option(help="Start from a checkpoint: one that ships, or a path.")] = None,
    freeze_stages: Annotated[
        int, typer.Option(min=0, max=7, help="Number of the backbone's first stages that are not trained.")
    ] = 3,
    lr: Annotated[
        float | None, typer.Option(min=1e-6, help="Learning rate of the new layers, ten times the old ones'.")
    ] = None,
    min_crop_area: Annotated[
        float, typer.Option(min=0.05, max=1, help="Minimum area of a random crop, as a fraction of the image.")
    ] = 0.5,
    batch_size: Annotated[int, typer.Option(min=2, help="Pictures a step.")] = 32,
    seed: Annotated[int, typer.Option(help="Where all randomness starts.")] = 0,
) -> None:
    """Teach a network the labels of your pictures. Stopped, the same command goes on where it was."""
    given: dict[str, Any] = {
        "backbone": backbone,
        "bits": bits,
        "epochs": epochs,
        "size": image_size,
        "push": quantization_weight,
        "balance": bit_balance_weight,
        "mirror": hflip,
        "imagenet": pretrained,
        "start": init_from,
        "frozen": freeze_stages,
        "rate": lr,
        "least_area": min_crop_area,
        "batch": batch_size,
        "seed": seed,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if (folder is None) != catalogue:
        fail("Name a folder of labelled pictures, or say --catalogue.")
    with errors_as_sentences():
        if folder is not None:
            refuse_finished(out)
            _run(folder, out, chosen)
            console().print(f"Use it with LOOKALIKE_MODEL={out}.json", soft_wrap=True)
        else:
            from app.cli.fine_tune import improve

            improve(out, chosen, _run)


def _run(source: "Path | Splits", out: Path, chosen: dict[str, Any]) -> None:
    """Trains, shows how far it is, and says what came of it."""
    from models.training.config import Recipe
    from models.training.train import train as run

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
            info = run(source, out, Recipe(**chosen), report, bar.console.print)
        except KeyboardInterrupt:
            fail("Stopped. The same command goes on from the last whole epoch, in long ones from within it.")
    console().print(f"{out}.safetensors, fingerprint {info.fingerprint}.", soft_wrap=True)


def make_shards(
    folder: Annotated[
        Path,
        typer.Argument(
            help="DIR/CLASS/FILE, or DIR/train/CLASS/FILE and DIR/val/CLASS/FILE; a test split stays a folder, for "
            "`evaluate`."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="A new folder for the archives.")],
    short_side: Annotated[
        int, typer.Option(min=16, help="Larger images are resized to this shorter side, in pixels.")
    ] = 256,
    images_per_shard: Annotated[int, typer.Option(min=1, help="Images in a shard.")] = 4000,
) -> None:
    """Pack labelled pictures that are too many for memory into archives that `train` reads as a stream."""
    with errors_as_sentences():
        from models.data.make_shards import pack as run

        with counting("packing") as report:
            packed = run(folder, out, report, short_side, images_per_shard)
        for path in packed.unreadable:
            console().print(f"{path} cannot be read as a picture and is left out.", soft_wrap=True)
        console().print(f"{packed.pictures} pictures in {packed.archives} archives in {out}", soft_wrap=True)


def fit(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures; subfolders are looked into.")],
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes: a path without suffix.")] = Path("runs/model"),
    backbone: Annotated[str, typer.Option(help="efficientnet_lite0 or alexnet.")] = "efficientnet_lite0",
    bits: Annotated[int, typer.Option(help="Bits of a code, a multiple of 8.")] = 128,
    image_size: Annotated[int, typer.Option(min=32, help="Side of the pictures, in pixels.")] = 224,
    method: Annotated[Method, typer.Option(help="itq learns from the pictures, lsh draws at random.")] = Method.ITQ,
) -> None:
    """Make a network for pictures that have no labels, in one pass over them."""
    refuse_finished(out)
    with errors_as_sentences():
        from models.training.fit import Fit
        from models.training.fit import fit as run

        recipe = Fit(backbone=backbone, bits=bits, size=image_size, method=method.value)
        with progress_bar() as bar:
            task = bar.add_task("looking at pictures", total=None)
            info = run(
                folder,
                out,
                recipe,
                lambda done, total: bar.update(task, completed=done, total=total),
                bar.console.print,
            )
        console().print(f"{out}.safetensors, fingerprint {info.fingerprint}. Use it with LOOKALIKE_MODEL={out}.json")


def calibrate(
    checkpoint: Annotated[str, typer.Argument(help="The name of a network that ships, or a path.")],
    folder: Annotated[Path, typer.Argument(help="DIR/test/CLASS/FILE or DIR/CLASS/FILE that it did not learn from.")],
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Needs no labels: augmented views of one image belong together.")
    ] = False,
) -> None:
    """Find out what a network's distances mean, as `similarity` from 0 to 1; codes stay as they are."""
    with errors_as_sentences():
        from models.checkpoint.calibrate import recalibrate

        found = recalibrate(checkpoint, folder, views=unlabelled)
        console().print(
            f"Half as likely as not at distance {found.features.midpoint:.3f} and at {found.codes.midpoint:.1f} bits; "
            f"calibration error {found.error:.3f}. Restart the service to use it."
        )


def list_models() -> None:
    """List the networks that ship."""
    with errors_as_sentences():
        from models.checkpoint.info import find, pretrained_names, read_info

        table = Table("name", "backbone", "bits", "learnt from", "fingerprint")
        for name in pretrained_names():
            info = read_info(find(name))
            learnt = f"{len(info.classes)} classes" if info.classes else "pictures without labels"
            table.add_row(name, info.backbone, str(info.bits), learnt, info.fingerprint)
        console().print(table)
