"""Folder as a source of entries: the key is the relative path, the label the name of the subfolder.

Links to files are followed; links to folders are not, because they may form loops. Hidden files and folders, and those
of operating systems and network drives, are left out and counted (`models/data/left_out.py`).
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from app.ingest.sources.items import Entry, describe_error, file_entry, folder_label, text, unusable
from models.data.image_files import is_image_name
from models.data.left_out import LeftOut, walk_images


class Folder:
    """The images of a folder and its subfolders; files larger than `limit` bytes are rejected.

    Attributes:
        left_out: what it leaves out; known once the entries are counted.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit, self.left_out = path, limit, LeftOut()

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
        walk = walk_images(
            self._path, is_image_name, self.left_out, lambda error: unreadable.append((Path(error.filename), error))
        )
        files = list(walk)
        return sorted([*((path, None) for path in files), *unreadable], key=lambda pair: pair[0])

    def _entry(self, path: Path) -> Entry:
        key = text(path.relative_to(self._path).as_posix())
        return file_entry(path, text(str(path)), key, folder_label(key), self._limit)
