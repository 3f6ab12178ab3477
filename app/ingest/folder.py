"""Pictures of a folder as uploads: the key is the path below the folder, the label the name of the subfolder."""

import os
from collections.abc import Sequence
from pathlib import Path

from app.catalogue.changes import Given
from app.ingest.add import Upload


def uploads(folder: Path, paths: Sequence[Path]) -> tuple[dict[Path, Upload], dict[Path, OSError]]:
    """Reads files below a folder; returns those that can be read, and what kept the others from it."""
    read: dict[Path, Upload] = {}
    unreadable: dict[Path, OSError] = {}
    for path in paths:
        try:
            read[path] = _upload(folder, path)
        except OSError as error:
            unreadable[path] = error
    return read, unreadable


def _upload(folder: Path, path: Path) -> Upload:
    below = path.relative_to(folder)
    given: Given = {"label": _text(below.parts[-2])} if len(below.parts) > 1 else {}
    return Upload(path.read_bytes(), _text(below.as_posix()), given)


def _text(name: str) -> str:
    """Returns a file's name with the bytes replaced that are not UTF-8, which the database would refuse."""
    return os.fsencode(name).decode(errors="replace")
