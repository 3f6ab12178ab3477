"""Milvus collections of an index version: its codes, and its feature set's F7, with slots as primary keys.

There are two because access differs: every search reads all codes, which should be in memory in few large segments; of
F7 a search reads only the pool, and the rest may stay on disk.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import LookalikeError, UnavailableError
from app.search.milvus.capped_top_k import Hits
from app.search.milvus.connection import CHANGE_S, LOAD_S, SEARCH_S, CollectionMissingError, Connection
from app.search.types import Encodings

Slots = NDArray[np.int64]
Features = NDArray[np.float32] | NDArray[np.float16]
Field = Literal["code", "f7"]
# Milvus' maximum `limit` of a search or query.
MAX_LIMIT = 16_384
# Milvus accepts messages of up to 64 MB, and F7 has at most 16 KB.
_BATCH_ROWS = 1000
_METRICS = {"code": {"metric_type": "HAMMING"}, "f7": {"metric_type": "L2"}}
# Both flat, so that results are exact.
_INDEXES = {"code": "BIN_FLAT", "f7": "FLAT"}
_VERSIONS_WITHOUT_FLOAT16 = ("2.0.", "2.1.", "2.2.", "2.3.")


class CollectionPair:
    """The pair of collections of an index version. Thread-safe. All methods raise `UnavailableError` if Milvus fails.

    Args:
        connection: connection to Milvus.
        names: the names of both collections: of codes, and of F7.
        bits: bits of a code.
        dim: dimension of F7.
        half: whether to store F7 as float16.
    """

    def __init__(
        self, connection: Connection, names: tuple[str, str], bits: int, dim: int, *, half: bool = False
    ) -> None:
        self._connection, self._dims = connection, {"code": bits, "f7": dim}
        self._names: dict[Field, str] = {"code": names[0], "f7": names[1]}
        self._half, self._dtype = half, np.dtype[Any](np.float16 if half else np.float32)
        self.code_bytes, self.vector_bytes = bits // 8, dim * self._dtype.itemsize

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def exists(self) -> bool:
        """Return whether both collections exist."""
        with self._translated() as client:
            return all(client.has_collection(name, timeout=SEARCH_S) for name in self._names.values())

    def missing_error(self) -> UnavailableError:
        """Return the error to raise if a collection is missing."""
        missing = f"Milvus at {self._connection.uri} has lost the collections {' and '.join(self._names.values())}."
        return UnavailableError(f"{missing} Run `lookalike sync` to rebuild them.", retry_after=60)

    def create(self) -> None:
        """Create missing collections, and load both for searching.

        Raises:
            LookalikeError: this version of Milvus does not support float16.
        """
        # Older versions accept float16 without an error, but find nothing.
        version = self._connection.version() if self._half else None
        if version is not None and version.startswith(_VERSIONS_WITHOUT_FLOAT16):
            raise LookalikeError(
                f"Milvus {version} does not support float16. Set LOOKALIKE_VECTOR_DTYPE=f32, or upgrade Milvus."
            )
        types = self._connection.data_types
        self._create("code", types.BINARY_VECTOR)
        self._create("f7", types.FLOAT16_VECTOR if self._half else types.FLOAT_VECTOR)

    def _create(self, field: Field, vector_type: Any) -> None:
        name, int64 = self._names[field], self._connection.data_types.INT64
        with self._translated() as client:
            if not client.has_collection(name, timeout=SEARCH_S):
                schema = client.create_schema()
                schema.add_field("slot", int64, is_primary=True)
                schema.add_field("kept_at", int64)
                schema.add_field(field, vector_type, dim=self._dims[field])
                indexes = client.prepare_index_params()
                indexes.add_index(field, index_type=_INDEXES[field], **_METRICS[field])
                client.create_collection(name, schema=schema, index_params=indexes, timeout=CHANGE_S)
            client.load_collection(name, timeout=LOAD_S)

    def drop(self) -> None:
        """Drop both collections."""
        with self._translated() as client:
            for name in self._names.values():
                client.drop_collection(name, timeout=CHANGE_S)

    def stored(self, features: NDArray[np.float32]) -> Features:
        """Convert F7 `(n, d)` to the stored type."""
        return np.ascontiguousarray(features, self._dtype)

    def insert(self, slots: Slots, encoded: Encodings) -> int:
        """Insert encodings at unused slots; return the Milvus timestamp at which searches find them."""
        features, codes = list(self.stored(encoded.features)), [code.tobytes() for code in encoded.codes]
        return max(self._insert("f7", slots, features), self._insert("code", slots, codes))

    def replace_codes(self, slots: Slots, codes: NDArray[np.uint8]) -> int:
        """Insert codes at slots that have F7, in place of those that an interrupted run left there; see `insert`."""
        with self._translated() as client:
            for first in range(0, len(slots), _BATCH_ROWS):
                expression = f"slot in {slots[first : first + _BATCH_ROWS].tolist()}"
                client.delete(self._names["code"], filter=expression, timeout=CHANGE_S)
        return self._insert("code", slots, [code.tobytes() for code in codes])

    def _insert(self, field: Field, slots: Slots, values: Sequence[Any]) -> int:
        now, name = int(time.time()), self._names[field]
        rows = [{"slot": at, "kept_at": now, field: value} for at, value in zip(slots.tolist(), values, strict=True)]
        with self._translated() as client:
            for first in range(0, len(rows), _BATCH_ROWS):
                client.insert(name, rows[first : first + _BATCH_ROWS], timeout=CHANGE_S)
        return self._connection.last_write_timestamp(name)

    def delete(self, slots: Sequence[int]) -> None:
        """Delete slots; missing ones are ignored."""
        with self._translated() as client:
            for first in range(0, len(slots), _BATCH_ROWS):
                expression = f"slot in {list(slots[first : first + _BATCH_ROWS])}"
                for name in self._names.values():
                    client.delete(name, filter=expression, timeout=CHANGE_S)

    def nearest(
        self, field: Field, query: NDArray[Any], limit: int, where: str = "", moment: int | None = None
    ) -> Hits:
        """Find the nearest by Hamming distance on codes or squared L2 distance on F7; ties are in no particular order.

        Args:
            field: vectors to compare.
            query: a code `(bits / 8,)` or F7 `(d,)`.
            limit: maximum number of hits, at most `MAX_LIMIT`.
            where: Milvus filter expression.
            moment: Milvus timestamp up to which inserts must be visible; None for now, for which Milvus waits up to a
                fifth of a second.
        """
        data = query.tobytes() if field == "code" else self.stored(query)
        options = {"filter": where, "limit": limit, "anns_field": field, "search_params": _METRICS[field]}
        with self._translated() as client:
            (found,) = self._connection.read(client.search, self._names[field], moment, [data], **options)
        slots, distances = np.array(found.ids, np.int64), np.array(found.distances, np.float64)
        order = np.argsort(distances, kind="stable")
        return Hits(slots[order], distances[order])

    def vectors(self, slots: Slots, moment: int | None = None) -> tuple[Slots, Features]:
        """Read F7 as stored; return the slots found `(m,)` and their F7 `(m, d)`."""
        found, features = list[int](), [np.zeros((0, self._dims["f7"]), self._dtype)]
        for first in range(0, len(slots), _BATCH_ROWS):
            rows = self._rows("f7", f"slot in {slots[first : first + _BATCH_ROWS].tolist()}", moment, "f7")
            found += [row["slot"] for row in rows]
            features += [_as_array(row["f7"], self._dtype)[None] for row in rows]
        return np.array(found, np.int64), np.concatenate(features)

    def present(self, slots: Slots) -> NDArray[np.bool_]:
        """Return which slots have both a code and F7, `(n,)` bool."""
        both = np.ones(len(slots), np.bool_)
        for field in self._names:
            found = list[int]()
            for first in range(0, len(slots), MAX_LIMIT):
                expression = f"slot in {slots[first : first + MAX_LIMIT].tolist()}"
                found += [row["slot"] for row in self._rows(field, expression)]
            both &= np.isin(slots, np.array(found, np.int64))
        return both

    def list_inserted_before(self, moment: float, first: int, stop: int | None) -> Slots:
        """List slots in `[first, stop)` with a code or F7 inserted before a Unix time; at most `MAX_LIMIT` of each."""
        where = f"slot >= {first} and kept_at < {int(moment)}" + (f" and slot < {stop}" if stop is not None else "")
        return np.unique([row["slot"] for field in self._names for row in self._rows(field, where)]).astype(np.int64)

    def _rows(self, field: Field, where: str, moment: int | None = None, *fields: str) -> list[dict[str, Any]]:
        options = {"filter": where, "output_fields": ["slot", *fields], "limit": MAX_LIMIT}
        with self._translated() as client:
            found: list[dict[str, Any]] = self._connection.read(client.query, self._names[field], moment, **options)
            return found

    @contextmanager
    def _translated(self) -> Iterator[Any]:
        """Yield the client; translate its errors, naming the collections if they are missing."""
        try:
            with self._connection.translate_errors():
                yield self._connection.client
        except CollectionMissingError as error:
            raise self.missing_error() from error


def _as_array(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert one F7 of a response: a list of floats, or float16 bytes, possibly in a list."""
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        value = value[0]
    return np.frombuffer(value, dtype) if isinstance(value, bytes) else np.array(value, dtype)
