"""Find duplicates in the catalogue, in two lists that are never mixed.

- `exact`: the same picture saved again: scaled, recompressed, or in another format. F7 proposes pairs, and their pixels
  decide (`same_picture.py`).
- `near`: other pictures that are nearly as similar by F7: cut, mirrored, on another background. Copies in the sense of
  `exact` are left out: a picture that was saved several times is one picture, its oldest image.

Pairs that a person has decided are not duplicates are in neither list.

Groups are the connected components of all pairs: in a chain of duplicates every image belongs to one group. A pair
counts if each image is among the other's candidates, which are selected as for a search (`pool.py`), so the groups do
not depend on the image from which they are found.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from app.errors import InvalidInputError
from app.search.index import Index
from app.search.pool import select_pool
from app.search.types import Match
from models.checkpoint.similarity import Similarity

# Most images of one group.
MAX_GROUP = 1000

# Returns which of some images show the same picture as another one, by their ids; deleted images do not.
SamePictures = Callable[[int, Sequence[int]], Set[int]]
# Returns the images that a person has decided are not duplicates of one, by their ids.
DistinctFrom = Callable[[int], Set[int]]


class DuplicateKind(StrEnum):
    """The two lists of duplicates."""

    EXACT = "exact"  # the same picture saved again
    NEAR = "near"  # other pictures that are nearly as similar


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are duplicates of each other, directly or through others of the group.

    Attributes:
        oldest: the smallest id.
        duplicates: the other images, the nearest to the oldest first.
        complete: whether these are all; if not, the group has more than `MAX_GROUP` images.
    """

    oldest: int
    duplicates: list[Match]
    complete: bool


def duplicate_distance(similarity: Similarity | None, kind: DuplicateKind, requested: float | None) -> float:
    """Maximum F7 distance between duplicates: the requested one, or the calibrated default of the kind.

    Raises:
        InvalidInputError: neither is available.
    """
    if requested is not None:
        return requested
    if similarity is None:
        reason = "is required, because the network is not calibrated. Set it, or run `lookalike calibrate`."
        raise InvalidInputError("max_distance", reason)
    return similarity.copies if kind is DuplicateKind.EXACT else similarity.near


class DuplicateFinder:
    """Finds duplicates of one kind in one state of the index. Not thread-safe.

    Args:
        index: the index, in sync with the catalogue.
        pool: number of candidates by code, as for a search.
        same_pictures: compares the pixels of images.
        distinct_from: decisions of people.
        kind: which duplicates to find.
        copies: maximum F7 distance of images whose pixels are compared.
        near: maximum F7 distance of near-duplicates.

    Attributes:
        max_distance: maximum F7 distance of duplicates of the kind.
    """

    def __init__(
        self,
        index: Index,
        pool: int,
        same_pictures: SamePictures,
        distinct_from: DistinctFrom,
        kind: DuplicateKind,
        copies: float,
        near: float,
    ) -> None:
        self._index, self._same_pictures, self._distinct_from, self._kind = index, same_pictures, distinct_from, kind
        self.max_distance = copies if kind is DuplicateKind.EXACT else near
        self._copies, self._near = _Neighbours(index, pool, copies), _Neighbours(index, pool, near)
        self._copy_groups: dict[int, Set[int]] = {}

    def of_image(self, image_id: int) -> list[Match] | None:
        """Return the duplicates of an image, nearest first; None if it is not in the index.

        Each is compared with this image itself; of the copies of a near-duplicate only the oldest is listed.
        """
        if self._index.find(image_id) is None:
            return None
        return self._matches(image_id, list(self._links(image_id)))

    def groups(self, ids: Iterable[int]) -> Iterator[DuplicateGroup]:
        """Yield the groups whose oldest image is one of `ids`, so a catalogue can be scanned page by page."""
        return (group for group in map(self.group_of_oldest, ids) if group is not None)

    def group_of_oldest(self, image_id: int) -> DuplicateGroup | None:
        """Return the group whose oldest image is an image; None if there is none."""
        if self._kind is DuplicateKind.NEAR and self._oldest_copy(image_id) != image_id:
            return None
        members = component(image_id, self._links, until_older=True)
        if len(members) == 1 or min(members) != image_id:
            return None
        duplicates = self._matches(image_id, sorted(members - {image_id}))
        return DuplicateGroup(image_id, duplicates, complete=len(members) < MAX_GROUP)

    def _links(self, image_id: int) -> Iterator[int]:
        return self._copies_of(image_id) if self._kind is DuplicateKind.EXACT else self._near_duplicates_of(image_id)

    def _copies_of(self, image_id: int) -> Iterator[int]:
        same = self._same_pictures(image_id, self._copies.of(image_id))
        return (other for other in self._undecided(image_id, same) if self._copies.are_mutual(image_id, other))

    def _near_duplicates_of(self, image_id: int) -> Iterator[int]:
        others = self._undecided(image_id, set(self._near.of(image_id)) - self._copy_group(image_id))
        return (
            other for other in others if self._near.are_mutual(image_id, other) and self._oldest_copy(other) == other
        )

    def _undecided(self, image_id: int, others: Set[int]) -> list[int]:
        """Return those of some images, by id, of which no person has decided that they are not duplicates of one."""
        return sorted(others - self._distinct_from(image_id)) if others else []

    def _oldest_copy(self, image_id: int) -> int:
        return min(self._copy_group(image_id))

    def _copy_group(self, image_id: int) -> Set[int]:
        if image_id not in self._copy_groups:
            group = component(image_id, self._copies_of)
            self._copy_groups.update(dict.fromkeys(group, group))
        return self._copy_groups[image_id]

    def _matches(self, image_id: int, others: Sequence[int]) -> list[Match]:
        """Return images with their distances to an image, nearest first."""
        found = {one: stored for one in (image_id, *others) if (stored := self._index.find(one)) is not None}
        if image_id not in found:
            return []
        code, feature = found.pop(image_id)
        matches = [
            Match(other, float(np.linalg.norm(feature - its_feature)), int(np.bitwise_count(code ^ its_code).sum()))
            for other, (its_code, its_feature) in found.items()
        ]
        return sorted(matches, key=lambda match: (match.distance, match.id))


def component(start: int, links: Callable[[int], Iterable[int]], *, until_older: bool = False) -> set[int]:
    """Return the images connected with an image by links, itself included, at most `MAX_GROUP`.

    With `until_older` the search ends as soon as it finds a smaller id.
    """
    found, queue = {start}, deque([start])
    while queue:
        for other in links(queue.popleft()):
            if other not in found:
                found.add(other)
                queue.append(other)
            if len(found) == MAX_GROUP or (until_older and other < start):
                return found
    return found


class _Neighbours:
    """The nearest other images within an F7 distance, at most `MAX_GROUP` of each image."""

    def __init__(self, index: Index, pool: int, distance: float) -> None:
        self._index, self._pool, self._distance = index, pool, distance
        self._found: dict[int, list[int]] = {}

    def of(self, image_id: int) -> list[int]:
        """Return the ids of an image's neighbours, nearest first; none if it is not in the index."""
        if image_id not in self._found:
            self._found[image_id] = self._search(image_id)
        return self._found[image_id]

    def are_mutual(self, one: int, other: int) -> bool:
        """Return whether each of two images is a neighbour of the other."""
        return other in self.of(one) and one in self.of(other)

    def _search(self, image_id: int) -> list[int]:
        stored = self._index.find(image_id)
        if stored is None:
            return []
        code, feature = stored
        ranked = self._index.rank(feature, select_pool(self._index, code, self._pool), MAX_GROUP + 1)
        return [match.id for match in ranked if match.distance <= self._distance and match.id != image_id]
