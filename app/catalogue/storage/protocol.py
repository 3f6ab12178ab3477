"""Where originals and thumbnails live: one protocol that a folder and a bucket both fulfil.

Both use the same names, so that pictures move from one to the other by being copied: `originals/ab/abcd…`, by the
SHA-256 of the original's bytes, and `thumbnails/ab/abcd….jpg`. Names that people give never become part of them.
Knows nothing of SQL.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

# What is sent at a time of a picture that somebody asks for.
CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class OpenPicture:
    """An original on its way out.

    Attributes:
        size: bytes.
        chunks: them, in order; raises `UnavailableError` where the rest cannot be had.
        close: gives back what is held open.
    """

    size: int
    chunks: Iterator[bytes]
    close: Callable[[], None]


class PictureStore(Protocol):
    """Originals and thumbnails by hash. Whatever cannot be reached or has no room raises `UnavailableError`."""

    @property
    def late_s(self) -> float:
        """Seconds after which a deletion that failed, or whose process has ended, is certain not to happen any more."""
        ...

    def store(self, originals: Mapping[str, bytes]) -> None:
        """Keeps originals by hash; when this returns nothing but a deletion takes them away. Those there stay."""
        ...

    def missing(self, hashes: Collection[str]) -> set[str]:
        """Returns which originals are not there."""
        ...

    def set_aside(self, sha256: str) -> None:
        """Puts an original that is damaged out of the way of a good one, into `damaged/`."""
        ...

    def store_thumbnails(self, thumbnails: Mapping[str, bytes]) -> None:
        """Keeps thumbnails by the hash of their originals, each whole or not at all."""
        ...

    def read(self, sha256: str) -> bytes:
        """Returns an original.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...

    def open(self, sha256: str) -> OpenPicture:
        """Opens an original to be sent piece by piece, whole even if it is removed meanwhile.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...

    def read_thumbnail(self, sha256: str) -> bytes:
        """Returns the thumbnail of an original.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...

    def remove(self, sha256: str) -> None:
        """Deletes an original and its thumbnail, if they are there."""
        ...

    def remove_unfinished(self, sha256: str, process: int) -> None:
        """Deletes what a process that is no more had begun to write of an original and its thumbnail."""
        ...

    def hashes(self, older_than: float | None = None) -> Iterable[str]:
        """Lists the hashes of all originals, or of those that came more than so many seconds ago."""
        ...


def original_name(sha256: str) -> str:
    """Returns what an original is called."""
    return f"originals/{sha256[:2]}/{sha256}"


def thumbnail_name(sha256: str) -> str:
    """Returns what the thumbnail of an original is called."""
    return f"thumbnails/{sha256[:2]}/{sha256}.jpg"


def bucket_and_prefix(location: str) -> tuple[str, str]:
    """Takes `s3://BUCKET/PREFIX` apart; the prefix may be empty.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(location)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"names a bucket, as s3://BUCKET or s3://BUCKET/PREFIX, which {location} does not")
    return parts.netloc, parts.path.strip("/")
