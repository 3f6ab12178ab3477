"""Check a backup for missing or damaged originals and vectors."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Text, any_, func, literal, select, union_all
from sqlalchemy.orm import Session

from app.catalogue.database import columnar_fetch as bulk
from app.catalogue.database.tables import CatalogueState, Encoding, FeatureSet, Image, IndexVersion, TrashedImage
from app.catalogue.storage.local import LocalStorage
from app.catalogue.vectors.file import damaged_rows
from app.errors import LookalikeError
from app.maintenance.backup import original_bytes
from app.maintenance.backup_manifest import Manifest
from models.checkpoint.info import find_checkpoint, read_info
from models.errors import ModelError

# Keys listed in a message; the others are counted.
_LISTED = 20
# Table names in backups of earlier versions.
_OLD_TABLES = {"images": ("pictures",), "feature_sets": ("index_versions", "generations")}
_HASH = "^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Vectors:
    """Vectors of one feature set: their file in the backup, and slots and checksums `(n,)` of its encodings."""

    feature_set_id: int
    path: Path
    dim: int
    kind: str
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]


@dataclass(frozen=True)
class ExpectedContents:
    """Expected contents of a backup: sizes of originals by hash, vectors by feature set; messages on networks."""

    sizes: dict[str, int]
    vectors: list[Vectors]
    checkpoints: list[str]


@dataclass
class MissingContents:
    """Missing or damaged contents of a backup.

    Attributes:
        pictures: the number of images without an intact original.
        names: keys and hashes of the first of them.
        files: a message for each vector file that is missing or damaged.
        vectors: the number of images without an intact vector, summed over feature sets.
    """

    pictures: int = 0
    names: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    vectors: int = 0

    def __bool__(self) -> bool:
        return bool(self.pictures or self.vectors)

    @property
    def named(self) -> str:
        """The images without an intact original, as a list for a message."""
        more = self.pictures - len(self.names)
        return ", ".join(self.names) + (f" and {more} more" if more else "")


def read_contents(session: Session, manifest: Manifest) -> ExpectedContents:
    """Read the expected contents from the loaded tables.

    Raises:
        LookalikeError: the rows are inconsistent.
    """
    count = session.scalars(select(func.count(Image.id))).one()
    if count != manifest.pictures:
        how = f"it has {count} rows, but the manifest says {manifest.pictures}"
        raise LookalikeError(_damaged(manifest, "images", how))
    if session.scalars(select(func.count()).select_from(CatalogueState)).one() != 1:
        raise LookalikeError(_damaged(manifest, "catalogue", "it must have exactly one row"))
    for table in (Image, TrashedImage):
        if session.scalar(select(table.key).where(~table.sha256.regexp_match(_HASH)).limit(1)) is not None:
            raise LookalikeError(_damaged(manifest, table.__tablename__, "it contains an invalid SHA-256"))
    feature_sets = session.scalars(select(FeatureSet).order_by(FeatureSet.id)).all()
    local = [one for one in feature_sets if one.index_backend == "local"]
    return ExpectedContents(
        original_bytes(session),
        [_vectors(session, manifest, one) for one in local],
        _missing_networks(session, feature_sets),
    )


def missing_originals(manifest: Manifest, contents: ExpectedContents) -> set[str]:
    """Hashes of originals that are missing in the backup or have another size."""
    files = LocalStorage(manifest.source / "pictures")

    def has_size(sha256: str, size: int) -> bool:
        try:
            return files.original(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    return {sha256 for sha256, size in contents.sizes.items() if not has_size(sha256, size)}


def find_missing(session: Session, contents: ExpectedContents, originals: Collection[str]) -> MissingContents:
    """List what is missing, from the loaded tables; vectors are compared with their checksums."""
    found = MissingContents()
    if originals:
        images = union_all(
            select(Image.id, Image.key, Image.sha256),
            select(TrashedImage.image_id, TrashedImage.key, TrashedImage.sha256),
        ).subquery()
        among = images.c.sha256 == any_(literal(sorted(originals), ARRAY(Text)))
        found.pictures = session.scalars(select(func.count()).select_from(images).where(among)).one()
        first = session.execute(select(images.c.key, images.c.sha256).where(among).order_by(images.c.id).limit(_LISTED))
        found.names = [f"{key} ({sha256})" for key, sha256 in first]
    for vectors in contents.vectors:
        bad = damaged_rows(vectors.path, vectors.dim, vectors.kind, vectors.slots, vectors.checksums)
        if len(bad):
            found.vectors += len(bad)
            found.files.append(_describe_damage(session, vectors, bad))
    return found


def _describe_damage(session: Session, vectors: Vectors, bad: NDArray[np.int64]) -> str:
    encoding = (Encoding.image_id == Image.id) & _of_set(vectors.feature_set_id)
    among = Encoding.slot == any_(literal(bad[:_LISTED].tolist(), ARRAY(BigInteger)))
    found = select(Image.key, Image.id).join(Encoding, encoding).where(among).distinct().order_by(Image.id)
    keys = session.scalars(found).all()
    more = f" and {len(bad) - len(keys)} more" if len(bad) > len(keys) else ""
    what = "damaged or cut off" if vectors.path.exists() else "missing"
    return f"{vectors.path} is {what}; it should contain the vectors of {', '.join(keys)}{more}."


def _of_set(feature_set_id: int) -> ColumnElement[bool]:
    """Condition on encodings: their version is of a feature set."""
    return Encoding.index_version_id.in_(select(IndexVersion.id).where(IndexVersion.feature_set_id == feature_set_id))


def _vectors(session: Session, manifest: Manifest, features: FeatureSet) -> Vectors:
    if features.feature_dim < 1 or features.vector_dtype not in ("f32", "f16"):
        raise LookalikeError(_damaged(manifest, "feature_sets", "it has vectors of a type unknown to this version"))
    rows = bulk.fetch_columns(
        session,
        Encoding.slot,
        _of_set(features.id),
        integers={"checksum": Encoding.checksum},
    )
    path = manifest.folder / "vectors" / f"{features.id}.{features.vector_dtype}"
    # Versions of one feature set share the slots.
    slots, first = np.unique(rows["key"].astype(np.int64), return_index=True)
    checksums = rows["checksum"].astype(np.uint32)[first]
    return Vectors(features.id, path, features.feature_dim, features.vector_dtype, slots, checksums)


def _missing_networks(session: Session, feature_sets: Iterable[FeatureSet]) -> list[str]:
    """Messages on networks that are not on this machine; backups do not contain them."""
    active = IndexVersion.id == CatalogueState.index_version_id
    in_use = session.scalar(select(IndexVersion.feature_set_id).join(CatalogueState, active))
    return [
        f"The network {one.model} ({one.fingerprint}) is missing. Copy its checkpoint to that path "
        + ("before you start the service." if one.id == in_use else "if you want to switch back to it.")
        for one in feature_sets
        if not _is_available(one)
    ]


def _is_available(features: FeatureSet) -> bool:
    try:
        return read_info(find_checkpoint(features.model)).fingerprint == features.fingerprint
    except ModelError:
        return False


def _damaged(manifest: Manifest, table: str, how: str) -> str:
    names = [name for name in (table, *_OLD_TABLES.get(table, ())) if name in manifest.columns]
    return f"{manifest.table((*names, table)[0])} is damaged: {how}. Replace it from another copy of the backup."
