"""The order of changes: each takes the next `seq`, and holds the lock of the catalogue's row until its commit."""

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.catalogue.database.locks import Lock
from app.catalogue.database.tables import CatalogueState


class SwitchInProgressError(Exception):
    """A model switch is in progress; try again in a moment."""


def next_seq(session: Session) -> tuple[int, int | None]:
    """Lock the catalogue until the commit and take the next `seq`; return it and the id of the active index version."""
    changed = (
        update(CatalogueState)
        .values(seq=CatalogueState.seq + 1)
        .returning(CatalogueState.seq, CatalogueState.index_version_id)
    )
    seq, index_version_id = session.execute(changed).one()
    return seq, index_version_id


def lock_catalogue(session: Session) -> None:
    """Lock the catalogue's row until the commit without taking a `seq`, which blocks all changes."""
    session.execute(select(CatalogueState.seq).with_for_update()).one()


def block_switch(session: Session) -> None:
    """Keep a model switch from starting before the commit.

    Raises:
        SwitchInProgressError: a switch is encoding the last images that its index version lacks.
    """
    if not session.scalars(select(func.pg_try_advisory_xact_lock_shared(Lock.SWITCH.value))).one():
        raise SwitchInProgressError
