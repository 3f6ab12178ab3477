"""Milvus for tests: milvus-lite as a server that several processes can use, and that can be killed."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.catalogue.database.sessions import Database
from app.catalogue.vectors.slots import collection_prefix


@dataclass
class MilvusServer:
    """A Milvus server with its own port and file; restarts keep its data."""

    folder: Path
    port: int
    _process: Any = None

    @property
    def uri(self) -> str:
        """URI for clients."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it listens."""
        # Imported here because it takes seconds, which tests without Milvus need not wait.
        from milvus_lite.server import Server

        self._process = Server(str(self.folder / "lite.db"), f"127.0.0.1:{self.port}")
        assert self._process.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server."""
        if self._process._p is not None:
            self._process._p.kill()
        self._process.stop()


@contextmanager
def running_milvus(folder: Path) -> Iterator[MilvusServer]:
    """Run a server during the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = MilvusServer(folder, probe.getsockname()[1])
    server.start()
    try:
        yield server
    finally:
        server.kill()


def drop_collections(uri: str, database_url: str) -> None:
    """Drop the collections of the catalogue in a database."""
    import pymilvus

    with closing(Database(database_url)) as database, database.read_session() as session:
        prefix = collection_prefix(session)
    with closing(pymilvus.MilvusClient(uri, alias="cleaner")) as client:
        for name in client.list_collections():
            if name.startswith(prefix):
                client.drop_collection(name)
