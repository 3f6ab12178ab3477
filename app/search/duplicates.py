"""Pictures that are as good as the same: scaled, saved anew, or added twice.

How near that is, the network's calibration says (`copies` in `models/checkpoint/similarity.py`). Candidates are those
of a usual search: the pool, and where that is full of pictures with the very code, all that have it (`pool.py`).
"""

from collections.abc import Iterable, Iterator

from app.errors import InvalidInputError
from app.search.index import Index
from app.search.pool import pool_of
from app.search.types import Match
from models.checkpoint.similarity import Similarity


def distance_of(similarity: Similarity | None, given: float | None) -> float:
    """Returns how far apart duplicates may be: as somebody says, or as the network's calibration does.

    Raises:
        InvalidInputError: neither says anything.
    """
    if given is not None:
        return given
    if similarity is None:
        reason = "is wanted, because the network in use was never calibrated; `lookalike calibrate` does it"
        raise InvalidInputError("max_distance", reason)
    return similarity.copies


def duplicates(index: Index, picture_id: int, distance: float, pool: int) -> list[Match] | None:
    """Returns the pictures within a distance of one, itself left out, the nearest first; None where it is not there."""
    found = index.find(picture_id)
    if found is None:
        return None
    code, feature = found
    candidates = pool_of(index, code, pool)
    ranked = index.rank(feature, code, candidates, len(candidates))
    return [match for match in ranked if match.distance <= distance and match.id != picture_id]


def groups(index: Index, ids: Iterable[int], distance: float, pool: int) -> Iterator[tuple[int, list[Match]]]:
    """Yields those of some pictures that have duplicates with larger ids and none with smaller, and their duplicates.

    So each group of pictures that are all alike comes once, under its oldest, and a catalogue can be looked through
    part by part.
    """
    for picture_id in ids:
        matches = duplicates(index, picture_id, distance, pool)
        if matches and min(match.id for match in matches) > picture_id:
            yield picture_id, matches
