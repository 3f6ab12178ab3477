"""Folder as a source of entries: the key is the relative path, the label the name of the subfolder.

Links to files are followed; links to folders are not, because they may form loops.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from app.ingest.sources.items import Entry, describe_error, file_entry, folder_label, text, unusable
from app.ingest.sources.skipped import SkippedFiles
from models.data.image_files import is_image_name


class Folder:
    """The images of a folder and its subfolders; files larger than `limit` bytes are rejected."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit, self.skipped = path, limit, SkippedFiles()

    def count(self) -> int:
        """Number of files with the suffix of an image, and of unreadable folders."""
        return len(self._found)

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries, sorted by path."""
        for path, error in self._found:
            yield self._entry(path) if error is None else unusable(text(str(path)), describe_error(error))

    @cached_property
    def _found(self) -> list[tuple[Path, OSError | None]]:
        """Files with the suffix of an image, and folders that cannot be read."""
        unreadable: list[tuple[Path, OSError | None]] = []
        walk = os.walk(self._path, onerror=lambda error: unreadable.append((Path(error.filename), error)))
        files = sorted(Path(folder, name) for folder, _, names in walk for name in names)
        for path in files:
            if not is_image_name(path.name):
                self.skipped.add(self._relative(path))
        images = ((path, None) for path in files if is_image_name(path.name))
        return sorted([*images, *unreadable], key=lambda pair: pair[0])

    def _entry(self, path: Path) -> Entry:
        key = self._relative(path)
        return file_entry(path, text(str(path)), key, folder_label(key), self._limit)

    def _relative(self, path: Path) -> str:
        return text(path.relative_to(self._path).as_posix())
