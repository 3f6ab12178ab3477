"""`lookalike look`: write the pixels that a model is shown of an image."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.images.files import read_image_file
from app.cli.terminal import console, exit_on_error, fail, notice
from app.settings import Settings


def look(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    out: Annotated[Path | None, typer.Option(help="PNG file to write. Default: NAME-seen.png in this folder.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of a shipped checkpoint, or path of another. Default: LOOKALIKE_MODEL, or the model of "
            "new catalogues."
        ),
    ] = None,
) -> None:
    """Write the pixels that a model is shown of an image: resized, cut and in sRGB, as it reads them.

    For an image of a catalogue, `GET /images/{id}/seen` returns the same with the catalogue's model.
    """
    with exit_on_error():
        from app.catalogue.index_versions import DEFAULT_MODEL
        from app.model_switch.networks import decode_limits
        from app.search.decode.prepare import InProcessPreparer
        from models.checkpoint.info import find_checkpoint, read_info

        settings = Settings()
        info = read_info(find_checkpoint(model or settings.model or DEFAULT_MODEL))
        prepared = InProcessPreparer(info.preprocess, decode_limits(settings))(read_image_file(image))
        target = out or Path(f"{image.stem}-seen.png")
        try:
            prepared.image.save(target, "PNG")
        except OSError as error:
            fail(f"{target} cannot be written: {error.strerror or error}.")
    for warning in prepared.warnings:
        notice(warning.sentence)
    size, original = f"{prepared.image.width} × {prepared.image.height}", f"{prepared.width} × {prepared.height}"
    console().print(f"{target}: {size} pixels, as {info.name} reads an image of {original}.", soft_wrap=True)
