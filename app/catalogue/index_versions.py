"""Index versions: which network the catalogue is encoded by. Codes of different networks are never compared."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from app.catalogue import queries
from app.catalogue.advisory_registry import VersionUse, lock_holders
from app.catalogue.database.tables import CatalogueState, Encoding, Image, IndexVersion
from app.catalogue.vectors.file import VectorType
from app.errors import ModelMismatchError, NotFoundError
from models.checkpoint.info import PRETRAINED, CheckpointInfo

log = logging.getLogger(__name__)

DEFAULT_MODEL = "general-small"
IndexBackend = Literal["local", "milvus"]


def select_model(session: Session, requested: str | None) -> str:
    """Return the checkpoint to use: the requested one, else the catalogue's, else the default."""
    active = queries.active_index_version(session)
    return requested or (active.model if active is not None else DEFAULT_MODEL)


def activate_for(
    session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32", index: IndexBackend = "local"
) -> IndexVersion:
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
    active = queries.active_index_version(session)
    if active is not None and active.fingerprint == network.fingerprint and _keeps_backend(session, active, index):
        return active
    if active is not None and not queries.is_empty(session):
        raise ModelMismatchError(
            f"The requested network {network.name} ({network.fingerprint}) is not the one that encoded this catalogue, "
            f"{active.model} ({active.fingerprint}); their codes cannot be compared. Run `lookalike reindex "
            f"{path.with_suffix('')}` to switch the catalogue to it, or unset LOOKALIKE_MODEL to use the catalogue's."
        )
    index_version = find_or_create(session, network, path, vectors, index)
    activate(session, index_version.id)
    return index_version


def _keeps_backend(session: Session, active: IndexVersion, wanted: IndexBackend) -> bool:
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
    session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32", index: IndexBackend = "local"
) -> IndexVersion:
    """Return this network's index version with these storage options, active or not; create it if there is none."""
    # Lock the catalogue, so that two processes do not both create it.
    session.scalars(select(CatalogueState).with_for_update()).one()
    same = (
        IndexVersion.fingerprint == network.fingerprint,
        IndexVersion.vector_dtype == vectors,
        IndexVersion.index_backend == index,
    )
    found = session.scalar(select(IndexVersion).where(*same).limit(1))
    if found is not None:
        found.model = _checkpoint_reference(path)
        return found
    index_version = IndexVersion(
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


def activate(session: Session, index_version_id: int) -> None:
    """Make an index version the active one, as one change."""
    state = session.scalars(select(CatalogueState).with_for_update()).one()
    state.index_version_id = index_version_id
    state.seq += 1


def get_index_version(session: Session, index_version_id: int) -> IndexVersion:
    """Return an index version.

    Raises:
        NotFoundError: there is no such index version.
    """
    found = session.get(IndexVersion, index_version_id)
    if found is None:
        raise NotFoundError("index version", index_version_id)
    return found


def require_fingerprint(index_version: IndexVersion, network: CheckpointInfo) -> None:
    """Check that a checkpoint still holds the network of an index version.

    Raises:
        ModelMismatchError: the checkpoint holds another network.
    """
    if index_version.fingerprint != network.fingerprint:
        raise ModelMismatchError(
            f"The checkpoint {index_version.model} holds another network ({network.fingerprint}) than the one that "
            f"encoded the catalogue ({index_version.fingerprint}). Restore the original checkpoint."
        )


def is_checkpoint_used(session: Session, path: Path) -> bool:
    """Return whether any index version, active or not, uses a checkpoint."""
    return (
        session.scalar(select(IndexVersion.id).where(IndexVersion.model == _checkpoint_reference(path)).limit(1))
        is not None
    )


def active_version_id(connection: Connection | Session) -> int | None:
    """Return the id of the active index version; None in a new catalogue."""
    return connection.execute(select(CatalogueState.index_version_id)).scalar_one()


@dataclass(frozen=True)
class ReindexProgress:
    """Progress of a reindexing run: the network, and the number of encoded images."""

    fingerprint: str
    model: str
    processed: int
    total: int


def reindex_in_progress(session: Session) -> ReindexProgress | None:
    """Return the progress of the running reindex; None if none is running."""
    for index_version_id in lock_holders(session, VersionUse.FILLING):
        index_version = session.get(IndexVersion, index_version_id)
        if index_version is not None and index_version_id != active_version_id(session):
            done, total = encoded_and_total(session, index_version_id)
            return ReindexProgress(index_version.fingerprint, index_version.model, done, total)
    return None


def encoded_and_total(session: Session, index_version_id: int) -> tuple[int, int]:
    """Return the number of images encoded in an index version, and of all images."""
    done = select(func.count()).where(Encoding.index_version_id == index_version_id)
    return session.scalars(done).one(), session.scalars(select(func.count(Image.id))).one()


def _checkpoint_reference(path: Path) -> str:
    """Return the stored reference to a checkpoint: its name if it ships with the service, else its path."""
    return path.stem if path.parent == PRETRAINED else str(path.resolve())
