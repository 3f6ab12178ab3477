"""Recorded HEIC files, because the installed decoder cannot encode.

Each is named by what `tests/images.py` draws, its size, and the EXIF orientation if there is one. `record.py` writes
them.
"""

from pathlib import Path

FOLDER = Path(__file__).parent


def recorded(name: str, orientation: int | None = None) -> bytes:
    """Returns a recorded file, such as `gradient-64x48`.

    Raises:
        LookupError: it was not recorded.
    """
    path = path_of(name, orientation)
    if not path.exists():
        raise LookupError(f"{path.name} is not recorded. Add it to tests/heic/record.py and run that.")
    return path.read_bytes()


def path_of(name: str, orientation: int | None = None) -> Path:
    return FOLDER / f"{name}{f'-{orientation}' if orientation else ''}.heic"
