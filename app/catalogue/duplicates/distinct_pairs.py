"""Pairs of images that a person has decided are not duplicates of each other.

They survive the deletion of an image, which may be undone, and go when it is removed from the trash for good.
"""

from collections.abc import Collection

from sqlalchemy import ARRAY, BigInteger, Connection, delete, func, literal, or_, select, union_all
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.catalogue.database.tables import DistinctPair, Image
from app.catalogue.selection import among_ids
from app.errors import SelectionChangedError


def mark_distinct(session: Session, ids: Collection[int]) -> int:
    """Record that no two of some images are duplicates; return the number of pairs that were not recorded before.

    Raises:
        SelectionChangedError: an image does not exist.
    """
    # Locked against deletion until the commit.
    found = session.scalars(
        select(Image.id).where(among_ids(Image.id, ids)).order_by(Image.id).with_for_update(key_share=True)
    )
    if missing := sorted(set(ids) - set(found)):
        raise SelectionChangedError(len(set(ids)), len(set(ids)) - len(missing), [str(one) for one in missing])
    return _add_pairs(session, ids, ids)


def unmark_distinct(session: Session, ids: Collection[int]) -> int:
    """Undo `mark_distinct`; return the number of pairs."""
    among = among_ids(DistinctPair.first_id, ids) & among_ids(DistinctPair.second_id, ids)
    return len(session.execute(delete(DistinctPair).where(among).returning(DistinctPair.first_id)).all())


def distinct_from(connection: Connection, image_id: int) -> set[int]:
    """Return the images that are not duplicates of an image."""
    first, second = DistinctPair.first_id, DistinctPair.second_id
    both = union_all(select(second).where(first == image_id), select(first).where(second == image_id))
    return set(connection.scalars(both))


def inherit_pairs(session: Session, keep: int, others: Collection[int]) -> None:
    """Let an image be distinct from all images that some other images, of the same picture, are distinct from."""
    own = {keep, *others}
    partners = set[int]()
    for other in others:
        partners |= distinct_from(session.connection(), other)
    _add_pairs(session, [keep], partners - own)


def remove_pairs_of(session: Session, ids: Collection[int]) -> None:
    """Forget the pairs of images that no longer exist."""
    session.execute(
        delete(DistinctPair).where(or_(among_ids(DistinctPair.first_id, ids), among_ids(DistinctPair.second_id, ids)))
    )


def _add_pairs(session: Session, ones: Collection[int], others: Collection[int]) -> int:
    """Record every pair of an image of `ones` and another one of `others`."""
    one, other = (
        func.unnest(literal(sorted(set(ids)), ARRAY(BigInteger))).table_valued("id").render_derived(name)
        for name, ids in (("one", ones), ("other", others))
    )
    least, greatest = func.least(one.c.id, other.c.id), func.greatest(one.c.id, other.c.id)
    pairs = select(least, greatest).where(one.c.id != other.c.id).distinct().order_by(least, greatest)
    new = postgresql.insert(DistinctPair).from_select(["first_id", "second_id"], pairs).on_conflict_do_nothing()
    return len(session.execute(new.returning(DistinctPair.first_id)).all())
