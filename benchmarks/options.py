"""Options of all benchmarks: sizes, and the folder for files."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Number of images in the paper (section 4.4).
PAPERS_SIZE = 1_124_087
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """Sizes of a run.

    Attributes:
        images: number of images; None for the benchmark's full size.
        floats: sizes of F7; None for the benchmark's default.
        bits: sizes of codes; None for the benchmark's default.
        folder: folder for large temporary files.
        url: for `load`, the address of a running service; None to start one.
        rates: for `load`, searches a second; None for the default.
        seconds: for `load`, the duration of each rate; None for the default.
    """

    images: int | None = None
    floats: tuple[int, ...] | None = None
    bits: tuple[int, ...] | None = None
    folder: Path = Path("benchmarks/data")
    url: str | None = None
    rates: tuple[int, ...] | None = None
    seconds: int | None = None


def space_shortage(folder: Path, needed: float) -> str | None:
    """Return a message if a folder has less disk space than needed, else None."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed * 1.05 <= free:
        return None
    return f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free on {folder}"
