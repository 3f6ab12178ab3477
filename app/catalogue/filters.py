"""Which pictures pass a filter: asked once, then kept in step with the changes.

A filter's pictures are asked for when it is first used. Later searches use the same answer while nothing changes,
and ask only for the pictures that changed where something has.
"""

import threading
from collections import OrderedDict

import numpy as np
from sqlalchemy import and_
from sqlalchemy.orm import Session

from app.catalogue import bulk
from app.catalogue.conditions import Condition, passes
from app.catalogue.tables import Picture
from app.search.types import Ids, SearchOptions, Subset

_MOST = 64

# A label and a filter, each where it is given.
Asked = tuple[str | None, str | None]


class Filters:
    """The filters that were used lately. Safe for many threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[Asked, tuple[int, Subset]] = OrderedDict()
        self._changing = threading.Lock()

    def subset(self, session: Session, options: SearchOptions, seq: int) -> Subset | None:
        """Returns the pictures that pass, as of `seq` or later; None where there is no filter.

        `session` asks only where the answer is not at hand. A picture that was deleted may still be among them.
        """
        asked = options.label, options.filter
        if asked == (None, None):
            return None
        with self._changing:
            since, subset = self._known.get(asked, (-1, None))
        if subset is None or since < seq:
            subset = _updated(subset, since, passes(*asked), session)
            with self._changing:
                self._known[asked] = seq, subset
                self._known.move_to_end(asked)
                while len(self._known) > _MOST:
                    self._known.popitem(last=False)
        return subset


def _updated(subset: Subset | None, since: int, passing: Condition, session: Session) -> Subset:
    changed = Picture.seq > since
    if subset is None:
        return Subset(_ids(session, passing))
    touched = _ids(session, changed)
    if not len(touched):
        return subset
    kept = np.setdiff1d(subset.ids, touched, assume_unique=True)
    return Subset(np.union1d(kept, _ids(session, and_(changed, passing))))


def _ids(session: Session, condition: Condition) -> Ids:
    ids: Ids = bulk.fetch(session, Picture.id, condition)["key"].astype(np.int64)
    return ids
