"""What a backup's rows speak of, and what of it the backup lacks."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, Text, any_, func, literal, select
from sqlalchemy.orm import Session

from app.catalogue.database import columnar_fetch as bulk
from app.catalogue.database.tables import CatalogueState, Encoding, Generation, Picture
from app.catalogue.storage.local import PictureFiles
from app.catalogue.vectors.file import damaged_rows
from app.errors import LookalikeError
from app.maintenance.backup_manifest import Manifest
from models.checkpoint.info import find, read_info
from models.errors import ModelError

# Keys that a sentence names; of more it says how many there are.
_NAMED = 20
# What backups of version 0.3.0 and earlier call their tables.
_OLD_TABLES = {"images": "pictures", "index_versions": "generations"}
_HASH = "^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Vectors:
    """Vectors of one generation: where they lie in the backup, and slots and checksums `(n,)` of its encodings."""

    generation_id: int
    path: Path
    dim: int
    kind: str
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]


@dataclass(frozen=True)
class Contents:
    """What a backup's rows speak of: the size of each original by its hash, and the vectors of each generation."""

    sizes: dict[str, int]
    vectors: list[Vectors]
    checkpoints: list[str]


@dataclass
class Lacking:
    """What a backup lacks.

    Attributes:
        pictures: pictures without an intact original.
        names: keys and hashes of the first of them.
        files: what is wrong with vectors, a sentence for each file.
        vectors: pictures without an intact vector, those of all generations together.
    """

    pictures: int = 0
    names: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    vectors: int = 0

    def __bool__(self) -> bool:
        return bool(self.pictures or self.vectors)

    @property
    def named(self) -> str:
        """The pictures without an original, as far as a sentence can name them."""
        more = self.pictures - len(self.names)
        return ", ".join(self.names) + (f" and {more} more" if more else "")


def read_contents(session: Session, manifest: Manifest) -> Contents:
    """Reads what the rows speak of, once they are in the tables.

    Raises:
        LookalikeError: the rows do not belong together.
    """
    count = session.scalars(select(func.count(Picture.id))).one()
    if count != manifest.pictures:
        how = f"it has {count} rows, and the manifest says {manifest.pictures}"
        raise LookalikeError(_odd(manifest, "images", how))
    if session.scalars(select(func.count()).select_from(CatalogueState)).one() != 1:
        raise LookalikeError(_odd(manifest, "catalogue", "it has not exactly one row"))
    if session.scalar(select(Picture.id).where(~Picture.sha256.regexp_match(_HASH)).limit(1)) is not None:
        raise LookalikeError(_odd(manifest, "images", "it has a hash that is none"))
    originals = session.execute(select(Picture.sha256, Picture.size_bytes).distinct())
    sizes = {row.sha256: row.size_bytes for row in originals}
    generations = session.scalars(select(Generation).order_by(Generation.id)).all()
    local = [one for one in generations if one.index_backend == "local"]
    return Contents(sizes, [_vectors(session, manifest, one) for one in local], _checkpoints(session, generations))


def missing_originals(manifest: Manifest, contents: Contents) -> set[str]:
    """Returns the originals that the backup lacks, or of which it has another number of bytes."""
    files = PictureFiles(manifest.source / "pictures")

    def is_whole(sha256: str, size: int) -> bool:
        try:
            return files.original(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    return {sha256 for sha256, size in contents.sizes.items() if not is_whole(sha256, size)}


def lacking(session: Session, contents: Contents, originals: Collection[str]) -> Lacking:
    """Names what is lacking, once the rows are in the tables; vectors are read and compared with their checksums."""
    found = Lacking()
    if originals:
        among = Picture.sha256 == any_(literal(sorted(originals), ARRAY(Text)))
        found.pictures = session.scalars(select(func.count(Picture.id)).where(among)).one()
        first = session.execute(select(Picture.key, Picture.sha256).where(among).order_by(Picture.id).limit(_NAMED))
        found.names = [f"{key} ({sha256})" for key, sha256 in first]
    for vectors in contents.vectors:
        bad = damaged_rows(vectors.path, vectors.dim, vectors.kind, vectors.slots, vectors.checksums)
        if len(bad):
            found.vectors += len(bad)
            found.files.append(_file(session, vectors, bad))
    return found


def _file(session: Session, vectors: Vectors, bad: NDArray[np.int64]) -> str:
    encoding = (Encoding.image_id == Picture.id) & (Encoding.index_version_id == vectors.generation_id)
    among = Encoding.slot == any_(literal(bad[:_NAMED].tolist(), ARRAY(BigInteger)))
    keys = session.scalars(select(Picture.key).join(Encoding, encoding).where(among).order_by(Picture.id)).all()
    more = f" and {len(bad) - len(keys)} more" if len(bad) > len(keys) else ""
    what = "damaged or cut off" if vectors.path.exists() else "missing"
    return f"{vectors.path} is {what}; it should have the vectors of {', '.join(keys)}{more}."


def _vectors(session: Session, manifest: Manifest, generation: Generation) -> Vectors:
    if generation.feature_dim < 1 or generation.vector_dtype not in ("f32", "f16"):
        raise LookalikeError(
            _odd(manifest, "index_versions", "it has vectors of a kind that this version does not know")
        )
    rows = bulk.fetch(
        session,
        Encoding.slot,
        Encoding.index_version_id == generation.id,
        numbers={"checksum": Encoding.checksum},
    )
    path = manifest.folder / "vectors" / f"{generation.id}.{generation.vector_dtype}"
    slots, checksums = rows["key"].astype(np.int64), rows["checksum"].astype(np.uint32)
    return Vectors(generation.id, path, generation.feature_dim, generation.vector_dtype, slots, checksums)


def _checkpoints(session: Session, generations: Iterable[Generation]) -> list[str]:
    """Says which networks are not on this machine; a backup does not have them."""
    in_use = session.scalars(select(CatalogueState.index_version_id)).one()
    return [
        f"The network {one.model} ({one.fingerprint}) is not here: copy its checkpoint to that place "
        + ("before the service starts." if one.id == in_use else "to be able to move back to it.")
        for one in generations
        if not _is_here(one)
    ]


def _is_here(generation: Generation) -> bool:
    try:
        return read_info(find(generation.model)).fingerprint == generation.fingerprint
    except ModelError:
        return False


def _odd(manifest: Manifest, table: str, how: str) -> str:
    name = table if table in manifest.columns else _OLD_TABLES.get(table, table)
    return f"{manifest.table(name)} is damaged: {how}. Take it from another copy of the backup."
