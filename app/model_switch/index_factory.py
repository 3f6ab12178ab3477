"""Opens the index that holds a generation: in this machine's files and memory, or in Milvus."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Generation
from app.catalogue.storage.fsync_guard import Disk
from app.catalogue.vectors.file import VectorFile, vector_type
from app.catalogue.vectors.slots import SlotTruth, collection_name, has_encodings
from app.errors import LookalikeError
from app.search.index import Index, LocalIndex

if TYPE_CHECKING:
    from app.search.milvus.index import MilvusIndex

# F7 of so many pictures is some megabytes.
_AT_A_TIME = 1000


@dataclass(frozen=True)
class Places:
    """Where indexes may be.

    Attributes:
        data_dir: the folder that vector files are in.
        milvus_uri: the address of a Milvus, or the path of a file that milvus-lite keeps; None for none.
    """

    data_dir: Path
    milvus_uri: str | None

    def vector_file(self, generation: Generation, disk: Disk | None = None) -> VectorFile:
        """Opens the file with a generation's vectors."""
        kind = vector_type(generation.vector_dtype)
        path = self.data_dir / "vectors" / f"{generation.id}.{kind}"
        return VectorFile(path, generation.feature_dim, kind, disk)


def open_index(
    database: Database, generation: Generation, places: Places, disk: Disk | None = None, *, anew: bool = False
) -> Index:
    """Opens the index that a generation is in, whatever the settings say of new ones; empty until it follows.

    Args:
        database: the truth.
        generation: what is in it.
        places: where indexes may be.
        disk: hears of vector files that cannot be written.
        anew: whether to begin with nothing where Milvus has lost it, instead of an error.

    Raises:
        LookalikeError: it cannot be opened; the text says what to do.
    """
    if generation.index_backend == "local":
        return LocalIndex(generation.bits, places.vector_file(generation, disk))
    if generation.index_backend != "milvus":
        raise LookalikeError(
            f"The catalogue's index is in {generation.index_backend}, which this version does not know."
        )
    return open_in_milvus(database, generation, places, anew=anew)


@contextmanager
def vectors_of(
    database: Database, generation: Generation, places: Places, slots: NDArray[np.int64]
) -> Iterator[VectorFile]:
    """Opens a generation's vectors as a file; from Milvus, those at some slots are copied into one for so long.

    Who looks at all vectors many times is better off with a file beside it.
    """
    if generation.index_backend == "local":
        with closing(places.vector_file(generation)) as vectors:
            yield vectors
        return
    with (
        closing(open_in_milvus(database, generation, places)) as index,
        TemporaryDirectory(prefix="lookalike-") as folder,
        closing(Places(Path(folder), None).vector_file(generation)) as vectors,
    ):
        for first in range(0, len(slots), _AT_A_TIME):
            there, features = index.collection.vectors(slots[first : first + _AT_A_TIME])
            if len(there):
                vectors.write(there, features.astype(np.float32))
        yield vectors


def open_in_milvus(database: Database, generation: Generation, places: Places, *, anew: bool = False) -> "MilvusIndex":
    """Opens the index of a generation that is in Milvus; see `open_index`."""
    # Only where it is chosen: with its client come half a second and a hundred megabytes.
    from app.search.milvus.collection import Collection
    from app.search.milvus.connection import Connection
    from app.search.milvus.index import MilvusIndex

    if places.milvus_uri is None:
        raise LookalikeError("The catalogue's index is in Milvus: LOOKALIKE_MILVUS_URI has to say where that is.")
    with database.asking() as session:
        name, filled = collection_name(session, generation), has_encodings(session, generation.id)
    half = vector_type(generation.vector_dtype) == "f16"
    connection = Connection(places.milvus_uri)
    collection = Collection(connection, name, generation.bits, generation.feature_dim, half=half)
    try:
        if filled and not anew and not collection.exists():
            raise collection.lost()
        collection.make()
    except LookalikeError:
        collection.close()
        raise
    return MilvusIndex(collection, SlotTruth(database, generation.id, generation.bits))
