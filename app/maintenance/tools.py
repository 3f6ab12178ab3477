"""Open the resources of reindex, sync and reports, with or without a running service."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from app.bootstrap import Service, index_locations, open_database, open_fsync_guard
from app.catalogue import index_versions, queries
from app.catalogue.code_files.check import CodeFileCheck
from app.catalogue.database.tables import IndexVersion
from app.catalogue.storage.factory import open_storage
from app.catalogue.vectors.file import VectorFile, without_hole_punching
from app.errors import LookalikeError
from app.ingest.embedding_writer import EmbeddingWriter
from app.maintenance.consistency_check import ConsistencyCheck
from app.maintenance.reindex import Reindex
from app.maintenance.sync import MilvusSync
from app.model_switch.index_factory import open_in_milvus, open_index, open_vectors
from app.model_switch.networks import open_network
from app.quality.content import CatalogueContent, read_content
from app.search.local.index import LocalIndex
from app.settings import Settings
from app.startup.start import supervised_start
from models.checkpoint.info import CheckpointInfo, find_checkpoint, read_info

_TIME_FACTOR = 3


@contextmanager
def open_reindex(settings: Settings, model: str) -> Iterator[tuple[Reindex, CheckpointInfo]]:
    """Open the resources of a reindex.

    Raises:
        LookalikeError: a resource cannot be opened; the message says what to do.
    """
    path = find_checkpoint(model)
    with ExitStack() as stack:
        with supervised_start(settings):
            database = stack.enter_context(open_database(settings))
            network = stack.enter_context(open_network(_with_longer_timeout(settings), path))
        with database.transaction() as session:
            index_version = index_versions.find_or_create(
                session, network.info, path, settings.vector_dtype, settings.index_backend
            )
        disk = open_fsync_guard(settings)
        with closing(open_index(database, index_version, index_locations(settings), disk)) as index:
            encodings = EmbeddingWriter(database, network.preparer, network.encoder, index, index_version.id)
            yield (
                Reindex(database, open_storage(settings.storage_url, settings.data_dir, disk), encodings),
                network.info,
            )


@contextmanager
def open_sync(settings: Settings) -> Iterator[MilvusSync]:
    """Open the resources of a sync; a lost collection is created again, empty."""
    with open_database(settings) as database:
        with database.read_session() as session:
            index_version = queries.active_index_version(session)
        if index_version is None or index_version.feature_set.index_backend != "milvus":
            raise LookalikeError("The index is in local files, not in Milvus. Use `lookalike check --repair`.")
        with ExitStack() as stack:
            with supervised_start(settings):
                network = stack.enter_context(
                    open_network(_with_longer_timeout(settings), find_checkpoint(index_version.feature_set.model))
                )
            index = stack.enter_context(
                closing(open_in_milvus(database, index_version, index_locations(settings), create_missing=True))
            )
            index_versions.require_fingerprint(index_version, network.info)
            latent = index_versions.latent_layer(index_version)
            encodings = EmbeddingWriter(database, network.preparer, network.encoder, index, index_version.id, latent)
            yield MilvusSync(database, open_storage(settings.storage_url, settings.data_dir), index, encodings)


def _with_longer_timeout(settings: Settings) -> Settings:
    """Raise the time limit of decoding: images that were accepted once may take longer under load."""
    return settings.model_copy(update={"max_decode_cpu_seconds": _TIME_FACTOR * settings.max_decode_cpu_seconds})


@contextmanager
def open_content(
    settings: Settings,
) -> Iterator[tuple[CatalogueContent, VectorFile, CheckpointInfo, IndexVersion]]:
    """Open a read-only snapshot of the catalogue; the service may run meanwhile.

    Raises:
        LookalikeError: the catalogue is empty, or a resource cannot be opened; the message says what to do.
    """
    with open_database(settings) as database, without_hole_punching(settings.data_dir / "vectors"):
        with database.snapshot() as session:
            index_version = queries.active_index_version(session)
            if index_version is None:
                raise LookalikeError("The catalogue is empty. Add images with `lookalike index FOLDER`.")
            content = read_content(session, index_version)
        with open_vectors(database, index_version, index_locations(settings), content.entries.slots) as vectors:
            network = read_info(find_checkpoint(index_version.feature_set.model))
            yield content, vectors, index_versions.effective_info(index_version, network), index_version


def consistency_check(service: Service) -> ConsistencyCheck:
    """Return the check of a service's catalogue."""
    code_file = None
    if isinstance(service.index, LocalIndex):
        code_file = CodeFileCheck(
            service.database,
            service.settings.data_dir,
            service.embedding_writer.index_version_id,
            service.model_info.bits,
        )
    return ConsistencyCheck(service.database, service.storage, service.index, service.embedding_writer, code_file)
