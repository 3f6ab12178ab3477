"""Commands for checkpoints: `train`, `make-shards`, `fit`, `calibrate` and `models`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from app.cli.models.training_source import Labels, Products, open_source
from app.cli.output_guard import refuse_finished
from app.cli.terminal import console, exit_on_error, fail, progress_bar, progress_counter

if TYPE_CHECKING:
    from models.data.dataset import Splits
    from models.training.progress import TrainingProgress


class Method(StrEnum):
    """Methods that fit H without labels."""

    ITQ = "itq"
    LSH = "lsh"


class CutName(StrEnum):
    """Cuts, by the names of `models.network.cuts.CUTS`."""

    STRETCH = "stretch"
    SQUARE = "square"
    SQUARE_7_8 = "square-7/8"
    PAD = "pad"


def train(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="DIR/CLASS/FILE, DIR/train/CLASS/FILE and DIR/test/CLASS/FILE, shards from `make-shards`, or a table."
        ),
    ] = None,
    catalogue: Annotated[
        bool, typer.Option("--catalogue", help="Train on the catalogue's labels, and compare with the model in use.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Path of the checkpoint, without suffix.")] = Path("runs/model"),
    backbone: Annotated[
        str | None,
        typer.Option(
            help="efficientnet_lite0 (default), efficientnet_lite1, efficientnet_lite2, alexnet or small; timm:NAME or "
            "torchvision:NAME for any model of these libraries."
        ),
    ] = None,
    bits: Annotated[int | None, typer.Option(help="Bits per code, a multiple of 8. Default: 128.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs. Default: by the number of images.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=16, help="Side of input images in pixels. Default: 192, or that of the library's weights."),
    ] = None,
    quantization_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the term that drives activations to 0 or 1.")
    ] = 0.0,
    bit_balance_weight: Annotated[float, typer.Option(min=0, help="Weight of the term that balances each bit.")] = 0.0,
    hflip: Annotated[bool, typer.Option(help="Flip images horizontally at random; not for digits and letters.")] = True,
    pretrained: Annotated[bool, typer.Option(help="Start from the backbone's published weights.")] = True,
    weights: Annotated[
        str | None, typer.Option(help="Start from this file of the backbone's weights: safetensors, or a state dict.")
    ] = None,
    init_from: Annotated[
        str | None, typer.Option(help="Checkpoint to start from: a shipped one's name, or a path.")
    ] = None,
    freeze_stages: Annotated[
        int, typer.Option(min=0, max=7, help="Number of first stages of the backbone to freeze.")
    ] = 3,
    lr: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Learning rate of the new layers. That of the pretrained ones is a tenth."),
    ] = None,
    min_crop_area: Annotated[
        float, typer.Option(min=0.05, max=1, help="Minimum area of a random crop, as a fraction of the image.")
    ] = 0.5,
    batch_size: Annotated[int, typer.Option(min=2, help="Images per step.")] = 32,
    cut: Annotated[
        CutName | None,
        typer.Option(help="How images become squares. Default: the best on a sample of the training images."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    labels: Labels = None,
    products: Products = None,
) -> None:
    """Fine-tune a model on labelled images. Run an interrupted command again to continue it.

    A first model, OUT-head, is usable within minutes.
    """
    options: dict[str, Any] = {
        "backbone": backbone,
        "bits": bits,
        "epochs": epochs,
        "size": image_size,
        "push": quantization_weight,
        "balance": bit_balance_weight,
        "mirror": hflip,
        "imagenet": pretrained,
        "weights": weights,
        "start": init_from,
        "frozen": freeze_stages,
        "rate": lr,
        "least_area": min_crop_area,
        "batch": batch_size,
        "image_cut": cut and cut.value,
        "seed": seed,
    }
    chosen = {name: value for name, value in options.items() if value is not None}
    if (folder is None) != catalogue:
        fail("Give either a folder of labelled images, or a table of them, or --catalogue.")
    with exit_on_error():
        if folder is not None:
            refuse_finished(out)
            _run(open_source(folder, labels, products), out, chosen)
            console().print(f"Use it with LOOKALIKE_MODEL={out}.json", soft_wrap=True)
        else:
            from app.cli.models.fine_tune import fine_tune_on_catalogue

            if labels is not None:
                fail("--labels names columns of a table. Images of the catalogue have one label.")
            fine_tune_on_catalogue(out, chosen, products, _run)


def _run(source: "Path | Splits", out: Path, options: dict[str, Any]) -> None:
    """Train with a progress bar, and print the checkpoint's path and fingerprint."""
    from models.training.config import training_config
    from models.training.train import train as run

    with progress_bar() as bar:
        task = bar.add_task("decoding", total=None)

        def report(progress: "TrainingProgress") -> None:
            done = (progress.epoch - 1) * progress.steps + progress.step
            if not progress.epoch:
                bar.update(task, total=progress.steps, completed=progress.step, description="features of images")
            elif progress.accuracy is None:
                description = f"epoch {progress.epoch}, loss {progress.loss:.3f}"
                bar.update(task, total=progress.epochs * progress.steps, completed=done, description=description)
            else:
                precision = progress.precision["hds"]
                found = f"precision@10 {precision:.3f}, accuracy {progress.accuracy:.3f} on held-out images"
                bar.console.print(f"epoch {progress.epoch}: {found}", soft_wrap=True)

        def note(line: str) -> None:
            bar.console.print(line, soft_wrap=True)

        try:
            info = run(source, out, training_config(options), report, note)
        except KeyboardInterrupt:
            fail("Stopped. Run the same command again to continue from the last saved state.")
    console().print(f"{out}.safetensors, fingerprint {info.fingerprint}.", soft_wrap=True)


def make_shards(
    folder: Annotated[
        Path,
        typer.Argument(
            help="DIR/CLASS/FILE, or DIR/train/CLASS/FILE and DIR/val/CLASS/FILE. Keep a test split as a folder for "
            "`evaluate`."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="New folder for the shards.")],
    short_side: Annotated[
        int, typer.Option(min=16, help="Larger images are resized to this shorter side, in pixels.")
    ] = 256,
    images_per_shard: Annotated[int, typer.Option(min=1, help="Images per shard.")] = 4000,
) -> None:
    """Pack labelled images that do not fit into memory into shards that `train` streams."""
    with exit_on_error():
        from models.data.make_shards import make_shards as run

        with progress_counter("packing") as report:
            packed = run(folder, out, report, short_side, images_per_shard)
        for line in packed.notes:
            console().print(line, soft_wrap=True)
        for path in packed.unreadable:
            console().print(f"{path} is not a readable image and was skipped.", soft_wrap=True)
        console().print(f"{packed.images} images in {packed.shards} shards in {out}", soft_wrap=True)


def fit(
    folder: Annotated[Path, typer.Argument(help="Folder of images, searched recursively.")],
    out: Annotated[Path, typer.Option(help="Path of the checkpoint, without suffix.")] = Path("runs/model"),
    backbone: Annotated[
        str,
        typer.Option(
            help="efficientnet_lite0, efficientnet_lite1, efficientnet_lite2 or alexnet; timm:NAME or torchvision:NAME "
            "for any model of these libraries."
        ),
    ] = "efficientnet_lite0",
    weights: Annotated[
        str | None, typer.Option(help="File of the backbone's weights: safetensors, or a state dict of torch.")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option(help="Use the backbone's published weights; without them it is random, for tests only.")
    ] = True,
    bits: Annotated[int, typer.Option(help="Bits per code, a multiple of 8.")] = 128,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Side of input images in pixels. Default: that of the backbone's weights, 224 for efficientnet_lite0.",
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="itq learns a rotation from the images; lsh uses random projections.")
    ] = Method.ITQ,
    cut: Annotated[
        CutName | None,
        typer.Option(
            help="How images become squares. Default: that of the library's weights; else the best by the names of the "
            "folders, if each class has one, or square-7/8."
        ),
    ] = None,
) -> None:
    """Fit a model to unlabelled images, in one pass over them."""
    refuse_finished(out)
    with exit_on_error():
        from models.training.fit import FitConfig
        from models.training.fit import fit as run

        recipe = FitConfig(
            backbone=backbone,
            bits=bits,
            size=image_size,
            method=method.value,
            image_cut=cut.value if cut else None,
            imagenet=pretrained,
            weights=weights,
        )
        with progress_bar() as bar:
            task = bar.add_task("encoding images", total=None)
            info = run(
                folder,
                out,
                recipe,
                lambda done, total: bar.update(task, completed=done, total=total),
                bar.console.print,
            )
        console().print(f"{out}.safetensors, fingerprint {info.fingerprint}. Use it with LOOKALIKE_MODEL={out}.json")


def calibrate(
    checkpoint: Annotated[str, typer.Argument(help="Name of a shipped checkpoint, or path of another.")],
    folder: Annotated[
        Path, typer.Argument(help="DIR/test/CLASS/FILE or DIR/CLASS/FILE with images that it was not trained on.")
    ],
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Folders are no labels: take any two images to be of different kinds.")
    ] = False,
) -> None:
    """Calibrate a model's distances to `similarity` from 0 to 1. Codes do not change."""
    with exit_on_error():
        from models.checkpoint.calibrate import calibrate_checkpoint

        found = calibrate_checkpoint(checkpoint, folder, labelled=not unlabelled, note=console().print)
        console().print(
            f"Copies of an image are at most {found.copies:.3f} apart, near-duplicates {found.near:.3f}. "
            "Restart the service to use the calibration."
        )


def list_models(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(help="Other checkpoints to list, by their paths.", metavar="[CHECKPOINT]...")
    ] = None,
) -> None:
    """List the checkpoints that ship with Lookalike, or others."""
    with exit_on_error():
        from models.checkpoint.info import find_checkpoint, list_pretrained, read_info

        table = Table("name", "backbone", "bits", "precision", "trained on", "fingerprint")
        for name in checkpoints or list_pretrained():
            info = read_info(find_checkpoint(name))
            data = f"{len(info.classes)} classes" if info.classes else "unlabelled images"
            precision = f"{info.precision}, from {info.quantisation.source}" if info.quantisation else info.precision
            table.add_row(info.name, info.backbone, str(info.bits), precision, data, info.fingerprint)
        console().print(table)
