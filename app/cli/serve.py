"""`lookalike serve`: run the HTTP server and, unless another database is configured, the embedded PostgreSQL."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.api.admission.protocol import BoundedProtocol
from app.api.middleware.loopback import NO_KEYS_WARNING
from app.cli.terminal import exit_on_error, fail
from app.common.hosts import is_loopback
from app.common.running_services import announced, local_url
from app.observability.log_format import logging_config
from app.observability.multiprocess_metrics import shared_folder
from app.settings import Settings
from app.startup import supervision as startup

if TYPE_CHECKING:
    from app.catalogue.database.sessions import Database

log = logging.getLogger(__name__)

# Timeout of requests under way when the service stops, and how much longer a worker may take to exit.
_SHUTDOWN_S, _GRACE_S = 10, 10


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of server processes. They share one catalogue.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder for the embedded database, vectors, and originals and thumbnails.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of a shipped checkpoint, or path of another.")] = None,
) -> None:
    """Start the service. Ctrl-C stops it."""
    options = {"host": host, "port": port, "workers": workers, "data_dir": data_dir, "model": model}
    # Passed in the environment, because worker processes read their own settings.
    os.environ |= {f"LOOKALIKE_{name.upper()}": str(value) for name, value in options.items() if value is not None}
    for number in (signal.SIGTERM, signal.SIGHUP):
        # uvicorn raises the signal again after its shutdown; the default action would skip stopping the database.
        signal.signal(number, lambda *_: sys.exit(0))
    with exit_on_error():
        from app.bootstrap import open_database
        from app.startup.start import supervised_start

        settings = Settings()
        with supervised_start(settings), open_database(settings) as database:
            startup.step("checking keys, model and storage")
            warnings = require_keys(settings, database)
            _check_model_and_index(settings, database)
            _check_storage(settings)
            with shared_folder() if settings.workers > 1 else nullcontext():
                _run(settings, warnings)


class SupervisedConfig(uvicorn.Config):
    """uvicorn configuration that supervises the start again after uvicorn has installed its signal handlers."""

    def load(self) -> None:
        """Load the application, in the process that serves it."""
        from app.startup.start import begin_supervised_start

        # A worker process needs its own supervision.
        begin_supervised_start(Settings())
        startup.step("loading the application")
        _exit_if_signalled()
        super().load()


def _exit_if_signalled() -> None:
    """End the process if a signal arrived while asyncio's and uvicorn's handlers were set, which only record it."""
    task = asyncio.current_task()
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if (task is not None and task.cancelling()) or getattr(server, "should_exit", False):
        signal.raise_signal(signal.SIGTERM)


def _run(settings: Settings, warnings: Sequence[str]) -> None:
    config = SupervisedConfig(
        "app.main:create_app",
        factory=True,
        http=BoundedProtocol,
        ws="none",
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=logging_config(settings.log_format),
        # Our request log also has the duration and the request id.
        access_log=False,
        # The application reads forwarding headers itself (`app/api/middleware/forwarded.py`).
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        # A worker that converts the model does not respond; the default of five seconds can be too short.
        timeout_worker_healthcheck=60,
    )
    # uvicorn.Config has configured logging.
    for warning in warnings:
        log.warning(warning)
    if settings.workers > 1:
        startup.complete()
    try:
        failed = workers_failed(config, settings) if settings.workers > 1 else _server_failed(config, settings)
    except SystemExit as exit_:
        failed = bool(exit_.code)
    if failed:
        # uvicorn has logged the error. It has its own exit codes; our commands exit with 1.
        raise typer.Exit(1)


class AnnouncedServer(uvicorn.Server):
    """uvicorn's server that commands of the same data folder find while it accepts requests."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings, self._announcement = settings, ExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and announce the address."""
        await super().startup(sockets)
        if self.started and self.servers[0].sockets:
            self._announcement.enter_context(_announced(self._settings, self.servers[0].sockets[0]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Withdraw the announcement, and shut down."""
        self._announcement.close()
        await super().shutdown(sockets)


@contextmanager
def _announced(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """Announce the service's address in the data folder; without it, commands open the catalogue themselves."""
    host, port = listener.getsockname()[:2]
    with ExitStack() as stack:
        try:
            stack.enter_context(announced(settings.data_dir, local_url(host, port), settings.database_url))
        except OSError as error:
            log.warning("commands will not find this service, because its address cannot be written: %s", error)
        yield


def _server_failed(config: uvicorn.Config, settings: Settings) -> bool:
    server = AnnouncedServer(config, settings)
    # uvicorn raises the signal that stopped it again after its shutdown.
    with suppress(KeyboardInterrupt, SystemExit):
        server.run()
    return not server.started or server.lifespan.shutdown_failed


class Workers(Multiprocess):
    """uvicorn's supervisor of worker processes that also kills workers that do not exit in time."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._terminate_workers)

    def _terminate_workers(self, number: int, _frame: FrameType | None) -> None:
        """Terminate all workers immediately: the main loop may be waiting for a worker that hangs."""
        self.signal_queue.append(number)
        for worker in self.processes:
            worker.process.terminate()
        kill_timer = threading.Timer(_SHUTDOWN_S + _GRACE_S, self._kill)
        kill_timer.daemon = True
        kill_timer.start()

    def _kill(self) -> None:
        for worker in self.processes:
            worker.process.kill()


def workers_failed(config: uvicorn.Config, settings: Settings) -> bool:
    """Run workers until a signal stops them; returns whether one failed to start."""
    listener = config.bind_socket()
    supervisor = Workers(config, [listener])
    with _announced(settings, listener):
        supervisor.run()
    # The supervisor stops all workers when one fails to start, and reports it only by that worker's exit code.
    return any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes)


def require_keys(settings: Settings, database: "Database") -> list[str]:
    """Exit with an error if the service would listen on the network without any API key; returns warnings to log."""
    from app.catalogue.keys import has_keys

    if settings.auth == "off":
        return []
    with database.read_session() as session:
        if has_keys(session):
            return []
    if not is_loopback(settings.host):
        fail(
            f"Without API keys the service listens on 127.0.0.1 only, not on {settings.host}. Create a key with "
            "`lookalike keys create NAME`, or set LOOKALIKE_AUTH=off where a proxy authenticates callers."
        )
    return [NO_KEYS_WARNING]


def _check_model_and_index(settings: Settings, database: "Database") -> None:
    """Fail before workers start if the model is missing or not the catalogue's, or if Milvus is unreachable."""
    from app.bootstrap import index_locations
    from app.catalogue import index_versions
    from app.model_switch.index_factory import open_index
    from models.checkpoint.info import find_checkpoint, read_info

    with database.transaction() as session:
        path = find_checkpoint(index_versions.select_model(session, settings.model))
        index_version = index_versions.activate_for(
            session, read_info(path), path, settings.vector_dtype, settings.index_backend
        )
    open_index(database, index_version, index_locations(settings)).close()
    database.engine.dispose()


def _check_storage(settings: Settings) -> None:
    """Fail before workers start if the bucket is missing or rejects the credentials."""
    from app.catalogue.storage.factory import open_storage

    open_storage(settings.storage_url, settings.data_dir)
