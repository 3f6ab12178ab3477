"""The way to Milvus: a client that comes back when Milvus does, and what goes wrong there in our own words.

The only file that knows of pymilvus, which takes a second to import and is imported when somebody connects. Everything
that goes wrong between here and Milvus leaves as `UnavailableError`.
"""

import logging
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from app.errors import LookalikeError, UnavailableError

# Long enough for a scan of a large collection, and short enough for somebody who waits. Whole numbers, because only
# those bound how long pymilvus tries again as well.
SEARCH_S, CHANGE_S, LOAD_S = 5, 10, 600
# How long Milvus is looked for at a start, and by a request after it was away.
_OPEN_S, _LOOK_S = 10, 2
_GONE, _NOT_LOADED = 100, 101


class LostError(UnavailableError):
    """Milvus does not have a collection."""


class Connection:
    """A connection to Milvus. Safe for many threads.

    Args:
        uri: where Milvus is: `http://host:19530`, or the path of a file that milvus-lite keeps.

    Raises:
        LookalikeError: pymilvus is not installed.
        UnavailableError: there is no Milvus.
    """

    def __init__(self, uri: str) -> None:
        self.uri, self._milvus = uri, _pymilvus()
        self._away, self._connecting = False, threading.Lock()
        self._client = self._connect(_OPEN_S)

    def close(self) -> None:
        """Closes it."""
        self._client.close()

    @property
    def client(self) -> Any:
        """The client; a new one where Milvus was away: a connection that was lost is not tried again for minutes."""
        if self._away:
            if not self._connecting.acquire(blocking=False):
                raise self._unavailable("it was away, and somebody looks for it just now")
            try:
                # First the old one: connections to one address share how long they wait before they try again.
                self._client.close()
                self._client = self._connect(_LOOK_S)
                self._away = False
            finally:
                self._connecting.release()
        return self._client

    @property
    def kinds(self) -> Any:
        """The kinds of fields, by name."""
        return self._milvus.DataType

    def version(self) -> str | None:
        """Returns Milvus' version; None for milvus-lite, which does not tell."""
        import grpc

        with self.translated():
            try:
                return str(self.client.get_server_version(timeout=SEARCH_S)).removeprefix("v")
            except grpc.RpcError:
                return None

    def changed(self, collection: str) -> int:
        """Returns the moment of Milvus' time at which the last change is there that this process made to it."""
        from pymilvus.client.ts_utils import get_collection_ts

        return int(get_collection_ts(collection))

    def ask(self, question: Callable[..., Any], collection: str, moment: int | None, *args: Any, **options: Any) -> Any:
        """Asks as of a moment, or None for now; where Milvus has started anew, has it load the collection first."""
        options |= {"timeout": SEARCH_S, **_as_of(moment)}
        try:
            return question(collection, *args, **options)
        except self._milvus.MilvusException as error:
            if error.code != _NOT_LOADED and "not loaded" not in error.message:
                raise
        self.client.load_collection(collection, timeout=CHANGE_S)
        return question(collection, *args, **options)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turns what pymilvus and the connection below it raise into what those above know."""
        import grpc

        try:
            yield
        except self._milvus.MilvusException as error:
            if error.code == _GONE or "not found" in error.message:
                raise LostError(error.message) from error
            # What the connection says itself comes with a code that is called.
            self._away |= callable(error.code)
            raise self._unavailable(error.message) from error
        except (grpc.RpcError, ValueError) as error:
            # A connection that somebody else has closed meanwhile is told as a ValueError.
            reason = error.code().name if isinstance(error, grpc.Call) else str(error)
            raise self._unavailable(reason) from error

    def _connect(self, seconds: int) -> Any:
        try:
            with self.translated():
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

    def _unavailable(self, reason: str) -> UnavailableError:
        return UnavailableError(f"Milvus at {self.uri} cannot be used right now: {reason}")


def _pymilvus() -> Any:
    try:
        import pymilvus
    except ImportError as error:
        raise LookalikeError(
            "The index is in Milvus, and its client is not installed: pip install 'lookalike[milvus]'."
        ) from error
    # milvus-lite finds its own version that way.
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
    # Everything that it would log it raises as well, and we say it once.
    for name in ("pymilvus", "pymilvus.milvus_client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return pymilvus


def _as_of(moment: int | None) -> dict[str, Any]:
    """Says in pymilvus' words what a question has to see; 1 is a moment before everything."""
    if moment is None:
        return {"consistency_level": "Strong"}
    return {"consistency_level": "Customized", "guarantee_timestamp": max(moment, 1)}
