"""Open the index of an index version: local (files and memory) or Milvus."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.catalogue.code_files.store import FOLDER, CodeFileStore
from app.catalogue.code_files.writer import CodeFileWriter
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import FeatureSet, IndexVersion
from app.catalogue.index_sync import IndexSync
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.vectors.file import VectorFile, parse_vector_type
from app.catalogue.vectors.slots import SlotMap, collection_names, has_encodings
from app.errors import LookalikeError
from app.search.index import Index
from app.search.local.index import LocalIndex

if TYPE_CHECKING:
    from app.search.milvus.index import MilvusIndex

# F7 of a batch takes some megabytes.
_BATCH = 1000


@dataclass(frozen=True)
class IndexLocations:
    """Locations of indexes.

    Attributes:
        data_dir: the data folder; vector files are in its `vectors`.
        milvus_uri: the address of a Milvus server, or the path of a Milvus Lite file; None if there is none.
    """

    data_dir: Path
    milvus_uri: str | None

    def vector_file(self, features: FeatureSet, disk: FsyncGuard | None = None) -> VectorFile:
        """Open the vector file of a feature set."""
        kind = parse_vector_type(features.vector_dtype)
        path = self.data_dir / "vectors" / f"{features.id}.{kind}"
        return VectorFile(path, features.feature_dim, kind, disk)


def open_index(
    database: Database,
    index_version: IndexVersion,
    places: IndexLocations,
    disk: FsyncGuard | None = None,
    *,
    create_missing: bool = False,
) -> Index:
    """Open the index of an index version, in the backend recorded for it.

    A local index is empty until it is synced with the catalogue.

    Args:
        database: the catalogue.
        index_version: the index version to open.
        places: the locations of indexes.
        disk: notified of write errors on the vector file.
        create_missing: create a Milvus collection that is missing, instead of raising an error.

    Raises:
        LookalikeError: it cannot be opened; the message says what to do.
    """
    backend = index_version.feature_set.index_backend
    if backend == "local":
        return LocalIndex(index_version.bits, places.vector_file(index_version.feature_set, disk))
    if backend != "milvus":
        raise LookalikeError(f"The catalogue's index backend {backend!r} is unknown to this version. Update Lookalike.")
    return open_in_milvus(database, index_version, places, create_missing=create_missing)


@contextmanager
def open_synced_index(
    database: Database,
    index_version: IndexVersion,
    places: IndexLocations,
    disk: FsyncGuard,
    filter_bytes: int,
    *,
    inactive: bool,
) -> Iterator[tuple[Index, IndexSync]]:
    """Open the index of an index version and its sync with the catalogue; a local index also has a code file.

    Args:
        database: the catalogue.
        index_version: the index version to open.
        places: the locations of indexes.
        disk: notified of write errors.
        filter_bytes: memory limit of the filter cache.
        inactive: the catalogue has not switched to this index version yet.

    Raises:
        LookalikeError: it cannot be opened; the message says what to do.
    """
    synced = partial(
        IndexSync, database, index_version_id=index_version.id, bits=index_version.bits, filter_bytes=filter_bytes
    )
    with closing(open_index(database, index_version, places, disk)) as index:
        if not isinstance(index, LocalIndex):
            yield index, synced(index, inactive=inactive)
            return
        store = CodeFileStore(places.data_dir / FOLDER, index_version.id, index.table, disk)
        index_sync = synced(index, inactive=inactive, load=store.load)
        with CodeFileWriter(database, index_sync, index, store):
            yield index, index_sync


@contextmanager
def open_vectors(
    database: Database, index_version: IndexVersion, places: IndexLocations, slots: NDArray[np.int64]
) -> Iterator[VectorFile]:
    """Open the vectors of an index version as a file; with Milvus, copy those at the given slots to a temporary one.

    For work that reads all vectors several times.
    """
    if index_version.feature_set.index_backend == "local":
        with closing(places.vector_file(index_version.feature_set)) as vectors:
            yield vectors
        return
    with (
        closing(open_in_milvus(database, index_version, places)) as index,
        TemporaryDirectory(prefix="lookalike-") as folder,
        closing(IndexLocations(Path(folder), None).vector_file(index_version.feature_set)) as vectors,
    ):
        for first in range(0, len(slots), _BATCH):
            present, features = index.collection.vectors(slots[first : first + _BATCH])
            if len(present):
                vectors.write(present, features.astype(np.float32))
        yield vectors


def open_in_milvus(
    database: Database, index_version: IndexVersion, places: IndexLocations, *, create_missing: bool = False
) -> "MilvusIndex":
    """Open an index version in Milvus; see `open_index`."""
    # Imported on use: its client takes half a second and a hundred megabytes.
    from app.search.milvus.collection import CollectionPair
    from app.search.milvus.connection import Connection
    from app.search.milvus.index import MilvusIndex

    if places.milvus_uri is None:
        raise LookalikeError("The catalogue's index is in Milvus. Set LOOKALIKE_MILVUS_URI to its address.")
    with database.read_session() as session:
        names, has_rows = collection_names(session, index_version), has_encodings(session, index_version.id)
    features = index_version.feature_set
    half = parse_vector_type(features.vector_dtype) == "f16"
    connection = Connection(places.milvus_uri)
    collection = CollectionPair(connection, names, index_version.bits, features.feature_dim, half=half)
    try:
        if has_rows and not create_missing and not collection.exists():
            raise collection.missing_error()
        collection.create()
    except LookalikeError:
        collection.close()
        raise
    return MilvusIndex(collection, SlotMap(database, index_version.id, index_version.bits))
