"""A sample of the catalogue's images as a network reads them, with their labels. Read-only on the catalogue."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Image
from app.errors import ImageRejectedError, LookalikeError
from app.search.decode.prepare import ImagePreparer
from app.search.decode.retries import retry_while_unavailable
from models.data.dataset import LoadedImages, allocate_images
from models.network.preprocess import Preprocess

_BATCH_SIZE = 64
# An original and its label, if it has one.
Original = tuple[str, str | None]


def sample_originals(session: Session, count: int) -> list[Original]:
    """Return at most `count` originals, by their hashes, which is a random and repeatable choice."""
    rows = select(Image.sha256, func.min(Image.label)).group_by(Image.sha256).order_by(Image.sha256).limit(count)
    return [(sha256, label) for sha256, label in session.execute(rows)]


def load_originals(
    originals: Sequence[Original],
    read: Callable[[str], bytes],
    prepare: ImagePreparer,
    preprocess: Preprocess,
    report: Callable[[int, int], None],
) -> LoadedImages:
    """Decode originals for a network; those that cannot be read are left out. The label of one without is -1.

    Raises:
        LookalikeError: none can be read.
    """
    names = sorted({label for _, label in originals if label is not None})
    number = {name: at for at, name in enumerate(names)}
    images, labels = allocate_images(len(originals), preprocess.shape), list[int]()

    def decode(original: Original) -> NDArray[np.uint8] | None:
        try:
            return prepare(read(original[0])).pixels
        except (OSError, ImageRejectedError):
            return None

    def decode_all(threads: ThreadPoolExecutor, some: Sequence[Original]) -> list[NDArray[np.uint8] | None]:
        return list(threads.map(decode, some))

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for first in range(0, len(originals), _BATCH_SIZE):
            batch = originals[first : first + _BATCH_SIZE]
            decoded = retry_while_unavailable(partial(decode_all, threads, batch))
            for (_, label), image in zip(batch, decoded, strict=True):
                if image is not None:
                    images[len(labels)] = image
                    labels.append(-1 if label is None else number[label])
            report(min(first + _BATCH_SIZE, len(originals)), len(originals))
    if not labels:
        raise LookalikeError("None of the catalogue's originals can be read. Run `lookalike check`.")
    return LoadedImages(images[: len(labels)], np.array(labels, np.int64), ())
