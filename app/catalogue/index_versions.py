"""Index versions and feature sets: which codes and which F7 of the catalogue there are, and which are in use.

A network has one feature set for each way of storing F7. A feature set has the version whose H is part of the network,
and versions whose H was fitted to the catalogue. Codes of different versions are never compared.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.orm import Session

from app.catalogue import queries
from app.catalogue.advisory_registry import VersionUse, lock_holders
from app.catalogue.code_files.registry import unregister_all
from app.catalogue.database.tables import CatalogueState, Encoding, FeatureSet, Image, IndexVersion
from app.catalogue.vectors.file import VectorType
from app.errors import LookalikeError, ModelMismatchError, NotFoundError
from models.checkpoint.info import PRETRAINED, CheckpointInfo
from models.checkpoint.similarity import AnchoredCurve
from models.network.latent_layer import LatentLayer, from_bytes, to_bytes

log = logging.getLogger(__name__)

DEFAULT_MODEL = "general-small"
IndexBackend = Literal["local", "milvus"]


@dataclass(frozen=True)
class AdaptedCodes:
    """Codes fitted to the catalogue: H over stored F7, the pool that they need, and their similarity curve."""

    latent: LatentLayer
    pool: int
    curve: AnchoredCurve | None

    def fingerprint(self, network: str) -> str:
        """Return the fingerprint of these codes with a network's F7: 16 hexadecimal digits."""
        return sha256(f"{network} {self.latent.fingerprint}".encode()).hexdigest()[:16]


def select_model(session: Session, requested: str | None) -> str:
    """Return the checkpoint to use: the requested one, else the catalogue's, else the default."""
    active = queries.active_index_version(session)
    return requested or (active.feature_set.model if active is not None else DEFAULT_MODEL)


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
    if active is not None and _is_network_of(network, active) and _keeps_backend(session, active, index):
        return active
    if active is not None and not queries.is_empty(session):
        raise ModelMismatchError(
            f"The requested network {network.name} ({network.fingerprint}) is not the one that encoded this catalogue, "
            f"{active.feature_set.model} ({active.feature_set.fingerprint}); their codes cannot be compared. Run "
            "`lookalike reindex "
            f"{path.with_suffix('')}` to switch the catalogue to it, or unset LOOKALIKE_MODEL to use the catalogue's."
        )
    index_version = find_or_create(session, network, path, vectors, index)
    activate(session, index_version.id)
    return index_version


def _keeps_backend(session: Session, active: IndexVersion, wanted: IndexBackend) -> bool:
    """Return whether the catalogue keeps its index backend; an empty catalogue uses the configured one."""
    backend = active.feature_set.index_backend
    if backend == wanted:
        return True
    if queries.is_empty(session):
        return False
    log.warning(
        "the catalogue keeps its index backend (%s): LOOKALIKE_INDEX_BACKEND=%s applies to new catalogues only; "
        "to move the catalogue, run `lookalike reindex %s`",
        backend,
        wanted,
        active.feature_set.model,
    )
    return True


def find_or_create(
    session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32", index: IndexBackend = "local"
) -> IndexVersion:
    """Return the version whose H is this network's, with these storage options; create it if there is none."""
    # Lock the catalogue, so that two processes do not both create it.
    session.scalars(select(CatalogueState).with_for_update()).one()
    features = _find_or_create_feature_set(session, network, path, vectors, index)
    own = select(IndexVersion).where(IndexVersion.feature_set_id == features.id, IndexVersion.latent.is_(None))
    found = session.scalar(own.limit(1))
    if found is None:
        found = IndexVersion(feature_set=features, fingerprint=network.fingerprint, bits=network.bits)
        session.add(found)
        session.flush()
    return found


def _find_or_create_feature_set(
    session: Session, network: CheckpointInfo, path: Path, vectors: VectorType, index: IndexBackend
) -> FeatureSet:
    same = (
        FeatureSet.fingerprint == network.fingerprint,
        FeatureSet.vector_dtype == vectors,
        FeatureSet.index_backend == index,
    )
    found = session.scalar(select(FeatureSet).where(*same).limit(1))
    if found is None:
        found = FeatureSet(
            fingerprint=network.fingerprint,
            bits=network.bits,
            feature_dim=network.feature_dim,
            vector_dtype=vectors,
            index_backend=index,
        )
        session.add(found)
    found.model = checkpoint_reference(path)
    session.flush()
    return found


def create_adapted(session: Session, feature_set_id: int, adapted: AdaptedCodes) -> IndexVersion:
    """Create a version of a feature set with an H that was fitted to the catalogue.

    Earlier adapted versions of the set are deleted, except the active one and those being filled.
    """
    features = session.get_one(FeatureSet, feature_set_id, with_for_update=True)
    kept = {active_version_id(session), *lock_holders(session, VersionUse.FILLING)}
    for earlier in _adapted_versions(session, feature_set_id):
        if earlier.id not in kept:
            delete_version(session, earlier.id)
    version = IndexVersion(
        feature_set=features,
        fingerprint=adapted.fingerprint(features.fingerprint),
        bits=adapted.latent.bits,
        latent=to_bytes(adapted.latent),
        pool=adapted.pool,
        codes_curve=asdict(adapted.curve) if adapted.curve is not None else None,
    )
    session.add(version)
    session.flush()
    return version


def _adapted_versions(session: Session, feature_set_id: int) -> Sequence[IndexVersion]:
    of_set = IndexVersion.feature_set_id == feature_set_id
    return session.scalars(select(IndexVersion).where(of_set, IndexVersion.latent.is_not(None))).all()


def delete_version(session: Session, index_version_id: int) -> None:
    """Delete a version that is not active, and its codes. F7 belongs to the feature set and stays."""
    session.execute(delete(Encoding).where(Encoding.index_version_id == index_version_id))
    session.execute(delete(IndexVersion).where(IndexVersion.id == index_version_id))


def activate(session: Session, index_version_id: int, *, replacing: int | None = None) -> None:
    """Make an index version the active one, as one change.

    Raises:
        LookalikeError: the active version is not the one to replace.
    """
    state = session.scalars(select(CatalogueState).with_for_update()).one()
    if replacing is not None and state.index_version_id != replacing:
        raise LookalikeError("The catalogue was switched to another model meanwhile.")
    state.index_version_id = index_version_id
    state.seq += 1
    unregister_all(session)


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
    """Check that a checkpoint still holds the network of an index version's feature set.

    Raises:
        ModelMismatchError: the checkpoint holds another network.
    """
    if not _is_network_of(network, index_version):
        features = index_version.feature_set
        raise ModelMismatchError(
            f"The checkpoint {features.model} holds another network ({network.fingerprint}) than the one that "
            f"encoded the catalogue ({features.fingerprint}). Restore the original checkpoint."
        )


def _is_network_of(network: CheckpointInfo, index_version: IndexVersion) -> bool:
    return index_version.feature_set.fingerprint == network.fingerprint


def latent_layer(index_version: IndexVersion) -> LatentLayer | None:
    """Return the H over stored F7 that makes a version's codes; None if H is part of the network.

    Raises:
        CheckpointError: it is damaged.
    """
    return None if index_version.latent is None else from_bytes(index_version.latent)


def effective_info(index_version: IndexVersion, network: CheckpointInfo) -> CheckpointInfo:
    """Return the description of a network as an index version uses it: with the version's codes, curve and pool."""
    if not index_version.adapted:
        return network
    similarity, curve = network.similarity, index_version.codes_curve
    if similarity is not None and curve is not None:
        similarity = replace(
            similarity, codes=AnchoredCurve(tuple((distance, value) for distance, value in curve["points"]))
        )
    return replace(
        network,
        fingerprint=index_version.fingerprint,
        bits=index_version.bits,
        pool=index_version.pool or network.pool,
        similarity=similarity,
    )


def is_checkpoint_used(session: Session, path: Path) -> bool:
    """Return whether any feature set, in use or not, is by a checkpoint."""
    used = select(FeatureSet.id).where(FeatureSet.model == checkpoint_reference(path)).limit(1)
    return session.scalar(used) is not None


def active_version_id(connection: Connection | Session) -> int | None:
    """Return the id of the active index version; None in a new catalogue."""
    return connection.execute(select(CatalogueState.index_version_id)).scalar_one()


def last_adaptation(session: Session) -> dict[str, Any] | None:
    """Return what the last attempt to fit codes to the active feature set measured; None if there was none."""
    active = queries.active_index_version(session)
    return None if active is None else active.feature_set.last_adaptation


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
            return ReindexProgress(index_version.fingerprint, index_version.feature_set.model, done, total)
    return None


def encoded_and_total(session: Session, index_version_id: int) -> tuple[int, int]:
    """Return the number of images encoded in an index version, and of all images."""
    done = select(func.count()).where(Encoding.index_version_id == index_version_id)
    return session.scalars(done).one(), session.scalars(select(func.count(Image.id))).one()


def checkpoint_reference(path: Path) -> str:
    """Return the stored reference to a checkpoint: its name if it ships with the service, else its path."""
    return path.stem if path.parent == PRETRAINED else str(path.resolve())
