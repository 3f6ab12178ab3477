"""`lookalike serve`: the server, with the embedded database around it where no other is named."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.api.admission.protocol import BoundedProtocol
from app.api.middleware.loopback import WITHOUT_KEYS
from app.cli.terminal import errors_as_sentences, fail
from app.common.hosts import is_loopback
from app.observability.log_format import configuration
from app.observability.multiprocess_metrics import shared_folder
from app.settings import Settings
from app.startup import supervision as startup

if TYPE_CHECKING:
    from app.catalogue.database.sessions import Database

log = logging.getLogger(__name__)

# How long requests under way may take when the service stops; and what a worker may take beyond that.
_SHUTDOWN_S, _GRACE_S = 10, 10


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes over the one catalogue.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    model: Annotated[str | None, typer.Option(help="A checkpoint that ships, or the path of one.")] = None,
) -> None:
    """Start the service; Ctrl-C ends it."""
    given = {"host": host, "port": port, "workers": workers, "data_dir": data_dir, "model": model}
    # By way of the environment, because worker processes read their settings themselves.
    os.environ |= {f"LOOKALIKE_{name.upper()}": str(value) for name, value in given.items() if value is not None}
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # uvicorn raises the signal again when it has shut down; the default would end us before the database.
        signal.signal(ending, lambda *_: sys.exit(0))
    with errors_as_sentences():
        from app.bootstrap import open_database, supervised_start

        settings = Settings()
        with supervised_start(settings), open_database(settings) as database:
            startup.step("checking keys, network and storage")
            notes = require_keys(settings, database)
            _require_network(settings, database)
            _require_pictures(settings)
            with shared_folder() if settings.workers > 1 else nullcontext():
                _run(settings, notes)


class SupervisedConfig(uvicorn.Config):
    """uvicorn's configuration, which keeps the start supervised once uvicorn has set its own signal handlers."""

    def load(self) -> None:
        """Loads the application, in the process that is going to serve it."""
        from app.bootstrap import begin_start

        # A worker is a process of its own, with a start of its own.
        begin_start(Settings())
        startup.step("loading the application")
        _end_if_signalled()
        super().load()


def _end_if_signalled() -> None:
    """Ends the process if a signal came while handlers of asyncio and uvicorn were set, which only note it."""
    task = asyncio.current_task()
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if (task is not None and task.cancelling()) or getattr(server, "should_exit", False):
        signal.raise_signal(signal.SIGTERM)


def _run(settings: Settings, notes: Sequence[str]) -> None:
    config = SupervisedConfig(
        "app.main:create_app",
        factory=True,
        http=BoundedProtocol,
        ws="none",
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=configuration(settings.log_format),
        # Lines of our own say more: how long it took, and what the request is called.
        access_log=False,
        # The application reads forwarding headers itself (`app/api/middleware/forwarded.py`).
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        # Converting the network keeps a worker from answering; five seconds, the default, can be too few.
        timeout_worker_healthcheck=60,
    )
    # The log is configured now.
    for note in notes:
        log.warning(note)
    if settings.workers > 1:
        startup.complete()
    try:
        failed = workers_failed(config) if settings.workers > 1 else _server_failed(config)
    except SystemExit as ended:
        failed = bool(ended.code)
    if failed:
        # uvicorn has said what failed, and has numbers of its own for it; our commands end with 1.
        raise typer.Exit(1)


def _server_failed(config: uvicorn.Config) -> bool:
    server = uvicorn.Server(config)
    # uvicorn raises the signal that ended it again when it has shut down.
    with suppress(KeyboardInterrupt, SystemExit):
        server.run()
    return not server.started or server.lifespan.shutdown_failed


class Workers(Multiprocess):
    """uvicorn's supervisor of worker processes, which also ends those that do not end by themselves."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        """Has all workers end, at once: the main loop may be waiting for the answer of one that hangs."""
        self.signal_queue.append(number)
        for worker in self.processes:
            worker.process.terminate()
        killing = threading.Timer(_SHUTDOWN_S + _GRACE_S, self._kill)
        killing.daemon = True
        killing.start()

    def _kill(self) -> None:
        for worker in self.processes:
            worker.process.kill()


def workers_failed(config: uvicorn.Config) -> bool:
    """Runs workers until a signal ends them; returns whether one could not start."""
    supervisor = Workers(config, [config.bind_socket()])
    supervisor.run()
    # It ends them all when one cannot start, and does not say so otherwise.
    return any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes)


def require_keys(settings: Settings, database: "Database") -> list[str]:
    """Refuses to listen beyond this machine while there is no key to ask for; returns warnings for the log."""
    from app.catalogue.keys import any_key

    if settings.auth == "off":
        return []
    with database.asking() as session:
        if any_key(session):
            return []
    if not is_loopback(settings.host):
        fail(
            f"Without API keys the service listens on 127.0.0.1 alone, not on {settings.host}. Make a key with "
            "`lookalike keys create NAME`, or set LOOKALIKE_AUTH=off where a proxy authenticates callers."
        )
    return [WITHOUT_KEYS]


def _require_network(settings: Settings, database: "Database") -> None:
    """Finds out now, and not in a worker, that the network is missing or not the catalogue's, or that Milvus is."""
    from app.bootstrap import places
    from app.catalogue import generations
    from app.model_switch.index_factory import open_index
    from models.checkpoint.info import find, read_info

    with database.begin() as session:
        path = find(generations.model_for(session, settings.model))
        generation = generations.adopt(session, read_info(path), path, settings.vector_dtype, settings.index_backend)
    open_index(database, generation, places(settings)).close()
    database.engine.dispose()


def _require_pictures(settings: Settings) -> None:
    """Finds out now, and not in a worker, that the bucket is missing or refuses the key."""
    from app.catalogue.storage.open import open_pictures

    open_pictures(settings.storage_url, settings.data_dir)
