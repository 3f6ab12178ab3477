"""Cache of the rows that search results show.

Searches find the same images again and again. A row is cached until `IndexSync` applies a change of its image, which it
does before a search that begins after the change. So a cached row is never older than the index that was searched.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from app.catalogue.queries import ImageSummary

# Default memory limit of the cache.
SUMMARY_BYTES = 32_000_000
# Memory of an entry beside its metadata, and of a byte of metadata as parsed JSON.
_ENTRY_BYTES, _BYTES_PER_JSON_BYTE = 1000, 8


class SummaryCache:
    """LRU cache of summaries by image id. Thread-safe.

    Args:
        max_bytes: memory limit, estimated.
    """

    def __init__(self, max_bytes: int = SUMMARY_BYTES) -> None:
        self._max_bytes, self._bytes, self._generation = max_bytes, 0, 0
        self._rows: OrderedDict[int, ImageSummary] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, ids: Iterable[int]) -> tuple[int, dict[int, ImageSummary]]:
        """Return the cached rows of images by id, and the generation of the cache, for `store`."""
        with self._lock:
            found = {image_id: row for image_id in ids if (row := self._rows.get(image_id)) is not None}
            for image_id in found:
                self._rows.move_to_end(image_id)
            return self._generation, found

    def store(self, rows: Mapping[int, ImageSummary], generation: int) -> None:
        """Store rows that were read after `get` returned this generation, unless rows were discarded since.

        A row that was read before a change may arrive here after the change was applied.
        """
        with self._lock:
            if generation != self._generation:
                return
            for image_id, row in rows.items():
                self._remove(image_id)
                self._rows[image_id] = row
                self._bytes += _size(row)
            while self._bytes > self._max_bytes:
                self._remove(next(iter(self._rows)))

    def discard(self, changed: Callable[[], Iterable[int]]) -> None:
        """Discard the rows of changed images, whose ids are asked for only if there are any rows."""
        with self._lock:
            # First, so that rows read before are no longer stored.
            self._generation += 1
            if not self._rows:
                return
        ids = changed()
        with self._lock:
            for image_id in ids:
                self._remove(image_id)

    def _remove(self, image_id: int) -> None:
        row = self._rows.pop(image_id, None)
        self._bytes -= 0 if row is None else _size(row)


def _size(row: ImageSummary) -> int:
    return _ENTRY_BYTES + _BYTES_PER_JSON_BYTE * row.size
