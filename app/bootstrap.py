"""Composition root: build the service's components in order, and close them in reverse order.

The server, the command line and the tests all build the service here.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.catalogue import index_versions
from app.catalogue.database import connections
from app.catalogue.database.migrations import require_current, upgrade
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import IndexVersion
from app.catalogue.duplicates.stored_pictures import StoredPictures
from app.catalogue.embedded.free_space import FreeSpace, min_free_bytes
from app.catalogue.embedded.postgres import embedded_free_space, embedded_postgres
from app.catalogue.filters.facets import FacetCache
from app.catalogue.filters.statistics import CatalogueStatistics
from app.catalogue.index_sync import IndexSync
from app.catalogue.storage.factory import open_storage
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.storage.ledger import ledger_in
from app.catalogue.storage.orphan_cleanup import OrphanCleanup
from app.catalogue.storage.protocol import ImageStorage
from app.common.private_modes import make_data_folder
from app.ingest.embedding_writer import EmbeddingWriter
from app.ingest.pipeline import IngestPipeline
from app.ingest.trash import Trash
from app.model_switch.active import ActiveIngest, ActivePreparer, ActiveSearcher, ActiveTrash, OpenIndexVersion
from app.model_switch.index_factory import IndexLocations, open_synced_index
from app.model_switch.networks import (
    NetworkOpener,
    OpenNetwork,
    SharedNetworks,
    decode_limits,
    open_network,
)
from app.model_switch.switch import ModelSwitch
from app.observability.hooks import ObserverGroup
from app.search.decode.prepare import InProcessPreparer, ObservedPreparer
from app.search.encode.batching import Encoder
from app.search.index import Index
from app.search.pipeline import Searcher
from app.settings import Settings
from app.startup import supervision as startup
from app.startup.start import supervised_start
from models.checkpoint.info import CheckpointInfo, find_checkpoint
from models.checkpoint.successors import SUCCESSORS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The service's components.

    Components bound to a model change when the catalogue switches models: `searcher`, `ingest`, `trash` and
    `preparer` forward to the active ones; `model_switch.active` and the properties return those of this moment, valid
    until the next switch.
    """

    settings: Settings
    database: Database
    fsync_guard: FsyncGuard
    storage: ImageStorage
    orphan_cleanup: OrphanCleanup
    facets: FacetCache
    summaries: CatalogueStatistics
    model_switch: ModelSwitch[OpenIndexVersion]
    searcher: ActiveSearcher
    ingest: ActiveIngest
    trash: ActiveTrash
    prepare: ActivePreparer
    observers: ObserverGroup

    @property
    def model_info(self) -> CheckpointInfo:
        """Info of the model in use."""
        return self.model_switch.active.network

    @property
    def index(self) -> Index:
        """Index of the active index version: codes and F7."""
        return self.model_switch.active.index

    @property
    def index_sync(self) -> IndexSync:
        """Applies catalogue changes to the index."""
        return self.model_switch.active.index_sync

    @property
    def embedding_writer(self) -> EmbeddingWriter:
        """Encodes images and writes their codes and F7."""
        return self.model_switch.active.embedding_writer

    def abort_decoding(self) -> None:
        """Abort image decoding in progress, after the shutdown timeout."""
        self.model_switch.active.interrupt()


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Open database, model and index, and build the service.

    Raises:
        LookalikeError: a component cannot be opened; the message says what to do.
    """
    with ExitStack() as stack:
        with supervised_start(settings):
            database = stack.enter_context(open_database(settings, settings.statement_timeout_seconds))
            with database.read_session() as session:
                path = find_checkpoint(index_versions.select_model(session, settings.model))
            network = open_network(settings, path)
            service = stack.enter_context(build_service(settings, database, path, network, open_network))
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
                room = embedded_free_space(settings.data_dir, min_free)
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
    with closing(Database(url, connections.MIN_POOL)) as probe, probe.read_session() as session:
        accepted = connections.connection_limit(session)
    return connections.pool_size(accepted, settings.workers, settings.max_database_connections)


@contextmanager
def build_service_with_encoder(
    settings: Settings,
    database: Database,
    encoder: Encoder,
    network: CheckpointInfo,
    path: Path,
    networks: NetworkOpener = open_network,
) -> Iterator[Service]:
    """Build the service from a database and an open encoder, without a sandbox; `networks` opens other models."""
    prepare = InProcessPreparer(network.preprocess, decode_limits(settings))
    first = nullcontext(OpenNetwork(network, encoder, prepare))
    with build_service(settings, database, path, first, networks) as service:
        yield service


@contextmanager
def build_service(
    settings: Settings,
    database: Database,
    path: Path,
    network: AbstractContextManager[OpenNetwork],
    networks: NetworkOpener,
) -> Iterator[Service]:
    """Build the service from a database and a checkpoint's model, and load the index."""
    disk, observers = open_fsync_guard(settings), ObserverGroup()
    files = open_storage(settings.storage_url, settings.data_dir, disk)
    cleanup = OrphanCleanup(ledger_in(settings.data_dir), database, files)
    cleanup.run()
    open_version = partial(open_index_version, settings, database, disk, files, observers, cleanup)

    shared = SharedNetworks()

    @contextmanager
    def open_first() -> Iterator[OpenIndexVersion]:
        with shared.use(index_versions.checkpoint_reference(path), network) as opened:
            with database.transaction() as session:
                index_version = index_versions.activate_for(
                    session, opened.info, path, settings.vector_dtype, settings.index_backend
                )
            with open_version(network=opened, index_version=index_version) as version:
                yield version

    @contextmanager
    def open_next(index_version_id: int) -> Iterator[OpenIndexVersion]:
        with database.read_session() as session:
            index_version = index_versions.get_index_version(session, index_version_id)
        model = index_version.feature_set.model
        with (
            shared.use(model, networks(settings, model)) as opened,
            open_version(network=opened, index_version=index_version, ahead=True) as version,
        ):
            yield version

    with closing(ModelSwitch(open_first(), open_next)) as model_switch:
        yield Service(
            settings=settings,
            database=database,
            fsync_guard=disk,
            storage=files,
            orphan_cleanup=cleanup,
            facets=FacetCache(),
            summaries=CatalogueStatistics(),
            model_switch=model_switch,
            searcher=ActiveSearcher(model_switch),
            ingest=ActiveIngest(model_switch),
            trash=ActiveTrash(model_switch),
            prepare=ActivePreparer(model_switch),
            observers=observers,
        )


@contextmanager
def open_index_version(
    settings: Settings,
    database: Database,
    disk: FsyncGuard,
    files: ImageStorage,
    observers: ObserverGroup,
    cleanup: OrphanCleanup,
    network: OpenNetwork,
    index_version: IndexVersion,
    *,
    ahead: bool = False,
) -> Iterator[OpenIndexVersion]:
    """Build the components bound to one model; `ahead` if the catalogue has not switched to it yet."""
    index_versions.require_fingerprint(index_version, network.info)
    info = index_versions.effective_info(index_version, network.info)
    encoder, prepare = network.encoder, ObservedPreparer(network.preparer, observers)
    startup.step("reading the codes")
    with open_synced_index(
        database, index_version, index_locations(settings), disk, settings.filter_cache_bytes, inactive=ahead
    ) as (index, index_sync):
        latent, pool = index_versions.latent_layer(index_version), settings.search_pool or info.pool
        searcher = Searcher(
            prepare, encoder, index_sync, pool, info.similarity, observers, latent=latent, norm=info.feature_norm
        )
        encodings = EmbeddingWriter(database, prepare, encoder, index, index_version.id, latent)
        ingest = IngestPipeline(database, files, encodings, disk, cleanup, observers)
        startup.step("searching for the first time")
        searcher.warm_up()
        log.info("%d images, model %s (%s)", len(index), info.name, info.fingerprint)
        if (newer := SUCCESSORS.get(network.info.fingerprint)) is not None:
            minutes = newer.seconds(len(index), os.cpu_count() or 1) / 60
            log.info("The model %s replaces %s. %s", newer.name, info.name, newer.gain)
            log.info("`lookalike reindex %s` moves the catalogue, in about %.0f minutes.", newer.name, max(minutes, 1))
        yield OpenIndexVersion(
            index_version=index_version,
            network=info,
            encoder=encoder,
            preparer=prepare,
            interrupt=network.interrupt,
            index=index,
            index_sync=index_sync,
            pictures=StoredPictures(database, files, network.preparer),
            searcher=searcher,
            embedding_writer=encodings,
            ingest=ingest,
            trash=Trash(database, files, encodings, disk, cleanup, settings.trash_days),
        )


def open_fsync_guard(settings: Settings) -> FsyncGuard:
    """Return the fsync and free-space guard of the data folder, and create the folder if it is missing."""
    data_dir = settings.data_dir
    # With images and vectors stored elsewhere, nothing else may have created it yet.
    make_data_folder(data_dir)
    folders = (data_dir, *(data_dir / name for name in ("pictures", "vectors", "jobs")))
    return FsyncGuard(FreeSpace(folders, min_free_bytes(data_dir, settings.min_free_disk_bytes)))


def report_folder(settings: Settings) -> Path:
    """Return the folder to which `lookalike report` writes its page and from which the service serves it."""
    return settings.data_dir / "report"


def index_locations(settings: Settings) -> IndexLocations:
    """Return the locations of local and Milvus indexes."""
    return IndexLocations(settings.data_dir, settings.milvus_uri)
