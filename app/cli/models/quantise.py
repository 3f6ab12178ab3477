"""`lookalike quantise`: an int8 or bf16 network, beside the one it is made from."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.cli.output_guard import refuse_finished
from app.cli.terminal import console, exit_on_error, fail, progress_steps
from app.settings import Settings

if TYPE_CHECKING:
    from models.checkpoint.info import CheckpointInfo
    from models.data.dataset import LoadedImages
    from models.quantisation.comparison import Comparison

Report = Callable[[str, int, int], None]


def quantise(
    network: Annotated[str, typer.Argument(help="Name of a shipped checkpoint, or path of another.")],
    precision: Annotated[str, typer.Option(help="int8 or bf16.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images like those to search; DIR/CLASS/FILE gives labels to measure with."),
    ] = None,
    catalogue: Annotated[bool, typer.Option("--catalogue", help="Use a sample of the catalogue instead.")] = False,
    out: Annotated[Path, typer.Option(help="Path of the new checkpoint, without suffix.")] = Path("runs/quantised"),
) -> None:
    """Make a faster network of lower precision, and measure it beside the one it is made from."""
    if (images is None) != catalogue:
        fail("Give either --images FOLDER or --catalogue: a sample of the images that are to be searched.")
    refuse_finished(out)
    with exit_on_error():
        from models.network.instructions import FAST_INT8, instructions
        from models.quantisation.quantise import open_source
        from models.quantisation.quantise import quantise as run

        source = open_source(network, precision)
        with progress_steps() as report:
            sample = _load(images, source.info, report)
            info, comparison = run(source, sample, out, report)
        for path in sample.unreadable:
            console().print(f"{path} is not a readable image and was skipped.", soft_wrap=True)
        _show(info, comparison)
        if precision == "int8" and not set(FAST_INT8) & set(instructions()):
            console().print(f"This CPU has none of {', '.join(FAST_INT8)}, with which int8 is fastest.", soft_wrap=True)
        console().print(
            f"{out}.safetensors, fingerprint {info.fingerprint}. `lookalike reindex {out}` switches the catalogue to "
            "it.",
            soft_wrap=True,
        )


def _load(folder: Path | None, info: "CheckpointInfo", report: Report) -> "LoadedImages":
    """Load the sample: of a folder, or of the catalogue if there is none."""
    from models.quantisation.sample import MAX_IMAGES, load_sample

    if folder is not None:
        return load_sample(folder, info.preprocess, lambda done, total: report("decoding", done, total))
    from contextlib import closing

    from app.bootstrap import open_database
    from app.catalogue.storage.factory import open_storage
    from app.model_switch.networks import start_decode_workers
    from app.quality.catalogue_sample import load_originals, sample_originals

    settings = Settings()
    with open_database(settings) as database, database.read_session() as session:
        originals = sample_originals(session, MAX_IMAGES)
    if not originals:
        fail("The catalogue is empty. Add images with `lookalike index FOLDER`, or give --images FOLDER.")
    read = open_storage(settings.storage_url, settings.data_dir).read
    with closing(start_decode_workers(settings, info)) as prepare:
        return load_originals(
            originals, read, prepare, info.preprocess, lambda done, total: report("decoding", done, total)
        )


def _show(info: "CheckpointInfo", found: "Comparison") -> None:
    """Print the measurement."""
    console().print(
        f"{found.images} images: mean cosine of F7 {found.cosine:.4f}; mean L2 {found.distance:.3f}, where the nearest "
        f"other image is at {found.nearest:.3f}; {found.bits:.1f} of {info.bits} bits of a code differ.",
        soft_wrap=True,
    )
    table = Table("", "f32", info.precision)
    for mode in ("es", "hds"):
        before, after = (getattr(measures, mode) for measures in (found.f32, found.quantised))
        if before.precision is not None and after.precision is not None:
            table.add_row(f"P@10, {mode}", f"{before.precision:.4f}", f"{after.precision:.4f}")
        table.add_row(f"recall@10, {mode}", f"{before.recall:.4f}", f"{after.recall:.4f}")
    for title, name in (("ms, one image", "milliseconds"), ("ms, in batches", "milliseconds_in_batches")):
        first, second = (getattr(measures, name) for measures in (found.f32, found.quantised))
        table.add_row(title, f"{first:.2f}", f"{second:.2f} ({second / first:.2f} of f32)")
    console().print(table)
    console().print(
        f"{found.queries} of the images searched the others, in hds with a pool of {found.pool}. recall@10 is the "
        "share of the ten nearest by F7 in f32.",
        soft_wrap=True,
    )
