"""What Milvus holds of one generation: codes in one collection and F7 in another, each at its slot.

Two, because they are used differently: all codes are read by every search, want to be in memory, and lie in few large
segments; of F7 a search reads the pool, and the rest may stay on disk. Knows nothing of pictures and their ids.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import LookalikeError, UnavailableError
from app.search.milvus.capped_top_k import Hits
from app.search.milvus.connection import CHANGE_S, LOAD_S, SEARCH_S, Connection, LostError
from app.search.types import Encoded

Slots = NDArray[np.int64]
Features = NDArray[np.float32] | NDArray[np.float16]
Field = Literal["code", "f7"]
# The most that Milvus gives in one answer.
MOST = 16_384
# Milvus takes 64 MB in one message, and F7 is 16 KB at most.
_AT_A_TIME = 1000
_METRICS = {"code": {"metric_type": "HAMMING"}, "f7": {"metric_type": "L2"}}
# Both flat, so that answers are exact.
_INDEXES = {"code": "BIN_FLAT", "f7": "FLAT"}
_WITHOUT_HALVES = ("2.0.", "2.1.", "2.2.", "2.3.")


class Collection:
    """Both collections. Safe for many threads. Everything raises `UnavailableError` where Milvus cannot be used.

    Args:
        connection: to the Milvus that has them.
        name: of both, before what they hold.
        bits: of a code.
        dim: numbers in F7.
        half: whether F7 is kept as float16.
    """

    def __init__(self, connection: Connection, name: str, bits: int, dim: int, *, half: bool = False) -> None:
        self._connection, self.name, self._dims = connection, name, {"code": bits, "f7": dim}
        self._names: dict[Field, str] = {"code": f"{name}_code", "f7": f"{name}_f7"}
        self._half, self._dtype = half, np.dtype[Any](np.float16 if half else np.float32)
        self.code_bytes, self.vector_bytes = bits // 8, dim * self._dtype.itemsize

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def exists(self) -> bool:
        """Tells whether Milvus has them."""
        with self._translated() as client:
            return all(client.has_collection(name, timeout=SEARCH_S) for name in self._names.values())

    def lost(self) -> UnavailableError:
        """Returns the error that says that Milvus does not have them."""
        where = f"Milvus at {self._connection.uri} has lost the collections {self.name}."
        return UnavailableError(f"{where} `lookalike sync` makes them anew.", retry_after=60)

    def make(self) -> None:
        """Makes what is not there, and has Milvus make all of it ready to be searched.

        Raises:
            LookalikeError: this Milvus has no float16.
        """
        # Such a one takes it, and finds nothing of it.
        version = self._connection.version() if self._half else None
        if version is not None and version.startswith(_WITHOUT_HALVES):
            raise LookalikeError(
                f"Milvus {version} cannot keep float16: LOOKALIKE_VECTOR_DTYPE=f32, or use a newer one."
            )
        kinds = self._connection.kinds
        self._make_one("code", kinds.BINARY_VECTOR)
        self._make_one("f7", kinds.FLOAT16_VECTOR if self._half else kinds.FLOAT_VECTOR)

    def _make_one(self, field: Field, kind: Any) -> None:
        name, whole_number = self._names[field], self._connection.kinds.INT64
        with self._translated() as client:
            if not client.has_collection(name, timeout=SEARCH_S):
                schema = client.create_schema()
                schema.add_field("slot", whole_number, is_primary=True)
                schema.add_field("kept_at", whole_number)
                schema.add_field(field, kind, dim=self._dims[field])
                indexes = client.prepare_index_params()
                indexes.add_index(field, index_type=_INDEXES[field], **_METRICS[field])
                client.create_collection(name, schema=schema, index_params=indexes, timeout=CHANGE_S)
            client.load_collection(name, timeout=LOAD_S)

    def drop(self) -> None:
        """Takes them away, and all that is in them."""
        with self._translated() as client:
            for name in self._names.values():
                client.drop_collection(name, timeout=CHANGE_S)

    def stored(self, features: NDArray[np.float32]) -> Features:
        """Returns F7 `(n, d)` as it will be kept."""
        return np.ascontiguousarray(features, self._dtype)

    def insert(self, slots: Slots, encoded: Encoded) -> int:
        """Keeps encodings at slots that hold nothing; returns the moment of Milvus' time from which they are found."""
        codes = [code.tobytes() for code in encoded.codes]
        return max(self._insert("f7", slots, list(self.stored(encoded.features))), self._insert("code", slots, codes))

    def _insert(self, field: Field, slots: Slots, values: Sequence[Any]) -> int:
        now, name = int(time.time()), self._names[field]
        rows = [{"slot": at, "kept_at": now, field: value} for at, value in zip(slots.tolist(), values, strict=True)]
        with self._translated() as client:
            for first in range(0, len(rows), _AT_A_TIME):
                client.insert(name, rows[first : first + _AT_A_TIME], timeout=CHANGE_S)
        return self._connection.changed(name)

    def delete(self, slots: Sequence[int]) -> None:
        """Takes slots out; those that are not there do no harm."""
        with self._translated() as client:
            for first in range(0, len(slots), _AT_A_TIME):
                some = f"slot in {list(slots[first : first + _AT_A_TIME])}"
                for name in self._names.values():
                    client.delete(name, filter=some, timeout=CHANGE_S)

    def nearest(
        self, field: Field, query: NDArray[Any], limit: int, where: str = "", moment: int | None = None
    ) -> Hits:
        """Finds the nearest by Hamming distance between codes or squared L2 between F7; ties are broken by chance.

        Args:
            field: what is compared.
            query: a code `(bits / 8,)` or F7 `(d,)`.
            limit: the most that are found, `MOST` at most.
            where: only slots that fulfil this, in Milvus' words.
            moment: everything that was inserted up to this moment is found; None for everything up to now, for which
                Milvus waits up to a fifth of a second.
        """
        data = query.tobytes() if field == "code" else self.stored(query)
        how = {"filter": where, "limit": limit, "anns_field": field, "search_params": _METRICS[field]}
        with self._translated() as client:
            (found,) = self._connection.ask(client.search, self._names[field], moment, [data], **how)
        slots, distances = np.array(found.ids, np.int64), np.array(found.distances, np.float64)
        order = np.argsort(distances, kind="stable")
        return Hits(slots[order], distances[order])

    def vectors(self, slots: Slots, moment: int | None = None) -> tuple[Slots, Features]:
        """Reads F7 `(m, d)` as it is kept; returns which of the slots there are, and theirs."""
        there, features = list[int](), [np.zeros((0, self._dims["f7"]), self._dtype)]
        for first in range(0, len(slots), _AT_A_TIME):
            rows = self._rows("f7", f"slot in {slots[first : first + _AT_A_TIME].tolist()}", moment, "f7")
            there += [row["slot"] for row in rows]
            features += [_as_array(row["f7"], self._dtype)[None] for row in rows]
        return np.array(there, np.int64), np.concatenate(features)

    def present(self, slots: Slots) -> NDArray[np.bool_]:
        """Tells which of these slots hold both, `(n,)`."""
        both = np.ones(len(slots), np.bool_)
        for field in self._names:
            there = list[int]()
            for first in range(0, len(slots), MOST):
                some = f"slot in {slots[first : first + MOST].tolist()}"
                there += [row["slot"] for row in self._rows(field, some)]
            both &= np.isin(slots, np.array(there, np.int64))
        return both

    def kept_before(self, moment: float, first: int, stop: int | None) -> Slots:
        """Lists slots from one on and before another of which something was filled before a moment (Unix time).

        As many as Milvus gives in one answer.
        """
        where = f"slot >= {first} and kept_at < {int(moment)}" + (f" and slot < {stop}" if stop is not None else "")
        return np.unique([row["slot"] for field in self._names for row in self._rows(field, where)]).astype(np.int64)

    def _rows(self, field: Field, where: str, moment: int | None = None, *more: str) -> list[dict[str, Any]]:
        how = {"filter": where, "output_fields": ["slot", *more], "limit": MOST}
        with self._translated() as client:
            found: list[dict[str, Any]] = self._connection.ask(client.query, self._names[field], moment, **how)
            return found

    @contextmanager
    def _translated(self) -> Iterator[Any]:
        """Yields the client; says by their name where the collections are lost."""
        try:
            with self._connection.translated():
                yield self._connection.client
        except LostError as error:
            raise self.lost() from error


def _as_array(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Reads one F7 of an answer: a list of floats, or float16 as bytes, once more in a list."""
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        value = value[0]
    return np.frombuffer(value, dtype) if isinstance(value, bytes) else np.array(value, dtype)
