"""What Milvus holds of one generation: codes in one collection and F7 in another, each at its slot.

Two, because they are used differently: all codes are read by every search, want to be in memory, and lie in few large
segments; of F7 a search reads the pool, and the rest may stay on disk.

The only file that knows of pymilvus, which takes a second to import and is imported when a collection is opened.
Everything that goes wrong between here and Milvus leaves as `UnavailableError`. Knows nothing of pictures and ids.
"""

import logging
import threading
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
# Long enough for a scan of a large collection, and short enough for somebody who waits. Whole numbers, because only
# those bound how long pymilvus tries again as well.
_SEARCH_S, _CHANGE_S, _LOAD_S = 5, 10, 600
# How long Milvus is looked for at a start, and by a request after it was away.
_OPEN_S, _LOOK_S = 10, 2
_CODE, _F7 = {"metric_type": "HAMMING"}, {"metric_type": "L2"}
_GONE, _NOT_LOADED = 100, 101
_WITHOUT_HALVES = ("2.0.", "2.1.", "2.2.", "2.3.")


class Collection:
    """Both collections, open. Safe for many threads.

    Args:
        uri: where Milvus is: `http://host:19530`, or the path of a file that milvus-lite keeps.
        name: of both, before what they hold.
        bits: of a code.
        dim: numbers in F7.
        half: whether F7 is kept as float16.

    Raises:
        LookalikeError: pymilvus is not installed.
        UnavailableError: there is no Milvus.
    """

    def __init__(self, uri: str, name: str, bits: int, dim: int, *, half: bool = False) -> None:
        self.uri, self.name, self.dim = uri, name, dim
        self._names: dict[Field, str] = {"code": f"{name}_code", "f7": f"{name}_f7"}
        self._bits, self._half = bits, half
        self._dtype: np.dtype[Any] = np.dtype(np.float16 if half else np.float32)
        self._milvus = _pymilvus()
        self._away, self._connecting = False, threading.Lock()
        self._connection = self._connect(_OPEN_S)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    @property
    def _client(self) -> Any:
        """The client; a new one where Milvus was away: a connection that was lost is not tried again for minutes."""
        if self._away:
            if not self._connecting.acquire(blocking=False):
                raise self._unavailable("it was away, and somebody looks for it just now")
            try:
                # First the old one: connections to one address share how long they wait before they try again.
                self._connection.close()
                self._connection = self._connect(_LOOK_S)
                self._away = False
            finally:
                self._connecting.release()
        return self._connection

    @property
    def code_bytes(self) -> int:
        """Bytes of a picture's code."""
        return self._bits // 8

    @property
    def vector_bytes(self) -> int:
        """Bytes of a picture's F7."""
        return self.dim * self._dtype.itemsize

    def exists(self) -> bool:
        """Tells whether Milvus has them."""
        with self._translated():
            return all(self._client.has_collection(name, timeout=_SEARCH_S) for name in self._names.values())

    def lost(self) -> UnavailableError:
        """Returns the error that says that Milvus does not have them."""
        reason = f"Milvus at {self.uri} has lost the collections {self.name}. `lookalike sync` makes them anew."
        return UnavailableError(reason, retry_after=60)

    def make(self) -> None:
        """Makes what is not there, and has Milvus make all of it ready to be searched.

        Both indexes are flat, so that answers are exact.
        """
        if self._half:
            self._require_halves()
        kinds = self._milvus.DataType
        self._make_one("code", kinds.BINARY_VECTOR, self._bits, "BIN_FLAT", _CODE)
        self._make_one("f7", kinds.FLOAT16_VECTOR if self._half else kinds.FLOAT_VECTOR, self.dim, "FLAT", _F7)

    def _require_halves(self) -> None:
        """Refuses a Milvus that takes float16 and finds none of it."""
        import grpc

        try:
            version = str(self._client.get_server_version(timeout=_SEARCH_S)).removeprefix("v")
        except grpc.RpcError:
            # milvus-lite has no version to tell.
            return
        if version.startswith(_WITHOUT_HALVES):
            raise LookalikeError(
                f"Milvus {version} cannot keep float16: LOOKALIKE_VECTORS=f32, or Milvus 2.4 or newer."
            )

    def _make_one(self, field: Field, kind: Any, dim: int, index: str, metric: dict[str, str]) -> None:
        name = self._names[field]
        with self._translated():
            if not self._client.has_collection(name, timeout=_SEARCH_S):
                schema = self._client.create_schema()
                schema.add_field("slot", self._milvus.DataType.INT64, is_primary=True)
                schema.add_field("kept_at", self._milvus.DataType.INT64)
                schema.add_field(field, kind, dim=dim)
                indexes = self._client.prepare_index_params()
                indexes.add_index(field, index_type=index, **metric)
                self._client.create_collection(name, schema=schema, index_params=indexes, timeout=_CHANGE_S)
            self._client.load_collection(name, timeout=_LOAD_S)

    def drop(self) -> None:
        """Takes them away, and all that is in them."""
        with self._translated():
            for name in self._names.values():
                self._client.drop_collection(name, timeout=_CHANGE_S)

    def stored(self, features: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.float16]:
        """Returns F7 `(n, d)` as it will be kept."""
        return np.ascontiguousarray(features, self._dtype)

    def insert(self, slots: Slots, encoded: Encoded) -> int:
        """Keeps encodings at slots that hold nothing; returns the moment of Milvus' time from which they are found."""
        codes = [code.tobytes() for code in encoded.codes]
        moments = self._insert("f7", slots, list(self.stored(encoded.features))), self._insert("code", slots, codes)
        return max(moments)

    def _insert(self, field: Field, slots: Slots, values: list[Any]) -> int:
        from pymilvus.client.ts_utils import get_collection_ts

        now, name = int(time.time()), self._names[field]
        rows = [
            {"slot": slot, "kept_at": now, field: value} for slot, value in zip(slots.tolist(), values, strict=True)
        ]
        with self._translated():
            for first in range(0, len(rows), _AT_A_TIME):
                self._client.insert(name, rows[first : first + _AT_A_TIME], timeout=_CHANGE_S)
        # Of the last change that this process made to it, which is this one or one after it.
        return int(get_collection_ts(name))

    def delete(self, slots: Sequence[int]) -> None:
        """Takes slots out; those that are not there do no harm."""
        with self._translated():
            for first in range(0, len(slots), _AT_A_TIME):
                some = f"slot in {list(slots[first : first + _AT_A_TIME])}"
                for name in self._names.values():
                    self._client.delete(name, filter=some, timeout=_CHANGE_S)

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
                self._names[field],
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
        with self._translated():
            found: list[dict[str, Any]] = self._loaded(
                self._client.query, moment, self._names[field], filter=where, output_fields=["slot", *more], limit=MOST
            )
            return found

    def _loaded(self, ask: Any, moment: int | None, name: str, *args: Any, **options: Any) -> Any:
        """Asks; where Milvus has started anew and has not loaded the collection, has it load it and asks again."""
        options |= {"timeout": _SEARCH_S, **_as_of(moment)}
        try:
            return ask(name, *args, **options)
        except self._milvus.MilvusException as error:
            if error.code != _NOT_LOADED and "not loaded" not in error.message:
                raise
        self._client.load_collection(name, timeout=_CHANGE_S)
        return ask(name, *args, **options)

    def _connect(self, seconds: int) -> Any:
        try:
            with self._translated():
                # Clients of one address share a connection, and whoever closes first closes it for all; by a name of
                # its own each has its own.
                return self._milvus.MilvusClient(self.uri, alias=uuid.uuid4().hex, timeout=seconds)
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
            # What the connection says itself comes with a code that is called.
            self._away |= callable(error.code)
            raise self._unavailable(error.message) from error
        except (grpc.RpcError, ValueError) as error:
            # A connection that somebody else has closed meanwhile is told as a ValueError.
            reason = error.code().name if isinstance(error, grpc.Call) else str(error)
            raise self._unavailable(reason) from error

    def _unavailable(self, reason: str) -> UnavailableError:
        return UnavailableError(f"Milvus at {self.uri} cannot be used right now: {reason}")


def _pymilvus() -> Any:
    try:
        import pymilvus
    except ImportError as error:
        raise LookalikeError(
            "The index is in Milvus, and its client is not installed: pip install 'lookalike[milvus]'."
        ) from error
    # Everything that it would log it raises as well, and we say it once.
    for name in ("pymilvus", "pymilvus.milvus_client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
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
