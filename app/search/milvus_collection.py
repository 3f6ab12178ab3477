"""One collection in Milvus: codes and F7 of one generation, each at its slot.

The only file that knows of pymilvus, which takes a second to import and is imported when a collection is opened.
Everything that goes wrong between here and Milvus leaves as `UnavailableError`. Knows nothing of pictures and ids.
"""

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import LookalikeError, UnavailableError
from app.search.gather import Hits
from app.search.types import Encoded

Slots = NDArray[np.int64]
Field = Literal["code", "f7"]
# The most that Milvus gives in one answer.
MOST = 16_384
# Milvus takes 64 MB in one message, and F7 is 16 KB at most.
_AT_A_TIME = 1000
# Long enough for a scan of a large collection, and short enough for somebody who waits.
# Whole seconds are also how long pymilvus tries again.
_SEARCH_S, _CHANGE_S = 10.0, 20
_CODE, _F7 = {"metric_type": "HAMMING"}, {"metric_type": "L2"}
_GONE, _NOT_LOADED = 100, 101


class Collection:
    """A collection that is open. Safe for many threads.

    Args:
        uri: where Milvus is: `http://host:19530`, or the path of a file that milvus-lite keeps.
        name: of the collection.
        bits: of a code.
        dim: numbers in F7.
        half: whether F7 is kept as float16.

    Raises:
        LookalikeError: pymilvus is not installed.
        UnavailableError: there is no Milvus.
    """

    def __init__(self, uri: str, name: str, bits: int, dim: int, *, half: bool = False) -> None:
        self.uri, self.name, self.dim = uri, name, dim
        self._bits, self._half = bits, half
        self._dtype: np.dtype[Any] = np.dtype(np.float16 if half else np.float32)
        self._milvus = _pymilvus()
        self._client = self._connect()

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    @property
    def row_bytes(self) -> int:
        """Bytes of a picture's code and F7."""
        return self._bits // 8 + self.dim * self._dtype.itemsize

    def exists(self) -> bool:
        """Tells whether Milvus has it."""
        with self._translated():
            return bool(self._client.has_collection(self.name, timeout=_SEARCH_S))

    def lost(self) -> UnavailableError:
        """Returns the error that says that Milvus does not have it."""
        reason = f"Milvus at {self.uri} has no collection {self.name}. `lookalike sync` makes it anew."
        return UnavailableError(reason, retry_after=60)

    def make(self) -> None:
        """Makes it where there is none, and has Milvus make it ready to be searched.

        Both indexes are flat, so that answers are exact.
        """
        with self._translated():
            if not self._client.has_collection(self.name, timeout=_SEARCH_S):
                kinds = self._milvus.DataType
                schema = self._client.create_schema()
                schema.add_field("slot", kinds.INT64, is_primary=True)
                schema.add_field("kept_at", kinds.INT64)
                schema.add_field("code", kinds.BINARY_VECTOR, dim=self._bits)
                schema.add_field("f7", kinds.FLOAT16_VECTOR if self._half else kinds.FLOAT_VECTOR, dim=self.dim)
                indexes = self._client.prepare_index_params()
                indexes.add_index("code", index_type="BIN_FLAT", **_CODE)
                indexes.add_index("f7", index_type="FLAT", **_F7)
                self._client.create_collection(
                    self.name, schema=schema, index_params=indexes, consistency_level="Strong", timeout=_CHANGE_S
                )
            self._client.load_collection(self.name, timeout=_CHANGE_S)

    def drop(self) -> None:
        """Takes it away, and all that is in it."""
        with self._translated():
            self._client.drop_collection(self.name, timeout=_CHANGE_S)

    def stored(self, features: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.float16]:
        """Returns F7 `(n, d)` as it will be kept."""
        return np.ascontiguousarray(features, self._dtype)

    def insert(self, slots: Slots, encoded: Encoded) -> int:
        """Keeps encodings at slots that hold nothing; returns the moment of Milvus' time from which they are found."""
        now = int(time.time())
        rows = [
            {"slot": slot, "kept_at": now, "code": code.tobytes(), "f7": feature}
            for slot, code, feature in zip(slots.tolist(), encoded.codes, self.stored(encoded.features), strict=True)
        ]
        with self._translated():
            for first in range(0, len(rows), _AT_A_TIME):
                self._client.insert(self.name, rows[first : first + _AT_A_TIME], timeout=_CHANGE_S)
        from pymilvus.client.ts_utils import get_collection_ts

        # Of the last change that this process made to it, which is this one or one after it.
        return int(get_collection_ts(self.name))

    def delete(self, slots: Sequence[int]) -> None:
        """Takes slots out; those that are not there do no harm."""
        with self._translated():
            for first in range(0, len(slots), _AT_A_TIME):
                some = list(slots[first : first + _AT_A_TIME])
                self._client.delete(self.name, filter=f"slot in {some}", timeout=_CHANGE_S)

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
        with self._translated():
            (found,) = self._loaded(
                self._client.search,
                moment,
                self.name,
                [data],
                filter=where,
                limit=limit,
                anns_field=field,
                search_params=_CODE if field == "code" else _F7,
            )
        slots, distances = np.array(found.ids, np.int64), np.array(found.distances, np.float64)
        order = np.argsort(distances, kind="stable")
        return Hits(slots[order], distances[order])

    def vectors(
        self, slots: Slots, moment: int | None = None
    ) -> tuple[Slots, NDArray[np.float32] | NDArray[np.float16]]:
        """Reads F7 `(m, d)` as it is kept; returns which of the slots there are, and theirs."""
        there, features = list[int](), [np.zeros((0, self.dim), self._dtype)]
        for first in range(0, len(slots), _AT_A_TIME):
            rows = self._rows(f"slot in {slots[first : first + _AT_A_TIME].tolist()}", "f7", moment=moment)
            there += [row["slot"] for row in rows]
            features += [_as_array(row["f7"], self._dtype)[None] for row in rows]
        return np.array(there, np.int64), np.concatenate(features)

    def present(self, slots: Slots) -> NDArray[np.bool_]:
        """Tells which of these slots hold something, `(n,)`."""
        there = list[int]()
        for first in range(0, len(slots), MOST):
            there += [row["slot"] for row in self._rows(f"slot in {slots[first : first + MOST].tolist()}")]
        return np.isin(slots, np.array(there, np.int64))

    def kept_before(self, moment: float, first: int, stop: int | None) -> Slots:
        """Lists slots from one on and before another that were filled before a moment (Unix time); `MOST` at most."""
        where = f"slot >= {first} and kept_at < {int(moment)}" + (f" and slot < {stop}" if stop is not None else "")
        return np.sort(np.array([row["slot"] for row in self._rows(where)], np.int64))

    def _rows(self, where: str, *fields: str, moment: int | None = None) -> list[dict[str, Any]]:
        with self._translated():
            found: list[dict[str, Any]] = self._loaded(
                self._client.query, moment, self.name, filter=where, output_fields=["slot", *fields], limit=MOST
            )
            return found

    def _loaded(self, ask: Any, moment: int | None, *args: Any, **options: Any) -> Any:
        """Asks; where Milvus has started anew and has not loaded the collection, has it load it and asks again."""
        options |= {"timeout": _SEARCH_S, "retry_times": 1, **_as_of(moment)}
        try:
            return ask(*args, **options)
        except self._milvus.MilvusException as error:
            if error.code != _NOT_LOADED and "not loaded" not in error.message:
                raise
        self._client.load_collection(self.name, timeout=_CHANGE_S)
        return ask(*args, **options)

    def _connect(self) -> Any:
        try:
            with self._translated():
                # Clients of one address share a connection, and whoever closes first closes it for all; by a name of
                # its own each has its own.
                return self._milvus.MilvusClient(self.uri, alias=uuid.uuid4().hex, timeout=_SEARCH_S)
        except UnavailableError as error:
            if "://" in self.uri:
                raise
            raise UnavailableError(
                f"The file {self.uri} cannot be opened. milvus-lite lends it to one process at a time: end the other "
                "one, or have all of them use a Milvus server (LOOKALIKE_MILVUS_URI=http://host:19530)."
            ) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns what pymilvus and the connection below it raise into what those above know."""
        import grpc

        try:
            yield
        except self._milvus.MilvusException as error:
            if error.code == _GONE or "not found" in error.message:
                raise self.lost() from error
            raise UnavailableError(f"Milvus at {self.uri} cannot be used right now: {error.message}") from error
        except (grpc.RpcError, ValueError) as error:
            # A connection that was closed is told as a ValueError.
            raise UnavailableError(f"Milvus at {self.uri} cannot be used right now: {error}") from error


def _pymilvus() -> Any:
    try:
        import pymilvus
    except ImportError as error:
        raise LookalikeError(
            "The index is in Milvus, and its client is not installed: pip install 'lookalike[milvus]'."
        ) from error
    # Everything that it would log it raises as well, and we say it once.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus


def _as_of(moment: int | None) -> dict[str, Any]:
    """Says in pymilvus' words what a question has to see; 1 is a moment before everything."""
    if moment is None:
        return {"consistency_level": "Strong"}
    return {"consistency_level": "Customized", "guarantee_timestamp": max(moment, 1)}


def _as_array(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Reads one F7 of an answer: a list of floats, or float16 as bytes, once more in a list."""
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        value = value[0]
    return np.frombuffer(value, dtype) if isinstance(value, bytes) else np.array(value, dtype)
