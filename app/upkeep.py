"""Opens what work on the whole catalogue needs, beside the service or without it: moving, bringing in line, looking."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from app.catalogue import generations, queries
from app.catalogue.picture_store import open_pictures
from app.catalogue.vectors import VectorFile, kept_whole
from app.errors import LookalikeError
from app.indexes import open_in_milvus, open_index, vectors_of
from app.ingest.encodings import Encodings
from app.ingest.reencode import Reencode
from app.ingest.sync import Sync
from app.lifespan import open_database, open_disk, open_network, places
from app.quality.content import Content, read_content
from app.settings import Settings
from models.description import CheckpointInfo, find, read_info


@contextmanager
def open_reencode(settings: Settings, model: str) -> Iterator[tuple[Reencode, CheckpointInfo]]:
    """Opens what moving the catalogue to another network needs.

    Raises:
        LookalikeError: something cannot be opened; the text says what to do.
    """
    path = find(model)
    with open_database(settings) as database, open_network(settings, path) as network:
        with database.begin() as session:
            generation = generations.find_or_create(session, network.info, path, settings.vectors, settings.index)
        disk = open_disk(settings)
        with closing(open_index(database, generation, places(settings), disk)) as index:
            encodings = Encodings(database, network.prepare, network.encoder, index, generation.id)
            yield Reencode(database, open_pictures(settings.pictures, settings.data_dir, disk), encodings), network.info


@contextmanager
def open_sync(settings: Settings) -> Iterator[Sync]:
    """Opens what bringing Milvus in line with the catalogue needs; a collection that is lost is made anew, empty."""
    with open_database(settings) as database:
        with database.asking() as session:
            generation = queries.generation_in_use(session)
        if generation is None or generation.index != "milvus":
            raise LookalikeError("The index is not in Milvus but in files; `lookalike check --repair` mends those.")
        with (
            open_network(settings, find(generation.model)) as network,
            closing(open_in_milvus(database, generation, places(settings), anew=True)) as index,
        ):
            generations.require_same(generation, network.info)
            encodings = Encodings(database, network.prepare, network.encoder, index, generation.id)
            yield Sync(database, open_pictures(settings.pictures, settings.data_dir), index, encodings)


@contextmanager
def open_content(settings: Settings) -> Iterator[tuple[Content, VectorFile, CheckpointInfo]]:
    """Opens the catalogue as it is now, to look at; the service may run meanwhile.

    Raises:
        LookalikeError: there is nothing in it, or something cannot be opened; the text says what to do.
    """
    with open_database(settings) as database, kept_whole(settings.data_dir / "vectors"):
        with database.snapshot() as session:
            generation = queries.generation_in_use(session)
            if generation is None:
                raise LookalikeError("The catalogue is empty. `lookalike index FOLDER` fills it.")
            content = read_content(session, generation)
        with vectors_of(database, generation, places(settings), content.entries.slots) as vectors:
            yield content, vectors, read_info(find(generation.model))
