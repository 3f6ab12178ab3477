"""Application factory: `create_app()` adds routes, middleware, error handlers and the web page."""

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
from typing import TYPE_CHECKING, Protocol, TypedDict

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from app.adaptation.watcher import AdaptationWatcher
from app.api.admission.body_limit import BodyLimit, FixedHeaders
from app.api.admission.connections import ConnectionLimits, connections_within_descriptors
from app.api.admission.data_rate import DataRate
from app.api.admission.fair_limit import FairLimit
from app.api.admission.middleware import AdmissionMiddleware
from app.api.admission.request_classes import EXTRA_THREADS, RequestClasses
from app.api.admission.threads import FairExecutor, ReservedThreads
from app.api.middleware.auth import ApiKeyCache, AuthMiddleware
from app.api.middleware.content_encoding import ContentEncodingMiddleware
from app.api.middleware.disconnect import CancelOnDisconnect
from app.api.middleware.forwarded import ForwardedMiddleware
from app.api.middleware.head import HeadMiddleware
from app.api.middleware.key_use import KeyUse
from app.api.middleware.lifespan_errors import LifespanErrorMiddleware
from app.api.middleware.request_id import HEADER as REQUEST_ID
from app.api.middleware.request_log import RequestLogMiddleware
from app.api.openapi import extend_openapi
from app.api.pages import add_pages
from app.api.problems import add_exception_handlers
from app.api.routes import bulk, duplicates, export, facets, images, index, jobs, quality, search, session, system
from app.api.routes.operations import keys, tasks, training
from app.bootstrap import Service, open_service
from app.common.memory import usable_memory
from app.demo.fill import fill_at_start
from app.ingest.trash_expiry import TrashExpiry
from app.maintenance.thumbnails import ThumbnailRenewal
from app.model_switch.switch import SwitchWatcher
from app.observability.metrics import Metrics
from app.observability.multiprocess_metrics import FOLDER_VARIABLE as METRICS_FOLDER
from app.observability.process_gauges import ProcessGauges
from app.observability.tracing import open_tracing
from app.settings import Settings
from app.startup import supervision as startup
from app.tasks.runner import TaskRunner
from models.allocator import share_arenas

if TYPE_CHECKING:
    # OpenTelemetry is an optional dependency.
    from app.observability.spans import Tracing

# Seconds for which /readyz reports a failed disk before the process ends.
SHUTDOWN_DELAY_S = 5.0
# Seconds that a shutdown waits for images being decoded.
DECODE_STOP_GRACE_S = 3.0
# Requests and responses may hold 1/8 of the memory of the machine or container.
MEMORY_DIVISOR = 8
# Threads that read image files for downloads.
FILE_THREADS = 16
# Modules of endpoints, in the order of the API docs. `export` is before `images`: `/images/{id}` matches its path too.
ROUTES = (
    search,
    index,
    jobs,
    bulk,
    export,
    images,
    facets,
    duplicates,
    quality,
    system,
    session,
    keys,
    tasks,
    training,
)
DESCRIPTION = """
Search a catalogue of images by visual similarity, in milliseconds.

Search with `POST /search`, add images with `POST /index`. Errors are `application/problem+json` (RFC 9457).
"""


class State(TypedDict):
    """Lifespan state, available as `request.state`.

    The executor `threads` runs searches: two threads per core, one for encoding and one for the rest. More would only
    compete for the cores.
    """

    service: Service
    threads: FairExecutor
    reserved_threads: ReservedThreads
    file_threads: CapacityLimiter
    connection_limits: ConnectionLimits
    api_keys: ApiKeyCache
    key_use: KeyUse
    jobs: jobs.Jobs
    gauges: ProcessGauges
    tasks: TaskRunner


class Opener(Protocol):
    """Type of `open_service`."""

    def __call__(self, settings: Settings) -> AbstractContextManager[Service]:
        """Return the open service as a context manager."""
        ...


def create_app(settings: Settings | None = None, opener: Opener = open_service) -> FastAPI:
    """Return the application. Its lifespan opens the service at startup and closes it at shutdown."""
    settings = settings or Settings()
    folder = os.environ.get(METRICS_FOLDER)
    share_arenas()
    metrics, tracing = Metrics(Path(folder) if folder else None), open_tracing(os.environ)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        manager, loop = opener(settings), asyncio.get_running_loop()
        # Every admitted request gets a thread.
        to_thread.current_default_thread_limiter().total_tokens = settings.max_concurrent_requests + EXTRA_THREADS
        try:
            service = await to_thread.run_sync(manager.__enter__)
        except BaseException:
            startup.complete()
            raise
        interrupt_timer = threading.Timer(DECODE_STOP_GRACE_S, service.abort_decoding)
        try:
            service.fsync_guard.on_failure(partial(loop.call_soon_threadsafe, schedule_shutdown))
            startup.step("drawing the demo catalogue")
            await to_thread.run_sync(fill_at_start, service)
            startup.step("starting the background work")
            service.observers.add(metrics)
            if tracing is not None:
                service.observers.add(tracing)
            with (
                ProcessGauges(metrics.registry, service) as gauges,
                ThreadPoolExecutor(2 * (os.cpu_count() or 1), "search") as threads,
                SwitchWatcher(service.database, service.model_switch),
                AdaptationWatcher(service),
                ThumbnailRenewal(service),
                TrashExpiry(service.trash.purge_batch),
                KeyUse(service.database) as key_use,
                TaskRunner(service) as task_runner,
                jobs.open_jobs(service) as opened,
            ):
                startup.complete()
                yield {
                    "service": service,
                    "threads": FairExecutor(threads),
                    "reserved_threads": ReservedThreads(),
                    "file_threads": CapacityLimiter(FILE_THREADS),
                    "connection_limits": connection_limits_of(settings),
                    "api_keys": ApiKeyCache(service.database),
                    "key_use": key_use,
                    "jobs": opened,
                    "gauges": gauges,
                    "tasks": task_runner,
                }
                # Requests in progress may finish, but images still being decoded after the grace period are given up.
                interrupt_timer.start()
        finally:
            startup.complete()
            await to_thread.run_sync(manager.__exit__, None, None, None)
            interrupt_timer.cancel()
            if tracing is not None:
                await to_thread.run_sync(tracing.close)
        # Exit with an error after a disk failure, so that a supervisor restarts the process.
        service.fsync_guard.require_healthy()

    app: FastAPI = FastAPIOffline(
        title="Lookalike",
        version=version("lookalike"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        form_limits={
            "max_files": settings.max_images_per_request,
            "max_fields": settings.max_form_fields,
            "max_part_size": settings.max_form_field_bytes,
        },
    )
    app.state.metrics = metrics
    add_middleware(app, settings, metrics, tracing)
    add_exception_handlers(app)
    for module in ROUTES:
        # `include_router` would analyse the signature of every call again.
        app.router.routes.extend(module.router.routes)
    add_pages(app)
    app.openapi = extend_openapi(app)  # type: ignore[method-assign]  # FastAPI documents this assignment for extending OpenAPI
    return app


def add_middleware(app: FastAPI, settings: Settings, metrics: Metrics, tracing: "Tracing | None") -> None:
    """Add the middleware, the innermost first."""
    app.add_middleware(HeadMiddleware)
    app.add_middleware(CancelOnDisconnect)
    app.add_middleware(
        AdmissionMiddleware, request_classes=request_classes_of(settings), budget=FairLimit(buffered_bytes_of(settings))
    )
    app.add_middleware(ContentEncodingMiddleware)
    app.add_middleware(
        AuthMiddleware,
        required=settings.auth == "auto",
        rate=settings.rate_limit,
        hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
    )
    if settings.cors_origins:
        add_cors(app, settings.cors_origins)
    app.add_middleware(RequestLogMiddleware, metrics=metrics, tracing=tracing)
    app.add_middleware(ForwardedMiddleware, root_path=settings.root_path, trusted=settings.trusted_proxies)
    app.add_middleware(FixedHeaders, headers={"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"})
    app.add_middleware(LifespanErrorMiddleware)


def request_classes_of(settings: Settings) -> RequestClasses:
    """Return the limits of each request class."""
    rate = DataRate(settings.min_transfer_rate, settings.transfer_grace_seconds)
    # Clients may pack archives while they send them, with longer pauses.
    archive_rate = DataRate(rate.bytes_per_s, max(rate.grace_s, settings.request_read_timeout_seconds))
    text = min(settings.max_form_field_bytes, settings.max_request_bytes)
    return RequestClasses(
        settings.max_concurrent_requests,
        text=BodyLimit(text, settings.request_read_timeout_seconds, rate),
        images=BodyLimit(settings.max_request_bytes, settings.request_read_timeout_seconds, rate),
        archives=BodyLimit(settings.max_archive_bytes, settings.archive_upload_timeout_seconds, archive_rate),
    )


def buffered_bytes_of(settings: Settings) -> int:
    """Return the memory limit of requests and responses in bytes; the default allows a request of maximum size."""
    share = usable_memory() // MEMORY_DIVISOR // settings.workers
    return settings.max_buffered_bytes or max(share, 3 * settings.max_request_bytes // 2)


def connection_limits_of(settings: Settings) -> ConnectionLimits:
    """Return the connection limits, bounded by the file descriptors available to this process."""
    rate = DataRate(settings.min_transfer_rate, settings.transfer_grace_seconds)
    max_connections = connections_within_descriptors(settings.max_connections, buffered_bytes_of(settings))
    return ConnectionLimits(max_connections, rate)


def schedule_shutdown() -> None:
    """End this process after `LAST_WORDS_S`, in which /readyz reports the reason; a supervisor restarts it."""
    asyncio.get_running_loop().call_later(SHUTDOWN_DELAY_S, os.kill, os.getpid(), signal.SIGTERM)


def add_cors(app: FastAPI, origins: Sequence[str]) -> None:
    """Allow pages of other origins, with an API key of their own; cookies are not sent across origins."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", REQUEST_ID],
        expose_headers=[REQUEST_ID],
    )
