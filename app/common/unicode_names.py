"""Unicode normalisation of names: `é` as one character and as `e` with an accent are one name.

macOS and some cameras write the second form, most keyboards and programs the first. Text of the catalogue (keys,
labels, metadata) is in normalisation form C, and everything that is compared with it is converted first.
"""

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

Json = TypeVar("Json")
_CACHED_FOLDERS = 64


def nfc(text: str) -> str:
    """Convert text to normalisation form C (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def nfc_json(value: Json) -> Json:
    """Convert all text of a JSON value, field names included, to NFC.

    Of two fields with one name the last is used; `app.common.json_values.validate_json` rejects them.
    """
    if isinstance(value, str):
        return cast("Json", nfc(value))
    if isinstance(value, dict):
        return cast("Json", {nfc(name): nfc_json(child) for name, child in value.items()})
    if isinstance(value, list):
        return cast("Json", [nfc_json(child) for child in value])
    return value


class PathFinder:
    """Finds the files that a table names, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = lru_cache(maxsize=_CACHED_FOLDERS)(_list_names)

    def find(self, relative: str) -> Path:
        r"""Return the path of a file whose name may be in another normalisation form, or written with `\`.

        Returns the path as it is written if it exists, or if no file has that name.
        """
        exact = self._folder / relative
        if _exists(exact) or (relative.isascii() and "\\" not in relative):
            return exact
        for written in dict.fromkeys((relative, relative.replace("\\", "/"))):
            found = self._folder
            for part in Path(written).parts:
                found /= part if _exists(found / part) else self._names(found).get(nfc(part), part)
            if _exists(found):
                return found
        return exact


def _list_names(folder: Path) -> dict[str, str]:
    """Map the NFC of a folder's names to the names."""
    try:
        return {nfc(path.name): path.name for path in folder.iterdir()}
    except (OSError, ValueError):
        return {}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is too long, or a folder cannot be read
        return False
