"""The database's list of code files: which files belong to this history of the catalogue.

A file is used only while its id is in this table. The id is random and is committed with the `seq` of the file, so a
database that was restored, copied or reset to an earlier state lists exactly the files whose changes it includes.
Restoring a backup empties the table. So does a switch to another index version: while a version is not active, its
codes may be deleted without an entry in `deletions`.

A migration that changes `encodings` must empty this table.
"""

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.catalogue.database.tables import CatalogueState, CodeFile

# Hosts with data folders of their own each have a file.
_KEPT = 100


def register(session: Session, file_id: str, index_version_id: int, seq: int) -> bool:
    """List a file, in a transaction; return False if its index version is not active or `seq` is of the future."""
    # Locks out a switch, which empties the table, until the commit.
    state = select(CatalogueState.seq, CatalogueState.index_version_id).with_for_update(read=True)
    latest, active = session.execute(state).one()
    if active != index_version_id or seq > latest:
        return False
    newest = select(CodeFile.id).order_by(CodeFile.written_at.desc()).limit(_KEPT - 1)
    session.execute(delete(CodeFile).where(CodeFile.id.not_in(newest)))
    session.add(CodeFile(id=UUID(file_id), index_version_id=index_version_id, seq=seq))
    return True


def is_registered(session: Session, file_id: str, index_version_id: int, seq: int) -> bool:
    """Return whether a file may be used."""
    own = CodeFile.id == UUID(file_id), CodeFile.index_version_id == index_version_id, CodeFile.seq == seq
    return session.scalar(select(CodeFile.id).where(*own)) is not None


def unregister_all(session: Session) -> None:
    """List no file."""
    session.execute(delete(CodeFile))
