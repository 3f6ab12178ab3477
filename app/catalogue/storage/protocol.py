"""Image storage protocol: originals and thumbnails, in a local folder or an S3 bucket.

Both use the same names, so that images can be moved by copying the files: `originals/ab/abcd…`, by the SHA-256 of the
original's bytes, and `thumbnails/ab/abcd….jpg`. Names from users never become part of them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

# Chunk size for streaming an original.
CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class OriginalStream:
    """An original opened for streaming.

    Attributes:
        size: bytes.
        chunks: the bytes, in order; raises `UnavailableError` if reading fails.
        close: releases the file or connection.
    """

    size: int
    chunks: Iterator[bytes]
    close: Callable[[], None]


class ImageStorage(Protocol):
    """Originals and thumbnails by hash. Unavailable or full storage raises `UnavailableError`."""

    @property
    def max_delay_s(self) -> float:
        """Seconds after which a failed or interrupted deletion can no longer be carried out by the storage."""
        ...

    def store(self, originals: Mapping[str, bytes]) -> None:
        """Store originals by hash, durably; existing ones are not written again."""
        ...

    def missing(self, hashes: Collection[str]) -> set[str]:
        """Return which originals do not exist."""
        ...

    def set_aside(self, sha256: str) -> None:
        """Move a damaged original to `damaged/`, so that an intact one can be stored."""
        ...

    def store_thumbnails(self, thumbnails: Mapping[str, bytes]) -> None:
        """Store thumbnails by the hash of their originals, each atomically; existing ones are replaced."""
        ...

    def read(self, sha256: str) -> bytes:
        """Read an original.

        Raises:
            FileNotFoundError: it does not exist.
        """
        ...

    def open(self, sha256: str) -> OriginalStream:
        """Open an original for streaming; it stays readable if it is deleted meanwhile.

        Raises:
            FileNotFoundError: it does not exist.
        """
        ...

    def read_thumbnail(self, sha256: str) -> bytes:
        """Read the thumbnail of an original.

        Raises:
            FileNotFoundError: it does not exist.
        """
        ...

    def remove(self, sha256: str) -> None:
        """Delete an original and its thumbnail, if they exist."""
        ...

    def remove_unfinished(self, sha256: str, process: int) -> None:
        """Delete temporary files of an original and its thumbnail, left by a process that has ended."""
        ...

    def hashes(self, older_than: float | None = None) -> Iterable[str]:
        """List the hashes of all originals, or of those stored more than `older_than` seconds ago."""
        ...


def original_name(sha256: str) -> str:
    """Return the file or object name of an original."""
    return f"originals/{sha256[:2]}/{sha256}"


def thumbnail_name(sha256: str) -> str:
    """Return the file or object name of an original's thumbnail."""
    return f"thumbnails/{sha256[:2]}/{sha256}.jpg"


def bucket_and_prefix(location: str) -> tuple[str, str]:
    """Split `s3://BUCKET/PREFIX` into bucket and prefix; the prefix may be empty.

    Raises:
        ValueError: the location has another form.
    """
    parts = urlsplit(location)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{location} is not of the form s3://BUCKET or s3://BUCKET/PREFIX")
    return parts.netloc, parts.path.strip("/")
