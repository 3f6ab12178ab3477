"""Composition root: build the service's components in order, and close them in reverse order.

The server, the command line and the tests all build the service here.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.catalogue import generations
from app.catalogue.database import connections
from app.catalogue.database.migrations import require_current, upgrade
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Generation
from app.catalogue.embedded.free_space import Room, least_free
from app.catalogue.embedded.postgres import embedded_postgres, embedded_room
from app.catalogue.filters.facets import FacetCounts
from app.catalogue.filters.summaries import Summaries
from app.catalogue.index_sync import Follower
from app.catalogue.storage.fsync_guard import Disk
from app.catalogue.storage.ledger import ledger_in
from app.catalogue.storage.open import open_pictures
from app.catalogue.storage.orphan_cleanup import OrphanCleanup
from app.catalogue.storage.protocol import PictureStore
from app.common.private_modes import make_data_folder
from app.ingest.embedding_writer import Encodings
from app.ingest.pipeline import Ingest
from app.model_switch.active import Additions, OpenGeneration, Pictures, Searches
from app.model_switch.index_factory import Places, open_index
from app.model_switch.networks import Networks, OpenNetwork, limits_of, open_network
from app.model_switch.switch import Handover
from app.observability.hooks import Observers
from app.search.decode.prepare import InProcess, Watched
from app.search.encode.batching import Encoder
from app.search.index import Index
from app.search.pipeline import Searcher
from app.settings import Settings
from app.startup import supervision as startup
from models.checkpoint.info import CheckpointInfo, find

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The service's components.

    Components bound to a model change when the catalogue switches models: `searcher`, `ingest` and `prepare` forward
    to the current ones; `handover.current` and the properties return those of the moment, valid until the next switch.
    """

    settings: Settings
    database: Database
    disk: Disk
    files: PictureStore
    cleanup: OrphanCleanup
    facets: FacetCounts
    summaries: Summaries
    handover: Handover[OpenGeneration]
    searcher: Searches
    ingest: Additions
    prepare: Pictures
    observers: Observers

    @property
    def network(self) -> CheckpointInfo:
        """Info of the model in use."""
        return self.handover.current.network

    @property
    def index(self) -> Index:
        """Index of the active index version: codes and F7."""
        return self.handover.current.index

    @property
    def follower(self) -> Follower:
        """Applies catalogue changes to the index."""
        return self.handover.current.follower

    @property
    def encodings(self) -> Encodings:
        """Encodes images and writes their codes and F7."""
        return self.handover.current.encodings

    def interrupt(self) -> None:
        """Abort image decoding in progress, after the shutdown timeout."""
        self.handover.current.interrupt()


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Open database, model and index, and build the service.

    Raises:
        LookalikeError: a component cannot be opened; the message says what to do.
    """
    with ExitStack() as stack:
        with supervised_start(settings):
            database = stack.enter_context(open_database(settings, settings.statement_timeout_seconds))
            with database.asking() as session:
                path = find(generations.model_for(session, settings.model))
            network = open_network(settings, path)
            service = stack.enter_context(over(settings, database, path, network, open_network))
        yield service


@contextmanager
def open_database(settings: Settings, statement_seconds: float | None = None) -> Iterator[Database]:
    """Open the configured database, or start the embedded one, at this version's schema.

    Args:
        settings: the database's URL or data folder, and the number of workers that share it.
        statement_seconds: timeout of a statement; None for commands, which have no limit.

    Raises:
        LookalikeError: the database cannot be opened, or accepts too few connections for the workers.
    """
    with ExitStack() as stack:
        with supervised_start(settings):
            startup.step("opening the database")
            url, room, min_free = settings.database_url, None, settings.min_free_disk_bytes
            if url is None:
                max_connections = connections.embedded_max_connections(settings.workers)
                url = stack.enter_context(embedded_postgres(settings.data_dir, min_free, max_connections))
                room = embedded_room(settings.data_dir, min_free)
            pool = pool_size(settings, url)
            database = stack.enter_context(closing(Database(url, pool, statement_seconds, room)))
            # The embedded database is migrated here; the owner of another one chooses when to migrate it.
            if settings.database_url is None:
                startup.step("migrating the database", bounded=False)
                upgrade(database)
            else:
                require_current(database)
        yield database


def pool_size(settings: Settings, url: str) -> int:
    """Return the size of this process's connection pool: its share of the connections for all workers."""
    with closing(Database(url, connections.MIN_POOL)) as probe, probe.asking() as session:
        accepted = connections.accepted(session)
    return connections.pool_size(accepted, settings.workers, settings.max_database_connections)


@contextmanager
def supervised_start(settings: Settings) -> Iterator[None]:
    """Supervise the start of this process for the length of the block, unless it is supervised already."""
    outermost = begin_start(settings)
    try:
        yield
    finally:
        if outermost:
            startup.complete()


def begin_start(settings: Settings) -> bool:
    """Begin to supervise the start of this process, until `startup.complete`; returns False if it already was."""
    data_dir = settings.data_dir if settings.database_url is None else None
    return startup.begin(settings.startup_step_timeout_seconds, data_dir, settings.log_format)


@contextmanager
def assemble(
    settings: Settings,
    database: Database,
    encoder: Encoder,
    network: CheckpointInfo,
    path: Path,
    networks: Networks = open_network,
) -> Iterator[Service]:
    """Build the service from a database and an open encoder, without a sandbox; `networks` opens other models."""
    prepare = InProcess(encoder.size, encoder.prepare, limits_of(settings))
    first = nullcontext(OpenNetwork(network, encoder, prepare))
    with over(settings, database, path, first, networks) as service:
        yield service


@contextmanager
def over(
    settings: Settings,
    database: Database,
    path: Path,
    network: AbstractContextManager[OpenNetwork],
    networks: Networks,
) -> Iterator[Service]:
    """Build the service from a database and a checkpoint's model, and load the index."""
    disk, observers = open_disk(settings), Observers()
    files = open_pictures(settings.storage_url, settings.data_dir, disk)
    cleanup = OrphanCleanup(ledger_in(settings.data_dir), database, files)
    cleanup.settle()
    open_version = partial(open_index_version, settings, database, disk, files, observers, cleanup)

    @contextmanager
    def open_first() -> Iterator[OpenGeneration]:
        with network as opened:
            with database.begin() as session:
                generation = generations.adopt(
                    session, opened.info, path, settings.vector_dtype, settings.index_backend
                )
            with open_version(network=opened, generation=generation) as version:
                yield version

    @contextmanager
    def open_next(generation_id: int) -> Iterator[OpenGeneration]:
        with database.asking() as session:
            generation = generations.by_id(session, generation_id)
        with (
            networks(settings, generation.model) as opened,
            open_version(network=opened, generation=generation, ahead=True) as version,
        ):
            yield version

    with closing(Handover(open_first(), open_next)) as handover:
        yield Service(
            settings=settings,
            database=database,
            disk=disk,
            files=files,
            cleanup=cleanup,
            facets=FacetCounts(),
            summaries=Summaries(),
            handover=handover,
            searcher=Searches(handover),
            ingest=Additions(handover),
            prepare=Pictures(handover),
            observers=observers,
        )


@contextmanager
def open_index_version(
    settings: Settings,
    database: Database,
    disk: Disk,
    files: PictureStore,
    observers: Observers,
    cleanup: OrphanCleanup,
    network: OpenNetwork,
    generation: Generation,
    *,
    ahead: bool = False,
) -> Iterator[OpenGeneration]:
    """Build the components bound to one model; `ahead` if the catalogue has not switched to it yet."""
    info, encoder, prepare = network.info, network.encoder, Watched(network.prepare, observers)
    generations.require_same(generation, info)
    startup.step("reading the codes")
    with closing(open_index(database, generation, places(settings), disk)) as index:
        follower = Follower(
            database, index, generation.id, info.bits, ahead=ahead, filter_bytes=settings.filter_cache_bytes
        )
        searcher = Searcher(prepare, encoder, follower, settings.search_pool or info.pool, info.similarity, observers)
        encodings = Encodings(database, prepare, encoder, index, generation.id)
        ingest = Ingest(database, files, encodings, disk, cleanup, observers)
        startup.step("searching for the first time")
        searcher.warm_up()
        log.info("%d images, model %s (%s)", len(index), info.name, info.fingerprint)
        yield OpenGeneration(
            generation_id=generation.id,
            network=info,
            encoder=encoder,
            prepare=prepare,
            interrupt=network.interrupt,
            index=index,
            follower=follower,
            searcher=searcher,
            encodings=encodings,
            ingest=ingest,
        )


def open_disk(settings: Settings) -> Disk:
    """Return the fsync and free-space guard of the data folder, and create the folder if it is missing."""
    data_dir = settings.data_dir
    # With images and vectors stored elsewhere, nothing else may have created it yet.
    make_data_folder(data_dir)
    folders = (data_dir, *(data_dir / name for name in ("pictures", "vectors", "jobs")))
    return Disk(Room(folders, least_free(data_dir, settings.min_free_disk_bytes)))


def report_folder(settings: Settings) -> Path:
    """Return the folder to which `lookalike report` writes its page and from which the service serves it."""
    return settings.data_dir / "report"


def places(settings: Settings) -> Places:
    """Return the locations of local and Milvus indexes."""
    return Places(settings.data_dir, settings.milvus_uri)
