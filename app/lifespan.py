"""Opens what the service holds, in order, and closes it in the reverse order.

`open_service` is the one place where the parts meet: the server, the command line and the tests all go through it.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.catalogue import connections, generations
from app.catalogue.database import Database
from app.catalogue.disk import Disk
from app.catalogue.embedded import embedded_postgres
from app.catalogue.facets import FacetCounts
from app.catalogue.follower import Follower
from app.catalogue.picture_store import PictureStore, open_pictures
from app.catalogue.schema import require_current, upgrade
from app.catalogue.summaries import Summaries
from app.catalogue.tables import Generation
from app.handover import Handover
from app.indexes import Places, open_index
from app.ingest.add import Ingest
from app.ingest.encodings import Encodings
from app.ingest.leftovers import Leftovers
from app.observers import Observers
from app.search.decode import DecodeLimits
from app.search.encode import Encoder, open_encoder
from app.search.index import Index
from app.search.pipeline import Searcher
from app.search.prepare import InProcess, Preparer, Watched
from app.search.sandbox import Job, Sandbox
from app.serving import Additions, OpenGeneration, Pictures, Searches
from app.settings import Settings
from models.description import CheckpointInfo, find

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


@dataclass(frozen=True)
class OpenNetwork:
    """A network that runs, and what prepares pictures for it."""

    info: CheckpointInfo
    encoder: Encoder
    prepare: Preparer


# Opens a network by what the catalogue calls it, as `open_network` does.
Networks = Callable[[Settings, str], AbstractContextManager[OpenNetwork]]


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Opens database, network and index over the data folder.

    Raises:
        LookalikeError: something cannot be opened; the text says what to do.
    """
    with open_database(settings, settings.max_statement_seconds) as database:
        with database.asking() as session:
            path = find(generations.model_for(session, settings.model))
        with over(settings, database, path, open_network(settings, path), open_network) as service:
            yield service


@contextmanager
def open_network(settings: Settings, checkpoint: str | Path) -> Iterator[OpenNetwork]:
    """Opens a checkpoint, and starts the processes that decode pictures for it."""
    encoder, info = open_encoder(checkpoint, settings.device, settings.precision, network_cache(settings.data_dir))
    with closing(encoder), closing(open_sandbox(settings, info)) as prepare:
        yield OpenNetwork(info, encoder, prepare)


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
        accepting = connections.embedded_max_connections(settings.workers)
        url = settings.database_url or stack.enter_context(embedded_postgres(settings.data_dir, accepting))
        database = stack.enter_context(closing(Database(url, pool_size(settings, url), statement_seconds)))
        # The embedded database is the service's own; whoever keeps another one chooses when it changes.
        if settings.database_url is None:
            upgrade(database)
        else:
            require_current(database)
        yield database


def pool_size(settings: Settings, url: str) -> int:
    """Returns how large this process's pool of connections may be, among those of all workers."""
    with closing(Database(url, connections.MIN_POOL)) as probe, probe.asking() as session:
        accepted = connections.accepted(session)
    return connections.pool_size(accepted, settings.workers, settings.max_connections)


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
    disk, observers = Disk(), Observers()
    # With pictures and vectors elsewhere nobody else may have made it yet.
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    files = open_pictures(settings.pictures, settings.data_dir, disk)
    leftovers = Leftovers(settings.data_dir / "under-way", database, files)
    leftovers.clear()
    opening = partial(open_generation, settings, database, disk, files, observers, leftovers)

    @contextmanager
    def first() -> Iterator[OpenGeneration]:
        with network as opened:
            with database.begin() as session:
                generation = generations.adopt(session, opened.info, path, settings.vectors, settings.index)
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
    leftovers: Leftovers,
    network: OpenNetwork,
    generation: Generation,
    *,
    ahead: bool = False,
) -> Iterator[OpenGeneration]:
    """Puts together what answers with one network; `ahead` of the catalogue's move to it, if that is still to come."""
    info, encoder, prepare = network.info, network.encoder, Watched(network.prepare, observers)
    generations.require_same(generation, info)
    with closing(open_index(database, generation, places(settings), disk)) as index:
        follower = Follower(
            database, index, generation.id, info.bits, ahead=ahead, filter_bytes=settings.max_filter_bytes
        )
        searcher = Searcher(prepare, encoder, follower, settings.pool or info.pool, info.similarity, observers)
        encodings = Encodings(database, prepare, encoder, index, generation.id)
        ingest = Ingest(database, files, encodings, disk, leftovers, observers)
        searcher.warm_up()
        log.info("%d pictures, network %s (%s)", len(index), info.name, info.fingerprint)
        yield OpenGeneration(
            generation_id=generation.id,
            network=info,
            encoder=encoder,
            prepare=prepare,
            index=index,
            follower=follower,
            searcher=searcher,
            encodings=encodings,
            ingest=ingest,
        )


def report_folder(settings: Settings) -> Path:
    """Returns where `lookalike report` leaves its page, and the service finds it."""
    return settings.data_dir / "report"


def limits_of(settings: Settings) -> DecodeLimits:
    """Returns the settings' limits on pictures."""
    return DecodeLimits(settings.max_picture_bytes, settings.max_picture_pixels)


def open_sandbox(settings: Settings, network: CheckpointInfo) -> Sandbox:
    """Starts the processes that decode pictures, this worker's share of them."""
    decoders = settings.decoders or os.cpu_count() or 1
    job = Job(network.preprocess, limits_of(settings))
    return Sandbox(job, max(decoders // settings.workers, 1), settings.max_decode_seconds)


def network_cache(data_dir: Path) -> Path:
    """Returns where networks that were converted for this machine are kept; it may be deleted at any time."""
    return data_dir / "networks"


def places(settings: Settings) -> Places:
    """Returns where indexes may be."""
    return Places(settings.data_dir, settings.milvus_uri)
