"""Read and validate a backup's `manifest.json`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import LookalikeError

MANIFEST = "manifest.json"
MOMENT = "as-of-"
# Names become paths and SQL identifiers; no version has written others.
_TABLE, _DIGEST = re.compile("[a-z_][a-z0-9_]{0,62}"), re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """The contents of a manifest.

    Attributes:
        source: the backup's folder.
        folder: the folder in it with tables and vectors.
        version: the version of Lookalike that wrote it.
        revision: the Alembic revision of its tables.
        columns: column names by table, in the order of restoring.
        digests: SHA-256 of each table's file; empty in backups of versions without digests.
        seq: the number of the last change to the catalogue.
        pictures: the number of images.
    """

    source: Path
    folder: Path
    version: str
    revision: str
    columns: dict[str, list[str]]
    digests: dict[str, str]
    seq: int
    pictures: int

    def table(self, name: str) -> Path:
        """The file with a table's rows."""
        return self.folder / "tables" / name


def read_manifest(source: Path) -> Manifest:
    """Read a backup's manifest.

    Raises:
        LookalikeError: the folder is not a complete backup, or the manifest is damaged.
        OSError: the manifest cannot be read.
    """
    path = source / MANIFEST
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LookalikeError(_not_a_backup(source)) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise _damaged(path, "it is not a JSON object")
    if "columns" not in found and isinstance(found.get("version"), str):
        raise LookalikeError(
            f"{source} was written by version {found['version']}. Restore it with that version, then update."
        )
    try:
        return _parsed(source, found)
    except (KeyError, ValueError) as error:
        raise _damaged(path, f"{error.args[0]!r} is missing or invalid") from error


def _parsed(source: Path, found: dict[str, Any]) -> Manifest:
    columns, digests = found.get("columns"), found.get("digests", {})
    _require("columns", isinstance(columns, dict) and bool(columns))
    for name, names in columns.items():  # type: ignore[union-attr] # checked above
        _require("columns", bool(_TABLE.fullmatch(name)) and isinstance(names, list) and bool(names))
        _require("columns", all(isinstance(one, str) and _TABLE.fullmatch(one) for one in names))
    _require("digests", isinstance(digests, dict))
    _require("digests", all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in digests.values()))
    folder = found.get("folder", ".")
    _require("folder", isinstance(folder, str) and (folder == "." or Path(folder).name == folder not in ("", "..")))
    for name in ("version", "revision"):
        _require(name, isinstance(found[name], str))
    for name in ("seq", "pictures"):
        _require(name, type(found[name]) is int and found[name] >= 0)
    return Manifest(
        source=source,
        folder=source / folder,
        columns=found["columns"],
        digests=digests,
        version=found["version"],
        revision=found["revision"],
        seq=found["seq"],
        pictures=found["pictures"],
    )


def _require(name: str, holds: bool) -> None:
    if not holds:
        raise ValueError(name)


def _damaged(path: Path, how: str) -> LookalikeError:
    return LookalikeError(f"{path} is damaged: {how}. Replace the file or the whole backup from another copy.")


def _not_a_backup(source: Path) -> str:
    if not source.is_dir():
        return f"{source} is not a folder. Use the folder that `lookalike backup` wrote."
    if (source.parent / MANIFEST).is_file():
        return f"{source} is part of a backup. Use its parent folder: {source.parent}."
    if any(source.glob(f"{MOMENT}*")):
        return f"{source} is not a complete backup: it ended before {MANIFEST} was written. Make a new backup."
    return f"{source} is not a complete backup: it has no {MANIFEST}. Use the folder that `lookalike backup` wrote."
