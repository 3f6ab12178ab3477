"""Fine-tuning on a catalogue's labels, and comparing the result with the model in use. Read-only on the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Image
from app.catalogue.vectors.file import VectorFile
from app.errors import LookalikeError
from app.quality.compare import ModelEncodings, Verdict, compare, encode
from app.quality.content import CatalogueContent
from app.quality.labelled import Labelled
from app.search.decode.prepare import ImagePreparer
from app.search.encode.batching import Encoder
from models.checkpoint.info import CheckpointInfo
from models.data.dataset import LabelledFiles
from models.data.folders import TRAIN

# Sample sizes of the comparison; larger ones do not change the result.
_MAX_DATABASE, _MAX_QUERIES = 20_000, 2_000


@dataclass(frozen=True)
class CurrentEncodings:
    """Labelled images, and their encodings by the model in use."""

    images: Labelled
    encodings: ModelEncodings


def training_options(network: CheckpointInfo, model: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return training options whose defaults continue from the model in use, if the backbone is the same.

    A model that was fitted without labels has published weights, from which training starts by default. Those of a
    library's model may be neither installed nor downloadable, so training starts from the model itself. A quantised
    model has no weights to train, so training starts from the one that it was made from.
    """
    other = options.get("backbone", network.backbone) != network.backbone
    if other or "start" in options or "weights" in options:
        return options
    source = network.quantisation.source if network.quantisation else model
    has_own_weights = bool(network.classes) or ":" in network.backbone
    start = {"start": source} if has_own_weights and options.get("imagenet", True) else {}
    return {"backbone": network.backbone, "bits": network.bits, "size": network.preprocess.size} | start | options


def training_splits(labelled: Labelled, read: Callable[[str], bytes]) -> dict[str, LabelledFiles]:
    """Return the training split; training itself holds out part of it for validation.

    Args:
        labelled: the catalogue's labels.
        read: returns an original by its hash.

    Raises:
        LookalikeError: no image is held out for the comparison.
    """
    if not len(labelled.held_out()):
        raise LookalikeError("None of the labelled images is held out for the comparison. Label a few more images.")
    return {TRAIN: labelled.trained_on().files(read, labelled.names)}


def current_encodings(
    session: Session,
    labelled: Labelled,
    content: CatalogueContent,
    vectors: VectorFile,
    network: CheckpointInfo,
    pool: int | None,
) -> CurrentEncodings:
    """Read the catalogue's encodings of a sample of labelled images, without those deleted meanwhile."""
    rows = session.execute(select(Image.sha256, Image.id).where(Image.label.is_not(None)))
    id_of = {row.sha256: row.id for row in rows}
    sample = _sample(labelled, 0)
    ids = np.array([id_of.get(sha256, -1) for sha256, _ in sample.pairs], np.int64)
    at = np.searchsorted(content.entries.ids, ids)
    present = np.flatnonzero(np.isin(ids, content.entries.ids))
    at = at[present]
    encodings = ModelEncodings(content.entries.codes[at], content.features(vectors, at), pool or network.pool)
    return CurrentEncodings(labelled.only([sample.pairs[row] for row in present]), encodings)


def compare_with_current(
    current: CurrentEncodings,
    network: CheckpointInfo,
    prepare: ImagePreparer,
    encoder: Encoder,
    read: Callable[[str], bytes],
    pool: int | None,
    report: Callable[[int, int], None],
) -> Verdict:
    """Compare a new model with the one in use, with the held-out images as queries.

    Raises:
        LookalikeError: too many of the images were deleted meanwhile.
    """
    pairs = current.images.pairs
    new, readable = encode([sha256 for sha256, _ in pairs], read, prepare, encoder, pool or network.pool, report)
    held_out = set(current.images.held_out().pairs)
    labels = np.unique([label for _, label in pairs], return_inverse=True)[1][readable]
    is_query = np.array([pairs[row] in held_out for row in readable])
    if not is_query.any() or is_query.all():
        raise LookalikeError("Too few of the labelled images are still in the catalogue to compare models.")
    return compare(current.encodings.take(readable), new, labels, is_query)


def _sample(labelled: Labelled, seed: int) -> Labelled:
    """Return a random sample, small enough that the comparison takes minutes at most."""
    rng = np.random.default_rng(seed)
    pairs: list[tuple[str, str]] = []
    for part, size in ((labelled.held_out(), _MAX_QUERIES), (labelled.trained_on(), _MAX_DATABASE)):
        rows = np.sort(rng.permutation(len(part))[:size])
        pairs += [part.pairs[row] for row in rows]
    return labelled.only(pairs)
