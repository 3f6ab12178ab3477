"""Save measurements of a comparison, so that the same command resumes after an interruption."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.comparison.data import EncodedSplit
from models.reports.report import write_files


class ResumeFile:
    """Measurements by name in a JSON file that exists until the comparison is complete.

    Args:
        path: the file; ignored if it is damaged or of other data.
        identity: checksum of the data, from `identity`.
    """

    def __init__(self, path: Path, identity: int) -> None:
        self.path, self.identity = path, identity
        self.measured = _read(path, identity)

    def measure(self, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the saved measurement of this name, or measure and save it.

        Raises:
            ModelError: the file cannot be written.
        """
        if name not in self.measured:
            self.measured[name] = run()
            content = json.dumps({"identity": self.identity, "measured": self.measured})
            write_files({self.path.name: content.encode()}, self.path.parent)
        return self.measured[name]

    def delete(self) -> None:
        """Delete the file once the results are written."""
        self.path.unlink(missing_ok=True)


def identity(database: EncodedSplit, queries: EncodedSplit, *, labelled: bool, seed: int) -> int:
    """Return a checksum of the compared data."""
    found = zlib.crc32(repr((labelled, seed)).encode())
    for array in (database.features, database.labels, queries.features, queries.labels):
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return found


def _read(path: Path, identity: int) -> dict[str, dict[str, Any]]:
    try:
        saved = json.loads(path.read_bytes())
        return dict(saved["measured"]) if saved["identity"] == identity else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
