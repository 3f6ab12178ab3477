"""Training data from the catalogue's labels, for `lookalike train --catalogue`.

A tenth of the images is always held out, chosen by the hash of their bytes. The choice does not change when images are
added, so models fine-tuned on this catalogue can be compared on images that none of them was trained on.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Image
from app.errors import LookalikeError
from models.data.dataset import LabelledFiles

MIN_LABELS, MIN_IMAGES_PER_LABEL = 2, 20
_HELD_OUT_ONE_IN = 10
_MAX_LISTED = 8


@dataclass(frozen=True)
class Labelled:
    """Pairs of an original's hash and its label, sorted by hash."""

    pairs: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted({label for _, label in self.pairs}))

    def held_out(self) -> "Labelled":
        """Return the images that are never trained on."""
        return Labelled(tuple(pair for pair in self.pairs if _is_held_out(pair[0])))

    def trained_on(self) -> "Labelled":
        """Return the images that are not held out."""
        return Labelled(tuple(pair for pair in self.pairs if not _is_held_out(pair[0])))

    def files(self, read: Callable[[str], bytes], names: tuple[str, ...]) -> LabelledFiles:
        """Return a dataset for training, with hashes as paths and labels as indices into `names`."""
        at = {name: number for number, name in enumerate(names)}
        labels: NDArray[np.int64] = np.array([at[label] for _, label in self.pairs], np.int64)
        paths = tuple(Path(sha256) for sha256, _ in self.pairs)
        return LabelledFiles(names, paths, labels, lambda path: read(path.name))


def read_labelled(session: Session) -> Labelled:
    """Read the labels of all originals; originals with more than one label are left out."""
    rows = select(Image.sha256, Image.label).where(Image.label.is_not(None)).distinct()
    pairs = [(sha256, str(label)) for sha256, label in session.execute(rows.order_by(Image.sha256))]
    label_counts = Counter(sha256 for sha256, _ in pairs)
    return Labelled(tuple(pair for pair in pairs if label_counts[pair[0]] == 1))


def drop_rare_labels(labelled: Labelled) -> tuple[Labelled, list[str]]:
    """Drop labels with too few images; returns the rest, and a warning that lists the dropped labels if there are any.

    Raises:
        LookalikeError: fewer than two labels remain.
    """
    counts = Counter(label for _, label in labelled.pairs)
    rare = sorted(label for label, count in counts.items() if count < MIN_IMAGES_PER_LABEL)
    if len(counts) - len(rare) < MIN_LABELS:
        present = _listed(f"{label} ({count})" for label, count in counts.most_common())
        raise LookalikeError(
            f"Training needs at least {MIN_LABELS} labels with {MIN_IMAGES_PER_LABEL} different images each. "
            f"The catalogue has {present or 'no labels'}. Add labels with `lookalike index FOLDER`, which takes them "
            "from subfolders, or with PATCH /images/{id}."
        )
    rest = Labelled(tuple(pair for pair in labelled.pairs if pair[1] not in rare))
    dropped = _listed(f"{label} ({counts[label]})" for label in rare)
    return rest, [f"Labels with fewer than {MIN_IMAGES_PER_LABEL} images are left out: {dropped}."] if rare else []


def save_selection(labelled: Labelled, path: Path) -> None:
    """Save the training data's hashes and labels, so that an interrupted run can continue with the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(labelled.pairs))
    temporary.replace(path)


def load_selection(path: Path) -> Labelled:
    """Load what `save_selection` wrote.

    Raises:
        LookalikeError: the file is damaged.
    """
    try:
        return Labelled(tuple((str(sha256), str(label)) for sha256, label in json.loads(path.read_text())))
    except (OSError, ValueError, TypeError) as error:
        raise LookalikeError(f"{path} is damaged ({error}). Delete it to start the training again.") from error


def _is_held_out(sha256: str) -> bool:
    return int(sha256[:8], 16) % _HELD_OUT_ONE_IN == 0


def _listed(words: Iterable[str]) -> str:
    all_words = list(words)
    more = f" and {len(all_words) - _MAX_LISTED} more" if len(all_words) > _MAX_LISTED else ""
    return ", ".join(all_words[:_MAX_LISTED]) + more
