"""A backup's `manifest.json`: what it says, and what is wrong where it says nothing that can be used."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import LookalikeError

MANIFEST = "manifest.json"
MOMENT = "as-of-"
# Names become paths and SQL; nothing that this project ever wrote has others.
_TABLE, _DIGEST = re.compile("[a-z_][a-z0-9_]{0,62}"), re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        source: the backup's folder.
        folder: the folder in it that has tables and vectors.
        version: the version that made it.
        revision: the migration whose tables its rows are of.
        columns: by table, in the order in which they are restored.
        digests: the SHA-256 of each table's file; empty for backups of versions that kept none.
        seq: the number of the last change.
        pictures: how many there are.
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
        """Returns the file with a table's rows."""
        return self.folder / "tables" / name


def read_manifest(source: Path) -> Manifest:
    """Reads a backup's manifest.

    Raises:
        LookalikeError: the folder is no whole backup, or the manifest is damaged.
        OSError: it cannot be read.
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
        raise LookalikeError(f"{source} is of version {found['version']}. Restore it with that, then update.")
    try:
        return _parsed(source, found)
    except (KeyError, ValueError) as error:
        raise _damaged(path, f"its {error.args[0]} is missing or has an odd value") from error


def _parsed(source: Path, found: dict[str, Any]) -> Manifest:
    columns, digests = found.get("columns"), found.get("digests", {})
    _require("columns", isinstance(columns, dict) and bool(columns))
    for name, names in columns.items():  # type: ignore[union-attr] # it is a dict
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
    numbers = {name: found[name] for name in ("version", "revision", "seq", "pictures")}
    return Manifest(source=source, folder=source / folder, columns=columns, digests=digests, **numbers)  # type: ignore[arg-type]


def _require(name: str, holds: bool) -> None:
    if not holds:
        raise ValueError(name)


def _damaged(path: Path, how: str) -> LookalikeError:
    return LookalikeError(f"{path} is damaged: {how}. Take the file, or the whole backup, from another copy of it.")


def _not_a_backup(source: Path) -> str:
    if not source.is_dir():
        return f"{source} is not a folder. Name the one that `lookalike backup` wrote."
    if (source.parent / MANIFEST).is_file():
        return f"{source} is part of a backup. Name the whole one: {source.parent}."
    if any(source.glob(f"{MOMENT}*")):
        return f"{source} is not a whole backup: it was cut off before its {MANIFEST} was written. Make another one."
    return f"{source} is not a whole backup: it has no {MANIFEST}. Name the folder that `lookalike backup` wrote."
