"""Training data from the catalogue's labels, for `lookalike train --catalogue`.

A tenth of the images is always held out, chosen by the hash of their bytes, or of their product where a field says
which images show one. The choice does not change when images are added, so models fine-tuned on this catalogue can be
compared on images that none of them was trained on.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, true
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Image
from app.catalogue.filters.facets import count_facets
from app.catalogue.filters.sql import field_value
from app.errors import LookalikeError
from app.quality.messages import listed, nearest_or_all
from models.data.dataset import LabelledFiles

MIN_LABELS, MIN_IMAGES_PER_LABEL = 2, 20
_HELD_OUT_ONE_IN = 10


@dataclass(frozen=True)
class Labelled:
    """Pairs of an original's hash and its label, sorted by hash, and the products by hash, where they are known."""

    pairs: tuple[tuple[str, str], ...]
    products: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted({label for _, label in self.pairs}))

    def held_out(self) -> "Labelled":
        """Return the images that are never trained on."""
        return self.only(tuple(pair for pair in self.pairs if self._is_held_out(pair[0])))

    def trained_on(self) -> "Labelled":
        """Return the images that are not held out."""
        return self.only(tuple(pair for pair in self.pairs if not self._is_held_out(pair[0])))

    def only(self, pairs: Sequence[tuple[str, str]]) -> "Labelled":
        """Return some of the pairs."""
        return Labelled(tuple(pairs), self.products)

    def _is_held_out(self, sha256: str) -> bool:
        product = self.products.get(sha256)
        digest = sha256 if product is None else hashlib.sha256(product.encode()).hexdigest()
        return int(digest[:8], 16) % _HELD_OUT_ONE_IN == 0

    def files(self, read: Callable[[str], bytes], names: tuple[str, ...]) -> LabelledFiles:
        """Return a dataset for training, with hashes as paths and labels as indices into `names`."""
        at = {name: number for number, name in enumerate(names)}
        labels: NDArray[np.int64] = np.array([at[label] for _, label in self.pairs], np.int64)
        paths = tuple(Path(sha256) for sha256, _ in self.pairs)
        return LabelledFiles(names, paths, labels, lambda path: read(path.name), products=self._numbered_products())

    def _numbered_products(self) -> NDArray[np.int64] | None:
        """Number the products of the pairs, `(n,)`; an image without one is a product of its own."""
        if not self.products:
            return None
        _, numbers = np.unique(
            [self.products.get(sha256, f"\0{sha256}") for sha256, _ in self.pairs], return_inverse=True
        )
        return numbers.astype(np.int64)


def read_labelled(session: Session, products: str | None = None) -> Labelled:
    """Read the labels of all originals; originals with more than one label are left out.

    Args:
        session: of a snapshot.
        products: metadata field that is equal for images of one product.

    Raises:
        LookalikeError: no labelled image has the field.
    """
    rows = select(Image.sha256, Image.label).where(Image.label.is_not(None)).distinct()
    pairs = [(sha256, str(label)) for sha256, label in session.execute(rows.order_by(Image.sha256))]
    label_counts = Counter(sha256 for sha256, _ in pairs)
    found = Labelled(tuple(pair for pair in pairs if label_counts[pair[0]] == 1))
    return found if products is None else Labelled(found.pairs, _read_products(session, products))


def _read_products(session: Session, name: str) -> dict[str, str]:
    """Read the value of a field by original; of an original with several values, the first is used."""
    value = field_value(name)
    rows = session.execute(
        select(Image.sha256, value).where(Image.label.is_not(None), value.is_not(None)).order_by(Image.id.desc())
    )
    found = {sha256: json.dumps(product, sort_keys=True) for sha256, product in rows}
    if not found:
        names = (known.name for known in count_facets(session, true()).fields)
        hint = nearest_or_all(name, names, "The fields are:")
        raise LookalikeError(f"--products: no labelled image has the field {name}. {hint}")
    return found


def drop_rare_labels(labelled: Labelled) -> tuple[Labelled, list[str]]:
    """Drop labels with too few images; returns the rest, and a warning that lists the dropped labels if there are any.

    Raises:
        LookalikeError: fewer than two labels remain.
    """
    counts = Counter(label for _, label in labelled.pairs)
    rare = sorted(label for label, count in counts.items() if count < MIN_IMAGES_PER_LABEL)
    if len(counts) - len(rare) < MIN_LABELS:
        present = listed(f"{label} ({count})" for label, count in counts.most_common())
        raise LookalikeError(
            f"Training needs at least {MIN_LABELS} labels with {MIN_IMAGES_PER_LABEL} different images each. "
            f"The catalogue has {present or 'no labels'}. Add labels with `lookalike index FOLDER`, which takes them "
            "from subfolders, or with PATCH /images/{id}."
        )
    rest = labelled.only(tuple(pair for pair in labelled.pairs if pair[1] not in rare))
    dropped = listed(f"{label} ({counts[label]})" for label in rare)
    return rest, [f"Labels with fewer than {MIN_IMAGES_PER_LABEL} images are left out: {dropped}."] if rare else []


def save_selection(labelled: Labelled, path: Path) -> None:
    """Save the training data's hashes and labels, so that an interrupted run can continue with the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps({"pairs": labelled.pairs, "products": dict(labelled.products)}))
    temporary.replace(path)


def load_selection(path: Path) -> Labelled:
    """Load what `save_selection` wrote.

    Raises:
        LookalikeError: the file is damaged.
    """
    try:
        saved = json.loads(path.read_text())
        # Earlier versions saved the pairs alone.
        pairs, products = (saved, {}) if isinstance(saved, list) else (saved["pairs"], saved["products"])
        return Labelled(tuple((str(sha256), str(label)) for sha256, label in pairs), dict(products))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LookalikeError(f"{path} is damaged ({error}). Delete it to start the training again.") from error
