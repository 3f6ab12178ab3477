"""The pictures of a folder: the key is the path below the folder, the label the name of the subfolder.

Links to folders are not followed, so no loop of them leads anywhere; links to files are.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from app.ingest.sources.items import Entry, file_entry, is_picture, labelled, sentence, text, unusable


class Folder:
    """A folder, with all that lies in it; no file larger than the limit is read."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit

    def count(self) -> int:
        """Returns how many files look like pictures."""
        return len(self._found)

    def __iter__(self) -> Iterator[Entry]:
        """Goes through them by name."""
        for path, error in self._found:
            yield self._entry(path) if error is None else unusable(text(str(path)), sentence(error))

    @cached_property
    def _found(self) -> list[tuple[Path, OSError | None]]:
        """Files that look like pictures, and folders that cannot be looked into."""
        closed: list[tuple[Path, OSError | None]] = []
        walk = os.walk(self._path, onerror=lambda error: closed.append((Path(error.filename), error)))
        files = [Path(folder, name) for folder, _, names in walk for name in names if is_picture(name)]
        return sorted([*((path, None) for path in files), *closed], key=lambda found: found[0])

    def _entry(self, path: Path) -> Entry:
        key = text(path.relative_to(self._path).as_posix())
        return file_entry(path, text(str(path)), key, labelled(key), self._limit)
