"""What a comparison has measured so far, kept so that the same command goes on where it was stopped."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.comparison.data import EncodedSplit
from models.reports.report import write_files


class ResumeFile:
    """Measurements by name, in a file of JSON from the first one until the comparison is done.

    Args:
        path: the file; where it is damaged, or of other images, nothing counts as measured.
        identity: what is measured on, as `identity` tells it.
    """

    def __init__(self, path: Path, identity: int) -> None:
        self.path, self.identity = path, identity
        self.measured = _read(path, identity)

    def measure(self, name: str, how: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what was measured under this name, or measures it and keeps it.

        Raises:
            ModelError: the file cannot be written.
        """
        if name not in self.measured:
            self.measured[name] = how()
            content = json.dumps({"identity": self.identity, "measured": self.measured})
            write_files({self.path.name: content.encode()}, self.path.parent)
        return self.measured[name]

    def done(self) -> None:
        """Forgets: what was measured stands in the results."""
        self.path.unlink(missing_ok=True)


def identity(database: EncodedSplit, queries: EncodedSplit, *, labelled: bool, seed: int) -> int:
    """Tells what is compared on from anything else."""
    found = zlib.crc32(repr((labelled, seed)).encode())
    for array in (database.features, database.labels, queries.features, queries.labels):
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return found


def _read(path: Path, identity: int) -> dict[str, dict[str, Any]]:
    try:
        kept = json.loads(path.read_bytes())
        return dict(kept["measured"]) if kept["identity"] == identity else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
