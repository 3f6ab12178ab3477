"""Find files that the catalogue already has under another key."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Image


def duplicates_in(session: Session, batch: Sequence[tuple[str, str]], *, skip: bool = False) -> list[str | None]:
    """Return for each image of a batch, if its key is new, another key that has the same file.

    The catalogue is that of before the batch, and the images of the batch are added to it in order.

    Args:
        session: reads the catalogue; within a transaction that locks it, the result is exact.
        batch: key and SHA-256 of each image.
        skip: whether new keys for existing files are not added.
    """
    if not batch:
        return []
    keys, files = {key for key, _ in batch}, {sha256 for _, sha256 in batch}
    # Keys of the batch are followed one by one: their files may change within it.
    own = select(Image.key, Image.sha256).where(Image.key.in_(keys))
    others = (
        select(Image.sha256, Image.key)
        .where(Image.sha256.in_(files), Image.key.not_in(keys))
        .ext(distinct_on(Image.sha256))
        .order_by(Image.sha256, Image.id)
    )
    file_of: dict[str, str] = dict(session.execute(own).all())
    key_of: dict[str, str] = dict(session.execute(others).all())
    found: list[str | None] = []
    for key, sha256 in batch:
        same = None if key in file_of else key_of.get(sha256) or _key_with(sha256, file_of)
        if not (skip and same is not None):
            file_of[key] = sha256
        found.append(same)
    return found


def _key_with(sha256: str, file_of: dict[str, str]) -> str | None:
    return next((key for key, file in file_of.items() if file == sha256), None)
