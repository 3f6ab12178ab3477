"""Files that a source passes over because of their names."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.data.image_files import IMAGE_SUFFIXES

# Names kept of the skipped files; the others are only counted.
MAX_NAMES = 20


@dataclass
class SkippedFiles:
    """Files whose names are not those of images: their number, and the first names."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str, times: int = 1) -> None:
        """Count a file, `times` if it occurs more than once."""
        self.extend(times, [name])

    def extend(self, count: int, names: Sequence[str]) -> None:
        """Count several files, of which some names are known."""
        self.count += count
        self.names.extend(names[: MAX_NAMES - len(self.names)])

    def __str__(self) -> str:
        """A sentence with the number and the first names; empty if there are none."""
        if not self.count:
            return ""
        more = self.count - len(self.names)
        names = ", ".join(self.names) + (f" and {more:,} more" if more else "")
        if self.count == 1:
            return f"1 file was skipped, because its name is not that of an image: {names}."
        return f"{self.count:,} files were skipped, because their names are not those of images: {names}."


def nothing_found(skipped: SkippedFiles) -> str:
    """The error for sources without any entry."""
    found = str(skipped) or "There are no files."
    return f"Nothing to index. {found} Names of images end in {', '.join(sorted(IMAGE_SUFFIXES))}."
