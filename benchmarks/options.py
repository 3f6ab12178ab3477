"""What every benchmark is told: sizes, and where its files go."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# The paper's (section 4.4).
PAPERS_SIZE = 1_124_087
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """Sizes of a run.

    Attributes:
        images: how many; None for the benchmark's own full size.
        floats: sizes of F7; None for the benchmark's own.
        bits: sizes of codes; None for the benchmark's own.
        folder: where large files lie while it runs.
    """

    images: int | None = None
    floats: tuple[int, ...] | None = None
    bits: tuple[int, ...] | None = None
    folder: Path = Path("benchmarks/data")


def space_shortage(folder: Path, needed: float) -> str | None:
    """Return a sentence about what is missing where a folder has no room for so many bytes, and None where it has."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed * 1.05 <= free:
        return None
    return f"{needed / 1e9:.1f} GB wanted, {free / 1e9:.1f} GB free on {folder}"
