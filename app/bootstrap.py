"""Opens what the service holds, in order, and closes it in the reverse order.

`open_service` is the one place where the parts meet: the server, the command line and the tests all go through it.
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
    """Everything that lives as long as the service.

    What belongs to the network goes over to another when the catalogue does: `searcher`, `ingest` and `prepare` by
    themselves, what `handover.current` holds for as long as nobody has to go over.
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
        """The network in use."""
        return self.handover.current.network

    @property
    def index(self) -> Index:
        """Its codes and F7."""
        return self.handover.current.index

    @property
    def follower(self) -> Follower:
        """What keeps them in step with the truth."""
        return self.handover.current.follower

    @property
    def encodings(self) -> Encodings:
        """What makes new ones."""
        return self.handover.current.encodings

    def interrupt(self) -> None:
        """Ends the decoding of pictures that are under way: the service is stopping, and has waited long enough."""
        self.handover.current.interrupt()


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Opens database, network and index over the data folder.

    Raises:
        LookalikeError: something cannot be opened; the text says what to do.
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
    """Opens the database that the settings name, or starts the embedded one, with this version's tables in it.

    Args:
        settings: where it is, and how many workers share it.
        statement_seconds: how long a statement may take; None for commands, which take as long as they have to.

    Raises:
        LookalikeError: it cannot be opened, or accepts too few connections for the workers.
    """
    with ExitStack() as stack:
        with supervised_start(settings):
            startup.step("opening the database")
            url, room, least = settings.database_url, None, settings.min_free_disk_bytes
            if url is None:
                accepting = connections.embedded_max_connections(settings.workers)
                url = stack.enter_context(embedded_postgres(settings.data_dir, least, accepting))
                room = embedded_room(settings.data_dir, least)
            pool = pool_size(settings, url)
            database = stack.enter_context(closing(Database(url, pool, statement_seconds, room)))
            # The embedded database is the service's own; the owner of another one chooses when it changes.
            if settings.database_url is None:
                startup.step("migrating the database", bounded=False)
                upgrade(database)
            else:
                require_current(database)
        yield database


def pool_size(settings: Settings, url: str) -> int:
    """Returns how large this process's pool of connections may be, among those of all workers."""
    with closing(Database(url, connections.MIN_POOL)) as probe, probe.asking() as session:
        accepted = connections.accepted(session)
    return connections.pool_size(accepted, settings.workers, settings.max_database_connections)


@contextmanager
def supervised_start(settings: Settings) -> Iterator[None]:
    """Supervises the start of this process for the length of the block, unless it is supervised already."""
    outermost = begin_start(settings)
    try:
        yield
    finally:
        if outermost:
            startup.complete()


def begin_start(settings: Settings) -> bool:
    """Begins to supervise the start of this process until `startup.complete`; returns whether it was not before."""
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
    """Builds the service from a database and a network that is open, without a sandbox; `networks` opens others."""
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
    """Builds the service from a database and a checkpoint's network, and reads the index in."""
    disk, observers = open_disk(settings), Observers()
    files = open_pictures(settings.storage_url, settings.data_dir, disk)
    cleanup = OrphanCleanup(ledger_in(settings.data_dir), database, files)
    cleanup.settle()
    opening = partial(open_generation, settings, database, disk, files, observers, cleanup)

    @contextmanager
    def first() -> Iterator[OpenGeneration]:
        with network as opened:
            with database.begin() as session:
                generation = generations.adopt(
                    session, opened.info, path, settings.vector_dtype, settings.index_backend
                )
            with opening(network=opened, generation=generation) as answering:
                yield answering

    @contextmanager
    def following(generation_id: int) -> Iterator[OpenGeneration]:
        with database.asking() as session:
            generation = generations.by_id(session, generation_id)
        with (
            networks(settings, generation.model) as opened,
            opening(network=opened, generation=generation, ahead=True) as answering,
        ):
            yield answering

    with closing(Handover(first(), following)) as handover:
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
def open_generation(
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
    """Puts together what answers with one network; `ahead` of the catalogue's move to it, if that is still to come."""
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
        log.info("%d pictures, network %s (%s)", len(index), info.name, info.fingerprint)
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
    """Returns the data folder's disk, and makes the folder where there is none."""
    data_dir = settings.data_dir
    # With images and vectors elsewhere nothing else may have made it yet.
    make_data_folder(data_dir)
    folders = (data_dir, *(data_dir / name for name in ("pictures", "vectors", "jobs")))
    return Disk(Room(folders, least_free(data_dir, settings.min_free_disk_bytes)))


def report_folder(settings: Settings) -> Path:
    """Returns where `lookalike report` leaves its page, and the service finds it."""
    return settings.data_dir / "report"


def places(settings: Settings) -> Places:
    """Returns where indexes may be."""
    return Places(settings.data_dir, settings.milvus_uri)
