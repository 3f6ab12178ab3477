"""Learning from a catalogue's labels, and finding out whether that made its search better. Only reads the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Picture
from app.catalogue.vectors.file import VectorFile
from app.errors import LookalikeError
from app.quality.compare import Side, Verdict, compare, encode
from app.quality.content import Content
from app.quality.labelled import Labelled
from app.search.decode.prepare import Preparer
from app.search.encode.batching import Encoder
from models.checkpoint.info import CheckpointInfo
from models.data.dataset import TRAIN, LabelledFiles

# More pictures to search among tell no more.
_MOST_SEARCHED, _MOST_ASKING = 20_000, 2_000


@dataclass(frozen=True)
class InUse:
    """What the network in use makes of labelled pictures: which they are, and its encodings of them."""

    pictures: Labelled
    side: Side


def recipe_for(network: CheckpointInfo, model: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """Returns how to train unless the person chose otherwise: on from the network in use, if the backbone is its own.

    A network that never saw labels is what ImageNet's weights are, and those are what training starts from by itself.
    """
    if chosen.get("backbone", network.backbone) != network.backbone or "start" in chosen:
        return chosen
    start = {"start": model} if network.classes and chosen.get("imagenet", True) else {}
    return {"backbone": network.backbone, "bits": network.bits, "size": network.preprocess.size} | start | chosen


def splits(found: Labelled, read: Callable[[str], bytes]) -> dict[str, LabelledFiles]:
    """Returns what to learn from; training holds out some of it for itself, to judge its epochs by.

    Args:
        found: the catalogue's labels.
        read: gives an original by its hash.

    Raises:
        LookalikeError: nothing is left to compare by.
    """
    if not len(found.held_out()):
        raise LookalikeError("None of the labelled pictures is held out to compare by; that takes a few more of them.")
    return {TRAIN: found.learnt_from().files(read, found.names)}


def in_use(
    session: Session, found: Labelled, content: Content, vectors: VectorFile, network: CheckpointInfo, pool: int | None
) -> InUse:
    """Reads what the catalogue has of these pictures, leaving out those that went meanwhile."""
    rows = session.execute(select(Picture.sha256, Picture.id).where(Picture.label.is_not(None)))
    ids = {row.sha256: row.id for row in rows}
    chosen = _sample(found, 0)
    wanted = np.array([ids.get(sha256, -1) for sha256, _ in chosen.pairs], np.int64)
    at = np.searchsorted(content.entries.ids, wanted)
    there = np.flatnonzero(np.isin(wanted, content.entries.ids))
    side = Side(content.entries.codes[at[there]], content.features(vectors, at[there]), pool or network.pool)
    return InUse(Labelled(tuple(chosen.pairs[row] for row in there)), side)


def judge(
    before: InUse,
    network: CheckpointInfo,
    prepare: Preparer,
    encoder: Encoder,
    read: Callable[[str], bytes],
    pool: int | None,
    report: Callable[[int, int], None],
) -> Verdict:
    """Compares a new network with the one in use, by the pictures that are held out.

    Raises:
        LookalikeError: too many of the pictures went meanwhile.
    """
    pairs = before.pictures.pairs
    after, kept = encode([sha256 for sha256, _ in pairs], read, prepare, encoder, pool or network.pool, report)
    held_out = set(before.pictures.held_out().pairs)
    labels = np.unique([label for _, label in pairs], return_inverse=True)[1][kept]
    asking = np.array([pairs[row] in held_out for row in kept])
    if not asking.any() or asking.all():
        raise LookalikeError("Too few of the pictures are still in the catalogue to compare by.")
    return compare(before.side.take(kept), after, labels, asking)


def _sample(found: Labelled, seed: int) -> Labelled:
    """Returns so many that comparing takes minutes at most, chosen at random."""
    rng = np.random.default_rng(seed)
    some: list[tuple[str, str]] = []
    for part, most in ((found.held_out(), _MOST_ASKING), (found.learnt_from(), _MOST_SEARCHED)):
        rows = np.sort(rng.permutation(len(part))[:most])
        some += [part.pairs[row] for row in rows]
    return Labelled(tuple(some))
