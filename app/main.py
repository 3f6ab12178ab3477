"""The web application: `create_app()`, for uvicorn's factory mode."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypedDict

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline

from app.api.admission.body_limit import BodyLimit, FixedHeaders
from app.api.admission.connections import ConnectionLimits, connections_within_descriptors
from app.api.admission.data_rate import DataRate
from app.api.admission.lanes import OTHER_THREADS, Lanes
from app.api.admission.middleware import Admission
from app.api.admission.shares import Shares
from app.api.admission.threads import FairThreads, PromptThreads
from app.api.middleware.auth import Access, Doorkeeper
from app.api.middleware.disconnect import CancelOnDisconnect
from app.api.middleware.lifespan_errors import Sentences
from app.api.middleware.request_id import HEADER as REQUEST_ID
from app.api.middleware.request_log import Observed
from app.api.openapi import describe
from app.api.problems import add_exception_handlers
from app.api.routes import duplicates, facets, images, index, jobs, quality, search, session, system
from app.bootstrap import Service, open_service
from app.common.memory import usable_memory
from app.demo.fill import fill_if_empty
from app.model_switch.switch import Watch
from app.observability.metrics import Metrics
from app.observability.multiprocess_metrics import VARIABLE as METRICS_FOLDER
from app.observability.process_gauges import Gauges
from app.observability.tracing import open_tracing
from app.settings import Settings
from app.startup import supervision as startup
from models.training.allocator import share_arenas

# So long /readyz tells why before a process whose disk has failed ends.
LAST_WORDS_S = 5.0
LAST_PICTURES_S = 3.0
# Of the memory of a machine or container, requests and responses may hold one part in so many.
MEMORY_SHARE = 8
# Threads that read images which are sent.
FILE_THREADS = 16
WEB = Path(__file__).parent / "web"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
DESCRIPTION = """
Put a catalogue of pictures in, ask **what looks like this one**, get the answer in milliseconds.

Search with `POST /search`, add pictures with `POST /index`. Errors are `application/problem+json` (RFC 9457).
"""


class State(TypedDict):
    """What requests find in `request.state`.

    Searches have threads of their own, few, because more would only take the cores from each other: one in the
    network and one elsewhere for each core.
    """

    service: Service
    threads: FairThreads
    prompt_threads: PromptThreads
    file_threads: CapacityLimiter
    connection_limits: ConnectionLimits
    doorkeeper: Doorkeeper
    jobs: jobs.Jobs
    gauges: Gauges


class Opener(Protocol):
    """Opens a service, as `open_service` does."""

    def __call__(self, settings: Settings) -> AbstractContextManager[Service]:
        """Returns the open service as a context manager."""
        ...


def create_app(settings: Settings | None = None, opener: Opener = open_service) -> FastAPI:
    """Builds the application; what it holds is opened when the server starts and closed when it ends."""
    settings = settings or Settings()
    folder = os.environ.get(METRICS_FOLDER)
    share_arenas()
    metrics, tracing = Metrics(Path(folder) if folder else None), open_tracing(os.environ)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        manager, loop = opener(settings), asyncio.get_running_loop()
        # Whatever is admitted has a thread.
        to_thread.current_default_thread_limiter().total_tokens = settings.max_concurrent_requests + OTHER_THREADS
        try:
            service = await to_thread.run_sync(manager.__enter__)
        except BaseException:
            startup.complete()
            raise
        interrupting = threading.Timer(LAST_PICTURES_S, service.interrupt)
        try:
            service.disk.when_it_fails(partial(loop.call_soon_threadsafe, end_soon))
            startup.step("drawing the demo catalogue")
            await to_thread.run_sync(fill_if_empty, service)
            startup.step("starting the background work")
            service.observers.add(metrics)
            if tracing is not None:
                service.observers.add(tracing)
            with (
                Gauges(metrics.registry, service) as gauges,
                ThreadPoolExecutor(2 * (os.cpu_count() or 1), "search") as threads,
                Watch(service.database, service.handover),
                jobs.open_jobs(service) as opened,
            ):
                startup.complete()
                yield {
                    "service": service,
                    "threads": FairThreads(threads),
                    "prompt_threads": PromptThreads(),
                    "file_threads": CapacityLimiter(FILE_THREADS),
                    "connection_limits": connection_limits_of(settings),
                    "doorkeeper": Doorkeeper(service.database),
                    "jobs": opened,
                    "gauges": gauges,
                }
                # What is under way may end, unless its pictures take longer than a stop may.
                interrupting.start()
        finally:
            startup.complete()
            await to_thread.run_sync(manager.__exit__, None, None, None)
            interrupting.cancel()
            if tracing is not None:
                await to_thread.run_sync(tracing.close)
        # A process whose disk failed has not ended well, and whoever watches over it should start another.
        service.disk.require()

    app: FastAPI = FastAPIOffline(
        title="Lookalike",
        version=version("lookalike"),
        description=DESCRIPTION,
        lifespan=lifespan,
        form_limits={
            "max_files": settings.max_images_per_request,
            "max_fields": settings.max_form_fields,
            "max_part_size": settings.max_form_field_bytes,
        },
    )
    app.state.metrics = metrics
    app.add_middleware(CancelOnDisconnect)
    app.add_middleware(Admission, lanes=lanes_of(settings), budget=Shares(buffered_bytes_of(settings)))
    app.add_middleware(
        Access,
        required=settings.auth == "auto",
        rate=settings.rate_limit,
        hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
    )
    if settings.cors_origins:
        add_cors(app, settings.cors_origins)
    app.add_middleware(Observed, metrics=metrics, tracing=tracing)
    app.add_middleware(FixedHeaders, headers={"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"})
    app.add_middleware(Sentences)
    add_exception_handlers(app)
    for part in (search, index, jobs, images, facets, duplicates, quality, system, session):
        app.include_router(part.router)
    add_page(app)
    app.openapi = describe(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


def lanes_of(settings: Settings) -> Lanes:
    """Returns the limits of each kind of request."""
    rate = DataRate(settings.min_transfer_rate, settings.transfer_grace_seconds)
    # Archives may be packed while they are sent, which pauses for longer.
    unsteady = DataRate(rate.least, max(rate.grace_s, settings.request_read_timeout_seconds))
    text = min(settings.max_form_field_bytes, settings.max_request_bytes)
    return Lanes(
        settings.max_concurrent_requests,
        text=BodyLimit(text, settings.request_read_timeout_seconds, rate),
        images=BodyLimit(settings.max_request_bytes, settings.request_read_timeout_seconds, rate),
        archives=BodyLimit(settings.max_archive_bytes, settings.archive_upload_timeout_seconds, unsteady),
    )


def buffered_bytes_of(settings: Settings) -> int:
    """Returns how many bytes requests and responses may hold: without a setting, enough for one of the largest."""
    share = usable_memory() // MEMORY_SHARE // settings.workers
    return settings.max_buffered_bytes or max(share, 3 * settings.max_request_bytes // 2)


def connection_limits_of(settings: Settings) -> ConnectionLimits:
    """Returns the limits of connections, as far as this process may have file descriptors for them."""
    rate = DataRate(settings.min_transfer_rate, settings.transfer_grace_seconds)
    most = connections_within_descriptors(settings.max_connections, buffered_bytes_of(settings))
    return ConnectionLimits(most, rate)


def end_soon() -> None:
    """Ends this process when it has had time to say why; whoever watches over it starts another."""
    asyncio.get_running_loop().call_later(LAST_WORDS_S, os.kill, os.getpid(), signal.SIGTERM)


def add_cors(app: FastAPI, origins: Sequence[str]) -> None:
    """Lets pages of other sites use the service, with a key of their own; cookies stay this page's."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", REQUEST_ID],
        expose_headers=[REQUEST_ID],
    )


def add_page(app: FastAPI) -> None:
    """Serves the page for people at `/`."""
    app.mount("/web", StaticFiles(directory=WEB), name="web")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Content-Security-Policy": PAGE_POLICY})
