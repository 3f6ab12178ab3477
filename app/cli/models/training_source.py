"""What `train` learns from: a labelled folder, shards, or a table with columns of labels and of products."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import fail

if TYPE_CHECKING:
    from models.data.dataset import Splits

Labels = Annotated[
    str | None,
    typer.Option(
        help="Columns of the table with the labels, separated by commas; searches are measured by the first. "
        "Default: label."
    ),
]
Products = Annotated[
    str | None,
    typer.Option(
        help="Column of the table, or with --catalogue a metadata field, that is equal for images of one product: they "
        "are trained on or held out together. Default: near-copies are."
    ),
]


def open_source(source: Path, labels: str | None, products: str | None) -> "Path | Splits":
    """Return a folder as it is, and a table as its labelled files.

    Raises:
        InvalidInputError: the table cannot be used.
    """
    from app.quality.training_table import LABEL, is_table, read_training_table
    from models.data.folders import TRAIN

    if not is_table(source):
        if labels is not None:
            fail("--labels names columns of a table. In a folder the labels are the names of its folders.")
        if products is not None:
            fail("--products names a column of a table, or with --catalogue a metadata field. A folder has neither.")
        return source
    columns = list(dict.fromkeys(name.strip() for name in (labels or LABEL).split(",") if name.strip()))
    if not columns:
        fail("--labels names no column.")
    return {TRAIN: read_training_table(source, columns, products)}
