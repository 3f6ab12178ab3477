"""pgvector in the embedded PostgreSQL: the two-step search as one SQL statement, and HNSW over F7.

Set up as in its documentation: rows by binary COPY, then the index with enough maintenance memory, and the session's
`ef_search` as the effort.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import psycopg
from psycopg.sql import SQL, Composed, Literal
from sqlalchemy import make_url

from app.catalogue.embedded.postgres import embedded_postgres
from benchmarks.baselines.base import Catalogue, Ids, Query

_AT_A_TIME = 2000


class Pgvector:
    """A table of images with one index."""

    name = ""
    efforts: tuple[int, ...] = ()
    index = ""

    def build(self, catalogue: Catalogue) -> None:
        """Start a database, fill the table, build the index."""
        self._stack = ExitStack()
        folder = catalogue.folder / self.name.replace(" ", "-").replace(",", "")
        url = make_url(self._stack.enter_context(embedded_postgres(folder)))
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection = self._stack.enter_context(psycopg.connect(plain, autocommit=True))
        bits, dim = 8 * catalogue.codes.shape[1], catalogue.features.shape[1]
        self._run("CREATE EXTENSION vector")
        self._run("SET maintenance_work_mem = '2GB'")
        self._run(f"CREATE TABLE items (id bigint, code bit({bits}), f7 vector({dim}))")
        # F7 is larger than a page: store it out of line, uncompressed.
        self._run("ALTER TABLE items ALTER COLUMN f7 SET STORAGE EXTERNAL")
        with self._connection.cursor() as cursor:
            copying = "COPY items (id, code, f7) FROM STDIN (FORMAT BINARY)"
            with cursor.copy(copying) as copy:
                copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
                for block in _blocks(catalogue):
                    copy.write(block)
                copy.write(b"\xff\xff")
        self._run(self.index)
        self._run("VACUUM ANALYZE items")
        self._effort, self._bits = 0, bits

    def search(self, query: Query, k: int, effort: int) -> Ids:
        """Run the search statement."""
        if effort != self._effort:
            self._run(f"SET hnsw.ef_search = {min(effort, 1000)}")
            self._effort = effort
        rows = self._connection.execute(self.statement(), _values(query, k, effort), prepare=True)
        return np.array([row[0] for row in rows], np.int64)

    def statement(self) -> Composed:
        """Return the search statement."""
        raise NotImplementedError

    def memory(self) -> int:
        """Return the bytes of table and index, which should fit into memory."""
        found = self._connection.execute("SELECT pg_total_relation_size('items')").fetchone()
        return int(found[0]) if found else 0

    def close(self) -> None:
        """Stop the database."""
        self._stack.close()

    def _run(self, statement: str) -> None:
        self._connection.execute(statement.encode())


class PgvectorCodes(Pgvector):
    """HNSW over codes, and exact distance over the pool, in one statement; the effort is the pool."""

    name = "pgvector, codes re-ranked"
    efforts = (100, 300, 1000)
    index = "CREATE INDEX ON items USING hnsw (code bit_hamming_ops)"

    def statement(self) -> Composed:
        """Select the pool by codes, and rank it by F7."""
        return SQL(
            "SELECT id FROM (SELECT id, f7 FROM items ORDER BY code <~> %(code)s::bit({bits}) LIMIT %(pool)s) AS pool "
            "ORDER BY f7 <-> %(f7)s::vector LIMIT %(k)s"
        ).format(bits=Literal(self._bits))


class PgvectorGraph(Pgvector):
    """HNSW over F7; the effort is ef_search."""

    name = "pgvector, HNSW"
    efforts = (40, 100, 200, 400, 1000)
    index = "CREATE INDEX ON items USING hnsw (f7 vector_l2_ops)"

    def statement(self) -> Composed:
        """Search by F7."""
        return SQL("SELECT id FROM items ORDER BY f7 <-> %(f7)s::vector LIMIT %(k)s").format()


def _values(query: Query, k: int, effort: int) -> dict[str, Any]:
    bits = "".join(map(str, np.unpackbits(query.code).tolist()))
    return {"code": bits, "f7": str(query.feature.tolist()), "k": k, "pool": effort}


def _blocks(catalogue: Catalogue) -> Iterator[bytes]:
    """Yield rows in COPY's binary format: fields with their lengths, big-endian; bits and vectors with their sizes."""
    width, dim = catalogue.codes.shape[1], catalogue.features.shape[1]
    layout = [
        ("fields", ">i2"),
        ("length of id", ">i4"),
        ("id", ">i8"),
        ("length of code", ">i4"),
        ("bits", ">i4"),
        ("code", "u1", (width,)),
        ("length of f7", ">i4"),
        ("floats", ">i2"),
        ("unused", ">i2"),
        ("f7", ">f4", (dim,)),
    ]
    for first in range(0, len(catalogue.codes), _AT_A_TIME):
        codes = catalogue.codes[first : first + _AT_A_TIME]
        rows = np.zeros(len(codes), layout)
        rows["fields"], rows["bits"], rows["floats"] = 3, 8 * width, dim
        rows["length of id"], rows["length of code"], rows["length of f7"] = 8, 4 + width, 4 + 4 * dim
        rows["id"] = np.arange(first, first + len(codes))
        rows["code"], rows["f7"] = codes, catalogue.features[first : first + _AT_A_TIME]
        yield rows.tobytes()
