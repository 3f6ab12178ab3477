"""Which pictures pass a filter: asked once, then kept in step with the changes.

A filter's pictures are asked for when it is first used. Later searches use the same answer while nothing changes,
and ask only for the pictures that changed where something has.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from sqlalchemy import ColumnElement, and_
from sqlalchemy.orm import Session

from app.catalogue import bulk
from app.catalogue.tables import Picture
from app.search.types import Ids, SearchOptions, Subset

_MOST = 64

Ask = Callable[[ColumnElement[bool]], Ids]


class Filters:
    """The filters that were used lately. Safe for many threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, Subset]] = OrderedDict()
        self._changing = threading.Lock()

    def subset(self, session: Session, options: SearchOptions, seq: int) -> Subset | None:
        """Returns the pictures that pass, as of `seq` or later; None where there is no filter.

        `session` asks only where the answer is not at hand. A picture that was deleted may still be among them.
        """
        if options.label is None:
            return None
        with self._changing:
            since, subset = self._known.get(options.label, (-1, None))
        if subset is None or since < seq:
            subset = _updated(subset, since, Picture.label == options.label, session)
            with self._changing:
                self._known[options.label] = seq, subset
                self._known.move_to_end(options.label)
                while len(self._known) > _MOST:
                    self._known.popitem(last=False)
        return subset


def _updated(subset: Subset | None, since: int, passes: ColumnElement[bool], session: Session) -> Subset:
    changed = Picture.seq > since
    if subset is None:
        return Subset(_ids(session, passes))
    touched = _ids(session, changed)
    if not len(touched):
        return subset
    kept = np.setdiff1d(subset.ids, touched, assume_unique=True)
    return Subset(np.union1d(kept, _ids(session, and_(changed, passes))))


def _ids(session: Session, condition: ColumnElement[bool]) -> Ids:
    ids: Ids = bulk.fetch(session, Picture.id, condition)["key"].astype(np.int64)
    return ids
