"""Which images use a file: duplicates of a new one, and whether any image uses it."""

from collections.abc import Mapping, Sequence

from sqlalchemy import exists, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Image, TrashedImage


def duplicates_in(
    session: Session, batch: Sequence[tuple[str, str]], stored: Mapping[str, str], *, skip: bool = False
) -> list[str | None]:
    """Return for each image of a batch, if its key is new, another key that has the same file.

    The catalogue is that of before the batch, and the images of the batch are added to it in order.

    Args:
        session: reads the catalogue; within a transaction that locks it, the result is exact.
        batch: key and SHA-256 of each image.
        stored: SHA-256 of the catalogue's images with keys of the batch, by key.
        skip: whether new keys for existing files are not added.
    """
    if not batch:
        return []
    # Keys of the batch are followed one by one: their files may change within it.
    file_of = dict(stored)
    others = (
        select(Image.sha256, Image.key)
        .where(Image.sha256.in_({sha256 for _, sha256 in batch}), Image.key.not_in({key for key, _ in batch}))
        .ext(distinct_on(Image.sha256))
        .order_by(Image.sha256, Image.id)
    )
    key_of: dict[str, str] = dict(session.execute(others).all())
    found: list[str | None] = []
    for key, sha256 in batch:
        same = None if key in file_of else key_of.get(sha256) or _key_with(sha256, file_of)
        if not (skip and same is not None):
            file_of[key] = sha256
        found.append(same)
    return found


def is_used(session: Session, sha256: str) -> bool:
    """Return whether an image of the catalogue or of the trash uses an original."""
    used = (exists().where(table.sha256 == sha256) for table in (Image, TrashedImage))
    return bool(session.scalar(select(or_(*used))))


def _key_with(sha256: str, file_of: dict[str, str]) -> str | None:
    return next((key for key, file in file_of.items() if file == sha256), None)
