"""Which network the catalogue is encoded by. Codes of different networks are never compared."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from app.catalogue import queries
from app.catalogue.advisory_registry import Role, held_by
from app.catalogue.database.tables import CatalogueState, Encoding, Generation, Picture
from app.catalogue.vectors.file import VectorType
from app.errors import ModelMismatchError, NotFoundError
from models.checkpoint.info import PRETRAINED, CheckpointInfo

log = logging.getLogger(__name__)

DEFAULT_MODEL = "general"
IndexKind = Literal["local", "milvus"]


def model_for(session: Session, asked: str | None) -> str:
    """Returns the checkpoint to use: the one that was asked for, else the catalogue's own, else the default."""
    in_use = queries.generation_in_use(session)
    return asked or (in_use.model if in_use is not None else DEFAULT_MODEL)


def adopt(
    session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32", index: IndexKind = "local"
) -> Generation:
    """Returns the generation that this network fills: the one in use, or a new one in an empty catalogue.

    Args:
        session: a transaction.
        network: what its checkpoint says.
        path: where that checkpoint is.
        vectors: how a new generation keeps F7.
        index: where a new generation is kept.

    Raises:
        ModelMismatchError: the catalogue holds pictures that another network encoded.
    """
    session.scalars(select(CatalogueState).with_for_update()).one()
    in_use = queries.generation_in_use(session)
    if in_use is not None and in_use.fingerprint == network.fingerprint and _stays(session, in_use, index):
        return in_use
    if in_use is not None and not queries.is_empty(session):
        raise ModelMismatchError(
            f"This catalogue was encoded by the network {in_use.model} ({in_use.fingerprint}), and "
            f"{network.name} ({network.fingerprint}) was asked for; their codes cannot be compared. "
            f"`lookalike reindex {path.with_suffix('')}` moves the catalogue to it; without LOOKALIKE_MODEL the "
            "service uses the catalogue's own."
        )
    generation = find_or_create(session, network, path, vectors, index)
    switch(session, generation.id)
    return generation


def _stays(session: Session, in_use: Generation, wanted: IndexKind) -> bool:
    """Tells whether the catalogue stays in its index: an empty one goes where the settings say."""
    if in_use.index_backend == wanted:
        return True
    if queries.is_empty(session):
        return False
    log.warning(
        "the catalogue stays in its index (%s): LOOKALIKE_INDEX_BACKEND=%s applies to new catalogues, and to "
        "`lookalike reindex %s`, which moves it there while searches go on",
        in_use.index_backend,
        wanted,
        in_use.model,
    )
    return True


def find_or_create(
    session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32", index: IndexKind = "local"
) -> Generation:
    """Returns this network's generation in such an index, whether in use or not, and makes it where there is none."""
    # With the catalogue held, so that two who look for it do not both make it.
    session.scalars(select(CatalogueState).with_for_update()).one()
    same = (
        Generation.fingerprint == network.fingerprint,
        Generation.vector_dtype == vectors,
        Generation.index_backend == index,
    )
    found = session.scalar(select(Generation).where(*same).limit(1))
    if found is not None:
        found.model = _address(path)
        return found
    generation = Generation(
        fingerprint=network.fingerprint,
        model=_address(path),
        bits=network.bits,
        feature_dim=network.feature_dim,
        vector_dtype=vectors,
        index_backend=index,
    )
    session.add(generation)
    session.flush()
    return generation


def switch(session: Session, generation_id: int) -> None:
    """Makes a generation the one that searches use, as a change like any other."""
    state = session.scalars(select(CatalogueState).with_for_update()).one()
    state.index_version_id = generation_id
    state.seq += 1


def by_id(session: Session, generation_id: int) -> Generation:
    """Returns a generation.

    Raises:
        NotFoundError: there is no such generation.
    """
    found = session.get(Generation, generation_id)
    if found is None:
        raise NotFoundError("generation", generation_id)
    return found


def require_same(generation: Generation, network: CheckpointInfo) -> None:
    """Finds out whether a network is the one that a generation is of.

    Raises:
        ModelMismatchError: the checkpoint is another by now.
    """
    if generation.fingerprint != network.fingerprint:
        raise ModelMismatchError(
            f"{generation.model} holds another network by now ({network.fingerprint}) than the one that encoded the "
            f"catalogue ({generation.fingerprint}). Put that one back."
        )


def uses(session: Session, path: Path) -> bool:
    """Tells whether a checkpoint belongs to a generation, in use or left as a way back."""
    return session.scalar(select(Generation.id).where(Generation.model == _address(path)).limit(1)) is not None


def id_in_use(asked: Connection | Session) -> int | None:
    """Returns the id of the generation that searches use; None in a new catalogue."""
    return asked.execute(select(CatalogueState.index_version_id)).scalar_one()


@dataclass(frozen=True)
class Filling:
    """A generation that somebody encodes the catalogue for just now, and how far that is."""

    fingerprint: str
    model: str
    processed: int
    total: int


def being_filled(session: Session) -> Filling | None:
    """Returns what the catalogue is about to move to, if somebody is at it."""
    for generation_id in held_by(session, Role.FILLING):
        generation = session.get(Generation, generation_id)
        if generation is not None and generation_id != id_in_use(session):
            done, total = progress(session, generation_id)
            return Filling(generation.fingerprint, generation.model, done, total)
    return None


def progress(session: Session, generation_id: int) -> tuple[int, int]:
    """Counts the pictures that a generation has encoded, and all."""
    done = select(func.count()).where(Encoding.index_version_id == generation_id)
    return session.scalars(done).one(), session.scalars(select(func.count(Picture.id))).one()


def _address(path: Path) -> str:
    """Returns what finds the checkpoint again: its name if it ships, else its path."""
    return path.stem if path.parent == PRETRAINED else str(path.resolve())
