"""Milvus connection that reconnects and translates errors.

The only module that uses pymilvus, which takes a second to import and is imported on the first connection. All errors
of Milvus and of the network are raised as `UnavailableError`.
"""

import logging
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from app.errors import LookalikeError, UnavailableError

# Long enough to scan a large collection, short enough for interactive use. Integers, because pymilvus applies only
# integers to its retries as well.
SEARCH_S, CHANGE_S, LOAD_S = 5, 10, 600
# Timeouts of connecting at startup, and of reconnecting in a request.
_CONNECT_S, _RECONNECT_S = 10, 2
# Milvus error codes.
_COLLECTION_NOT_FOUND, _COLLECTION_NOT_LOADED = 100, 101


class CollectionMissingError(UnavailableError):
    """A collection does not exist in Milvus."""


class Connection:
    """A connection to Milvus. Thread-safe.

    Args:
        uri: `http://host:19530`, or the path of a milvus-lite file.

    Raises:
        LookalikeError: pymilvus is not installed.
        UnavailableError: Milvus cannot be reached.
    """

    def __init__(self, uri: str) -> None:
        self.uri, self._milvus = uri, _pymilvus()
        self._disconnected, self._connecting = False, threading.Lock()
        self._client = self._connect(_CONNECT_S)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @property
    def client(self) -> Any:
        """The client, a new one after a connection failure: pymilvus would not reconnect for minutes."""
        if self._disconnected:
            if not self._connecting.acquire(blocking=False):
                raise self._unavailable("the connection was lost, and another request is reconnecting")
            try:
                # Close the old one first: connections to one address share the backoff before a reconnect.
                self._client.close()
                self._client = self._connect(_RECONNECT_S)
                self._disconnected = False
            finally:
                self._connecting.release()
        return self._client

    @property
    def data_types(self) -> Any:
        """Milvus' enumeration of field types."""
        return self._milvus.DataType

    def version(self) -> str | None:
        """Return Milvus' version; None for milvus-lite, which does not report it."""
        import grpc

        with self.translate_errors():
            try:
                return str(self.client.get_server_version(timeout=SEARCH_S)).removeprefix("v")
            except grpc.RpcError:
                return None

    def last_write_timestamp(self, collection: str) -> int:
        """Return the Milvus timestamp of this process's last write to a collection."""
        from pymilvus.client.ts_utils import get_collection_ts

        return int(get_collection_ts(collection))

    def read(
        self, method: Callable[..., Any], collection: str, timestamp: int | None, *args: Any, **options: Any
    ) -> Any:
        """Search or query a collection as of a timestamp, None for now; load it first if Milvus was restarted."""
        options |= {"timeout": SEARCH_S, **_consistency(timestamp)}
        try:
            return method(collection, *args, **options)
        except self._milvus.MilvusException as error:
            if error.code != _COLLECTION_NOT_LOADED and "not loaded" not in error.message:
                raise
        self.client.load_collection(collection, timeout=CHANGE_S)
        return method(collection, *args, **options)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise exceptions of pymilvus and gRPC as `UnavailableError`."""
        import grpc

        try:
            yield
        except self._milvus.MilvusException as error:
            if error.code == _COLLECTION_NOT_FOUND or "not found" in error.message:
                raise CollectionMissingError(error.message) from error
            # Errors of the connection itself have a callable code, as in gRPC.
            self._disconnected |= callable(error.code)
            raise self._unavailable(error.message) from error
        except (grpc.RpcError, ValueError) as error:
            # Using a connection that another thread has closed raises ValueError.
            reason = error.code().name if isinstance(error, grpc.Call) else str(error)
            raise self._unavailable(reason) from error

    def _connect(self, seconds: int) -> Any:
        try:
            with self.translate_errors():
                # Clients with the same alias share a connection, which the first to close would close for all.
                return self._milvus.MilvusClient(self.uri, alias=uuid.uuid4().hex, timeout=seconds)
        except UnavailableError as error:
            if "://" in self.uri:
                raise
            raise UnavailableError(
                f"The file {self.uri} cannot be opened. Only one process can use a milvus-lite file: stop the other "
                "process, or use a Milvus server for all (LOOKALIKE_MILVUS_URI=http://host:19530)."
            ) from error

    def _unavailable(self, reason: str) -> UnavailableError:
        return UnavailableError(f"Milvus at {self.uri} is unavailable: {reason}")


def _pymilvus() -> Any:
    try:
        import pymilvus
    except ImportError as error:
        raise LookalikeError(
            "The index is in Milvus, but its client is not installed. Run pip install 'lookalike[milvus]'."
        ) from error
    # milvus-lite imports pkg_resources to find its version.
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
    # pymilvus also raises everything that it logs.
    for name in ("pymilvus", "pymilvus.milvus_client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return pymilvus


def _consistency(timestamp: int | None) -> dict[str, Any]:
    """Consistency options of pymilvus options; timestamp 1 precedes every write."""
    if timestamp is None:
        return {"consistency_level": "Strong"}
    return {"consistency_level": "Customized", "guarantee_timestamp": max(timestamp, 1)}
