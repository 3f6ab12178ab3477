"""Find duplicate images: scaled, re-encoded, or added twice.

The default maximum distance is part of the network's calibration (`copies` in `models/checkpoint/similarity.py`).
Candidates are selected as for a search (`pool.py`).
"""

from collections.abc import Iterable, Iterator

from app.errors import InvalidInputError
from app.search.index import Index
from app.search.pool import select_pool
from app.search.types import Match
from models.checkpoint.similarity import Similarity


def duplicate_distance(similarity: Similarity | None, requested: float | None) -> float:
    """Maximum F7 distance between duplicates: the requested one, or the calibrated default.

    Raises:
        InvalidInputError: neither is available.
    """
    if requested is not None:
        return requested
    if similarity is None:
        reason = "is required, because the network is not calibrated. Set it, or run `lookalike calibrate`."
        raise InvalidInputError("max_distance", reason)
    return similarity.copies


def find_duplicates(index: Index, image_id: int, distance: float, pool: int) -> list[Match] | None:
    """Images within a distance of an indexed image, nearest first, without itself; None if it is not indexed."""
    found = index.find(image_id)
    if found is None:
        return None
    code, feature = found
    candidates = select_pool(index, code, pool)
    ranked = index.rank(feature, code, candidates, len(candidates))
    return [match for match in ranked if match.distance <= distance and match.id != image_id]


def duplicate_groups(index: Index, ids: Iterable[int], distance: float, pool: int) -> Iterator[tuple[int, list[Match]]]:
    """Yield `(image id, duplicates)` for those images that have duplicates, all with larger ids.

    A group of images that are all duplicates of each other is yielded once, under its smallest id, so a catalogue can
    be scanned page by page.
    """
    for image_id in ids:
        matches = find_duplicates(index, image_id, distance, pool)
        if matches and min(match.id for match in matches) > image_id:
            yield image_id, matches
