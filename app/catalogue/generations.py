"""Which network the catalogue is encoded by. Codes of different networks are never compared."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.catalogue import queries
from app.catalogue.tables import CatalogueState, Generation
from app.errors import ModelMismatchError
from models.checkpoint import CheckpointInfo


def adopt(session: Session, network: CheckpointInfo) -> Generation:
    """Returns the generation that this network fills: the one in use, or a new one in an empty catalogue.

    Raises:
        ModelMismatchError: the catalogue holds pictures that another network encoded.
    """
    state = session.scalars(select(CatalogueState).with_for_update()).one()
    in_use = queries.generation_in_use(session)
    if in_use is not None and in_use.fingerprint == network.fingerprint:
        return in_use
    if in_use is not None and not queries.is_empty(session):
        raise ModelMismatchError(
            f"This catalogue was encoded by the network {in_use.model} ({in_use.fingerprint}), and "
            f"{network.name} ({network.fingerprint}) was asked for; their codes cannot be compared. "
            f"Set LOOKALIKE_MODEL to {in_use.model}, or use another LOOKALIKE_DATA_DIR for {network.name}."
        )
    generation = Generation(
        fingerprint=network.fingerprint,
        model=network.name,
        bits=network.bits,
        feature_dim=network.feature_dim,
    )
    session.add(generation)
    session.flush()
    state.generation_id = generation.id
    state.seq += 1
    return generation
