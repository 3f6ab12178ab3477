"""Archives that arrive for jobs, in the data folder: each has its name only when all of it is on the disk."""

import secrets
from pathlib import Path
from types import TracebackType

from app.catalogue.disk import Disk, age

# A file that no job needs and that is older is what a crash left behind.
_OLD_S = 86_400
_WHAT = "archives of jobs"


class JobFiles:
    """The folder of archives."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder, self._disk = folder, disk

    def path(self, archive: str) -> Path:
        """Returns where an archive lies."""
        return self._folder / archive

    def arrive(self, expected: int | None) -> "Arrival":
        """Begins to take an archive, of so many bytes where its sender has said so.

        Raises:
            UnavailableError: there is no room for it.
        """
        self._disk.require()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._disk.require_room(expected or 0)
        return Arrival(self._folder, self._disk)

    def remove(self, archive: str) -> None:
        """Deletes an archive that is done with."""
        self.path(archive).unlink(missing_ok=True)

    def sweep(self, in_use: set[str]) -> None:
        """Deletes what a crash left behind."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.name not in in_use and age(path) > _OLD_S:
                path.unlink(missing_ok=True)


class Arrival:
    """An archive that arrives; used as a context manager, which forgets what was not kept."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder, self._disk, self._name = folder, disk, secrets.token_hex(16)
        self.path = folder / f".{self._name}"
        self.size = 0

    def __enter__(self) -> "Arrival":
        self._file = self.path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Takes a part of it.

        Raises:
            UnavailableError: there is no more room.
        """
        try:
            with self._disk.claimed(len(data)):
                self._file.write(data)
        except OSError as error:
            raise self._disk.refusal(error, _WHAT) from error
        self.size += len(data)

    def complete(self) -> None:
        """Makes sure that everything that was taken can be read at `path`.

        Raises:
            UnavailableError: there is no more room.
        """
        try:
            self._file.flush()
        except OSError as error:
            raise self._disk.refusal(error, _WHAT) from error

    def keep(self) -> str:
        """Gives it its name; when this returns it survives a power cut.

        Raises:
            UnavailableError: the disk has failed.
        """
        self._disk.sync(self._file.fileno())
        self.path.replace(self._folder / self._name)
        self._disk.sync_path(self._folder)
        return self._name
