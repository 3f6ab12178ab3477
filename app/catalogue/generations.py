"""Index versions: which network the catalogue is encoded by. Codes of different networks are never compared."""

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


def model_for(session: Session, requested: str | None) -> str:
    """Return the checkpoint to use: the requested one, else the catalogue's, else the default."""
    active = queries.generation_in_use(session)
    return requested or (active.model if active is not None else DEFAULT_MODEL)


def adopt(
    session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32", index: IndexKind = "local"
) -> Generation:
    """Return the active index version for this network; in an empty catalogue, switch to one.

    Args:
        session: a transaction.
        network: description of the checkpoint.
        path: path of the checkpoint.
        vectors: storage type of F7 in a new index version.
        index: index backend of a new index version.

    Raises:
        ModelMismatchError: the catalogue is not empty, and was encoded by another network.
    """
    session.scalars(select(CatalogueState).with_for_update()).one()
    active = queries.generation_in_use(session)
    if active is not None and active.fingerprint == network.fingerprint and _keeps_backend(session, active, index):
        return active
    if active is not None and not queries.is_empty(session):
        raise ModelMismatchError(
            f"The requested network {network.name} ({network.fingerprint}) is not the one that encoded this catalogue, "
            f"{active.model} ({active.fingerprint}); their codes cannot be compared. Run `lookalike reindex "
            f"{path.with_suffix('')}` to switch the catalogue to it, or unset LOOKALIKE_MODEL to use the catalogue's."
        )
    index_version = find_or_create(session, network, path, vectors, index)
    switch(session, index_version.id)
    return index_version


def _keeps_backend(session: Session, active: Generation, wanted: IndexKind) -> bool:
    """Return whether the catalogue keeps its index backend; an empty catalogue uses the configured one."""
    if active.index_backend == wanted:
        return True
    if queries.is_empty(session):
        return False
    log.warning(
        "the catalogue keeps its index backend (%s): LOOKALIKE_INDEX_BACKEND=%s applies to new catalogues only; "
        "to move the catalogue, run `lookalike reindex %s`",
        active.index_backend,
        wanted,
        active.model,
    )
    return True


def find_or_create(
    session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32", index: IndexKind = "local"
) -> Generation:
    """Return this network's index version with these storage options, active or not; create it if there is none."""
    # Lock the catalogue, so that two processes do not both create it.
    session.scalars(select(CatalogueState).with_for_update()).one()
    same = (
        Generation.fingerprint == network.fingerprint,
        Generation.vector_dtype == vectors,
        Generation.index_backend == index,
    )
    found = session.scalar(select(Generation).where(*same).limit(1))
    if found is not None:
        found.model = _checkpoint_reference(path)
        return found
    index_version = Generation(
        fingerprint=network.fingerprint,
        model=_checkpoint_reference(path),
        bits=network.bits,
        feature_dim=network.feature_dim,
        vector_dtype=vectors,
        index_backend=index,
    )
    session.add(index_version)
    session.flush()
    return index_version


def switch(session: Session, index_version_id: int) -> None:
    """Make an index version the active one, as one change."""
    state = session.scalars(select(CatalogueState).with_for_update()).one()
    state.index_version_id = index_version_id
    state.seq += 1


def by_id(session: Session, index_version_id: int) -> Generation:
    """Return an index version.

    Raises:
        NotFoundError: there is no such index version.
    """
    found = session.get(Generation, index_version_id)
    if found is None:
        raise NotFoundError("index version", index_version_id)
    return found


def require_same(index_version: Generation, network: CheckpointInfo) -> None:
    """Check that a checkpoint still holds the network of an index version.

    Raises:
        ModelMismatchError: the checkpoint holds another network.
    """
    if index_version.fingerprint != network.fingerprint:
        raise ModelMismatchError(
            f"The checkpoint {index_version.model} holds another network ({network.fingerprint}) than the one that "
            f"encoded the catalogue ({index_version.fingerprint}). Restore the original checkpoint."
        )


def uses(session: Session, path: Path) -> bool:
    """Return whether any index version, active or not, uses a checkpoint."""
    return (
        session.scalar(select(Generation.id).where(Generation.model == _checkpoint_reference(path)).limit(1))
        is not None
    )


def id_in_use(connection: Connection | Session) -> int | None:
    """Return the id of the active index version; None in a new catalogue."""
    return connection.execute(select(CatalogueState.index_version_id)).scalar_one()


@dataclass(frozen=True)
class Filling:
    """Progress of a reindexing run: the network, and the number of encoded images."""

    fingerprint: str
    model: str
    processed: int
    total: int


def being_filled(session: Session) -> Filling | None:
    """Return the progress of the running reindex; None if none is running."""
    for index_version_id in held_by(session, Role.FILLING):
        index_version = session.get(Generation, index_version_id)
        if index_version is not None and index_version_id != id_in_use(session):
            done, total = progress(session, index_version_id)
            return Filling(index_version.fingerprint, index_version.model, done, total)
    return None


def progress(session: Session, index_version_id: int) -> tuple[int, int]:
    """Return the number of images encoded in an index version, and of all images."""
    done = select(func.count()).where(Encoding.index_version_id == index_version_id)
    return session.scalars(done).one(), session.scalars(select(func.count(Picture.id))).one()


def _checkpoint_reference(path: Path) -> str:
    """Return the stored reference to a checkpoint: its name if it ships with the service, else its path."""
    return path.stem if path.parent == PRETRAINED else str(path.resolve())
