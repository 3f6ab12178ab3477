"""Which network the catalogue is encoded by. Codes of different networks are never compared."""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.catalogue import queries
from app.catalogue.tables import CatalogueState, Generation
from app.catalogue.vectors import VectorType
from app.errors import ModelMismatchError
from models.description import PRETRAINED, CheckpointInfo

DEFAULT_MODEL = "general"


def model_for(session: Session, asked: str | None) -> str:
    """Returns the checkpoint to use: the one that was asked for, else the catalogue's own, else the default."""
    in_use = queries.generation_in_use(session)
    return asked or (in_use.model if in_use is not None else DEFAULT_MODEL)


def adopt(session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32") -> Generation:
    """Returns the generation that this network fills: the one in use, or a new one in an empty catalogue.

    Args:
        session: a transaction.
        network: what its checkpoint says.
        path: where that checkpoint is.
        vectors: how a new generation keeps F7.

    Raises:
        ModelMismatchError: the catalogue holds pictures that another network encoded.
    """
    session.scalars(select(CatalogueState).with_for_update()).one()
    in_use = queries.generation_in_use(session)
    if in_use is not None and in_use.fingerprint == network.fingerprint:
        return in_use
    if in_use is not None and not queries.is_empty(session):
        raise ModelMismatchError(
            f"This catalogue was encoded by the network {in_use.model} ({in_use.fingerprint}), and "
            f"{network.name} ({network.fingerprint}) was asked for; their codes cannot be compared. "
            f"`lookalike reencode {path.with_suffix('')}` moves the catalogue to it; without LOOKALIKE_MODEL the "
            "service uses the catalogue's own."
        )
    generation = find_or_create(session, network, path, vectors)
    switch(session, generation.id)
    return generation


def find_or_create(session: Session, network: CheckpointInfo, path: Path, vectors: VectorType = "f32") -> Generation:
    """Returns this network's generation with such vectors, whether in use or not, and makes it where there is none."""
    # With the catalogue held, so that two who look for it do not both make it.
    session.scalars(select(CatalogueState).with_for_update()).one()
    same = (Generation.fingerprint == network.fingerprint, Generation.vectors == vectors)
    found = session.scalar(select(Generation).where(*same).limit(1))
    if found is not None:
        found.model = _address(path)
        return found
    generation = Generation(
        fingerprint=network.fingerprint,
        model=_address(path),
        bits=network.bits,
        feature_dim=network.feature_dim,
        vectors=vectors,
    )
    session.add(generation)
    session.flush()
    return generation


def switch(session: Session, generation_id: int) -> None:
    """Makes a generation the one that searches use, as a change like any other."""
    state = session.scalars(select(CatalogueState).with_for_update()).one()
    state.generation_id = generation_id
    state.seq += 1


def _address(path: Path) -> str:
    """Returns what finds the checkpoint again: its name if it ships, else its path."""
    return path.stem if path.parent == PRETRAINED else str(path.resolve())
