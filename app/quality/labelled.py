"""The catalogue's labels as something to learn from: `lookalike train --catalogue`.

A tenth of the pictures is never learnt from, chosen by the hash of their bytes: the same ones every time, whatever is
added, so that networks which learnt from this catalogue can be compared by pictures that none of them has seen.
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

from app.catalogue.database.tables import Picture
from app.errors import LookalikeError
from models.data.dataset import LabelledFiles

FEWEST_LABELS, FEWEST_PICTURES = 2, 20
_ONE_IN = 10
_NAMED = 8


@dataclass(frozen=True)
class Labelled:
    """Originals by hash, each with its label, in the order of hashes."""

    pairs: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """The labels."""
        return tuple(sorted({label for _, label in self.pairs}))

    def held_out(self) -> "Labelled":
        """Returns those that are never learnt from."""
        return Labelled(tuple(pair for pair in self.pairs if _is_held_out(pair[0])))

    def learnt_from(self) -> "Labelled":
        """Returns the others."""
        return Labelled(tuple(pair for pair in self.pairs if not _is_held_out(pair[0])))

    def files(self, read: Callable[[str], bytes], names: tuple[str, ...]) -> LabelledFiles:
        """Returns them as training reads them, each called by its hash, labels in the order of `names`."""
        at = {name: number for number, name in enumerate(names)}
        labels: NDArray[np.int64] = np.array([at[label] for _, label in self.pairs], np.int64)
        paths = tuple(Path(sha256) for sha256, _ in self.pairs)
        return LabelledFiles(names, paths, labels, lambda path: read(path.name))


def read_labelled(session: Session) -> Labelled:
    """Reads which originals have which label; what has two labels teaches neither and is left out."""
    rows = select(Picture.sha256, Picture.label).where(Picture.label.is_not(None)).distinct()
    pairs = [(sha256, str(label)) for sha256, label in session.execute(rows.order_by(Picture.sha256))]
    often = Counter(sha256 for sha256, _ in pairs)
    return Labelled(tuple(pair for pair in pairs if often[pair[0]] == 1))


def enough(found: Labelled) -> tuple[Labelled, list[str]]:
    """Leaves out labels with too few pictures; returns the rest and what to say of it.

    Raises:
        LookalikeError: fewer than two labels are left.
    """
    counts = Counter(label for _, label in found.pairs)
    few = sorted(label for label, count in counts.items() if count < FEWEST_PICTURES)
    if len(counts) - len(few) < FEWEST_LABELS:
        there = _listed(f"{label} ({count})" for label, count in counts.most_common())
        raise LookalikeError(
            f"Learning wants {FEWEST_LABELS} labels or more with {FEWEST_PICTURES} different pictures each. "
            f"The catalogue has {there or 'no labels'}. `lookalike index FOLDER` takes labels from subfolders, "
            "PATCH /images/{id} gives one to a picture."
        )
    kept = Labelled(tuple(pair for pair in found.pairs if pair[1] not in few))
    left_out = _listed(f"{label} ({counts[label]})" for label in few)
    return kept, [f"Fewer than {FEWEST_PICTURES} pictures, so not learnt from: {left_out}."] if few else []


def keep(found: Labelled, path: Path) -> None:
    """Writes down what is learnt from, so that a run that was stopped goes on with the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(found.pairs))
    temporary.replace(path)


def kept(path: Path) -> Labelled:
    """Reads what `keep` wrote.

    Raises:
        LookalikeError: it is damaged.
    """
    try:
        return Labelled(tuple((str(sha256), str(label)) for sha256, label in json.loads(path.read_text())))
    except (OSError, ValueError, TypeError) as error:
        raise LookalikeError(f"{path} is damaged ({error}). Delete it to start anew.") from error


def _is_held_out(sha256: str) -> bool:
    return int(sha256[:8], 16) % _ONE_IN == 0


def _listed(words: Iterable[str]) -> str:
    found = list(words)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
