"""Opens what the service holds, in order, and closes it in the reverse order.

`open_service` is the one place where the parts meet: the server, the command line and the tests all go through it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.catalogue import generations
from app.catalogue.database import Database
from app.catalogue.disk import Disk
from app.catalogue.embedded import embedded_postgres
from app.catalogue.facets import FacetCounts
from app.catalogue.follower import Follower
from app.catalogue.pictures import PictureFiles
from app.catalogue.queries import Shown
from app.catalogue.schema import require_current, upgrade
from app.catalogue.tables import Generation
from app.catalogue.vectors import VectorFile, vector_type
from app.ingest.add import Ingest
from app.ingest.encodings import Encodings
from app.ingest.reencode import Reencode
from app.search.decode import DecodeLimits
from app.search.encode import Encoder, open_encoder
from app.search.index import LocalIndex
from app.search.pipeline import Searcher
from app.search.prepare import InProcess, Preparer
from app.search.sandbox import Job, Sandbox
from app.settings import Settings
from models.description import CheckpointInfo, find

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """Everything that lives as long as the service."""

    settings: Settings
    network: CheckpointInfo
    database: Database
    disk: Disk
    files: PictureFiles
    vectors: VectorFile
    prepare: Preparer
    index: LocalIndex
    follower: Follower
    facets: FacetCounts
    searcher: Searcher[Shown]
    encodings: Encodings
    ingest: Ingest


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Opens database, network and index over the data folder.

    Raises:
        LookalikeError: something cannot be opened; the text says what to do.
    """
    with ExitStack() as stack:
        database = stack.enter_context(open_database(settings))
        with database.asking() as session:
            path = find(generations.model_for(session, settings.model))
        encoder, network = open_encoder(path, settings.device, settings.precision, network_cache(settings.data_dir))
        stack.enter_context(closing(encoder))
        prepare = stack.enter_context(closing(open_sandbox(settings, network)))
        yield stack.enter_context(assemble(settings, database, encoder, network, path, prepare))


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Opens the database that the settings name, or starts the embedded one, with this version's tables in it."""
    with ExitStack() as stack:
        url = settings.database_url or stack.enter_context(embedded_postgres(settings.data_dir))
        database = stack.enter_context(closing(Database(url)))
        # The embedded database is the service's own; whoever keeps another one chooses when it changes.
        if settings.database_url is None:
            upgrade(database)
        else:
            require_current(database)
        yield database


@contextmanager
def assemble(
    settings: Settings,
    database: Database,
    encoder: Encoder,
    network: CheckpointInfo,
    path: Path,
    prepare: Preparer | None = None,
) -> Iterator[Service]:
    """Builds the service from a database and a network, and reads the index in.

    Without a sandbox, `prepare`, pictures are decoded in this process.
    """
    prepare = prepare or InProcess(encoder.size, encoder.prepare, limits_of(settings))
    with database.begin() as session:
        generation = generations.adopt(session, network, path, settings.vectors)
    disk = Disk()
    files = PictureFiles(settings.data_dir / "pictures", disk)
    with closing(open_vectors(settings.data_dir, generation, disk)) as vectors:
        index = LocalIndex(network.bits, vectors)
        follower = Follower(database, index, generation.id, network.bits)
        searcher = Searcher(prepare, encoder, follower, network.pool, network.similarity)
        encodings = Encodings(database, prepare, encoder, vectors, generation.id)
        ingest = Ingest(database, files, encodings, disk)
        searcher.warm_up()
        log.info("%d pictures, network %s (%s)", len(index), network.name, network.fingerprint)
        yield Service(
            settings=settings,
            network=network,
            database=database,
            disk=disk,
            files=files,
            vectors=vectors,
            prepare=prepare,
            index=index,
            follower=follower,
            facets=FacetCounts(),
            searcher=searcher,
            encodings=encodings,
            ingest=ingest,
        )


@contextmanager
def open_reencode(settings: Settings, model: str) -> Iterator[tuple[Reencode, CheckpointInfo]]:
    """Opens what moving the catalogue to another network needs.

    Raises:
        LookalikeError: something cannot be opened; the text says what to do.
    """
    with ExitStack() as stack:
        database, path = stack.enter_context(open_database(settings)), find(model)
        encoder, network = open_encoder(path, settings.device, settings.precision, network_cache(settings.data_dir))
        stack.enter_context(closing(encoder))
        with database.begin() as session:
            generation = generations.find_or_create(session, network, path, settings.vectors)
        vectors = stack.enter_context(closing(open_vectors(settings.data_dir, generation)))
        files = PictureFiles(settings.data_dir / "pictures")
        prepare = stack.enter_context(closing(open_sandbox(settings, network)))
        encodings = Encodings(database, prepare, encoder, vectors, generation.id)
        yield Reencode(database, files, encodings), network


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


def open_vectors(data_dir: Path, generation: Generation, disk: Disk | None = None) -> VectorFile:
    """Opens the file with a generation's vectors."""
    kind = vector_type(generation.vectors)
    return VectorFile(data_dir / "vectors" / f"{generation.id}.{kind}", generation.feature_dim, kind, disk)
