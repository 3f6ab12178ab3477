"""Populate a real catalogue with synthetic data: rows in PostgreSQL, F7 in the index, no image files.

Adding a million images through the service would take hours, most of them for encoding. Rows are copied in
PostgreSQL's binary format, block by block, as the service would have written them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, Cursor
from sqlalchemy import text

from app.catalogue.database.sessions import Database
from app.search.index import Index
from app.search.types import Encodings
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from models.network.codes import Codes

# Share of images by label.
LABELS = {"one in a hundred": 0.01, "one in ten": 0.1, "every other": 0.5}

_INSERT_IMAGES = text(
    """
    INSERT INTO images (key, sha256, media_type, width, height, size_bytes, label, seq)
    SELECT 'made ' || i, md5(i::text) || md5((-i)::text), 'image/jpeg', 640, 480, 60000,
           CASE WHEN i % 100 < 1 THEN 'one in a hundred' WHEN i % 100 < 11 THEN 'one in ten'
                WHEN i % 100 < 61 THEN 'every other' ELSE 'the rest' END, 1
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS i ORDER BY i
    """
)
_COPY_ENCODINGS = "COPY encodings (index_version_id, image_id, slot, code, checksum, seq) FROM STDIN (FORMAT BINARY)"
_HEADER, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


@dataclass
class PopulatedCatalogue:
    """A catalogue that is filled incrementally; image i has id i + 1 and slot i."""

    database: Database
    index_version_id: int
    index: Index
    made: SyntheticCatalogue
    count: int = 0
    moment: int = 0

    def up_to(self, images: int) -> None:
        """Add images up to this total, which `made` must have."""
        first = self.count
        with self.database.connection_transaction() as connection:
            connection.execute(_INSERT_IMAGES, {"first": first + 1, "last": images})
            driver = connection.connection.driver_connection
            if not isinstance(driver, Connection):
                raise TypeError(f"COPY needs psycopg, not {type(driver)}")
            with driver.cursor() as cursor:
                self._encodings(cursor, first, images)
            connection.execute(text("UPDATE feature_sets SET next_slot = :next"), {"next": images})
            connection.execute(
                text("UPDATE catalogue SET seq = seq + 1, milvus_timestamp = :moment"), {"moment": self.moment}
            )
        with self.database.read_session() as session:
            session.execute(text("VACUUM ANALYZE"))
        self.count = images

    def _encodings(self, cursor: Cursor[Any], first: int, last: int) -> None:
        with cursor.copy(_COPY_ENCODINGS) as copy:
            copy.write(_HEADER)
            for start, codes, features in self.made.blocks_from(first):
                if start >= last:
                    break
                here = slice(max(first - start, 0), last - start)
                slots = np.arange(start, start + len(codes))[here]
                kept = self.index.store(slots, Encodings(codes[here], features[here]))
                self.moment = max(self.moment, kept.milvus_timestamp)
                copy.write(_rows(self.index_version_id, slots, codes[here], kept.checksums).tobytes())
            copy.write(_END)


def _rows(
    index_version_id: int, slots: NDArray[np.int64], codes: Codes, checksums: NDArray[np.uint32]
) -> NDArray[np.void]:
    """Build rows in COPY's binary format: the number of fields, then each field with its length, big-endian."""
    numbers = {
        "index_version_id": index_version_id,
        "image_id": slots + 1,
        "slot": slots,
        "checksum": checksums,
        "seq": 1,
    }
    order = ("index_version_id", "image_id", "slot", "code", "checksum", "seq")
    types = {name: f"V{codes.shape[1]}" if name == "code" else ">i8" for name in order}
    fields = [part for name in order for part in ((f"length of {name}", ">i4"), (name, types[name]))]
    rows = np.zeros(len(slots), [("fields", ">i2"), *fields])
    rows["fields"] = len(order)
    for name in order:
        rows[f"length of {name}"] = rows.dtype[name].itemsize
    for name, values in numbers.items():
        rows[name] = values
    rows["code"] = np.ascontiguousarray(codes).view(f"V{codes.shape[1]}")[:, 0]
    return rows
