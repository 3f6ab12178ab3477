"""Compare the code file with the database."""

from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from app.catalogue.code_files.store import FOLDER, CodeFileStore
from app.catalogue.database.sessions import Database
from app.catalogue.index_sync import ChangeSet
from app.search.local.coarse import CodeTable
from app.search.local.code_file import CodeFileError
from app.search.types import IndexEntries


class CodeFileCheck:
    """Finds a code file that is damaged, or that a start would use although it differs from the database.

    Args:
        database: the catalogue's database.
        data_dir: the data folder.
        index_version_id: the active index version.
        bits: length of its codes.
    """

    def __init__(self, database: Database, data_dir: Path, index_version_id: int, bits: int) -> None:
        self._database, self._index_version_id, self._bits = database, index_version_id, bits
        self._table = CodeTable(bits)
        self._store = CodeFileStore(data_dir / FOLDER, index_version_id, self._table)

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self._store.path

    def is_wrong(self) -> bool:
        """Return whether the file is damaged, or differs from the database. No file is right."""
        with self._database.snapshot() as session:
            try:
                seq = self._store.read(session)
            except FileNotFoundError:
                return False
            except (CodeFileError, OSError):
                return True
            return seq is not None and self._differs(session, seq)

    def delete(self) -> None:
        """Delete the file; the service writes a new one."""
        self.path.unlink(missing_ok=True)

    def _differs(self, session: Session, seq: int) -> bool:
        changes = ChangeSet(session, self._index_version_id, seq, self._bits // 8, 0)
        self._table.remove(changes.deleted())
        self._table.add(changes.entries())
        expected = ChangeSet(session, self._index_version_id, -1, self._bits // 8, 0).entries()
        return not _equal(self._table.entries(), expected)


def _equal(one: IndexEntries, two: IndexEntries) -> bool:
    columns = ((one.ids, two.ids), (one.codes, two.codes), (one.slots, two.slots), (one.checksums, two.checksums))
    return all(np.array_equal(mine, other) for mine, other in columns)
