"""A real Milvus for tests: milvus-lite as a server that any number of processes can use, and that can be killed."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.catalogue.database.sessions import Database
from app.catalogue.vectors.slots import catalogue_name


@dataclass
class MilvusServer:
    """A server with an address and a file of its own; started again, it has what it had."""

    folder: Path
    port: int
    _process: Any = None

    @property
    def uri(self) -> str:
        """What a client is told."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        # Seconds, which the many tests without Milvus need not wait.
        from milvus_lite.server import Server

        self._process = Server(str(self.folder / "lite.db"), f"127.0.0.1:{self.port}")
        assert self._process.start()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends it at once."""
        if self._process._p is not None:
            self._process._p.kill()
        self._process.stop()


@contextmanager
def running_milvus(folder: Path) -> Iterator[MilvusServer]:
    """Runs a server for the length of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = MilvusServer(folder, probe.getsockname()[1])
    server.start()
    try:
        yield server
    finally:
        server.kill()


def drop_collections(uri: str, database_url: str) -> None:
    """Takes away what the catalogue in a database has left."""
    import pymilvus

    with closing(Database(database_url)) as database, database.asking() as session:
        mine = catalogue_name(session)
    with closing(pymilvus.MilvusClient(uri, alias="cleaner")) as client:
        for name in client.list_collections():
            if name.startswith(mine):
                client.drop_collection(name)
