"""Originals and thumbnails in a bucket of Amazon S3, or of a server that speaks its protocol.

What is put is there whole or not at all, and once a PUT or DELETE is answered every later request sees it (Amazon S3
User Guide, "Amazon S3 data consistency model"). So there are no temporary names, and nothing is to be synced. Every
request is signed together with a hash of its body: a server takes nothing that was damaged on its way.

Credentials, region and address come from the environment, by the names that AWS's own tools know:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`. On AWS without them, from the role of
the machine or container.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from app.catalogue.storage.protocol import CHUNK_BYTES, OpenPicture, bucket_and_prefix, original_name, thumbnail_name
from app.errors import UnavailableError

if TYPE_CHECKING:
    # They exist for type checkers alone.
    from obstore.store import ClientConfig, RetryConfig

Item = TypeVar("Item")
Result = TypeVar("Result")

# Requests under way at a time for one call: each takes milliseconds of waiting and next to no work.
_AT_A_TIME = 16
# A server that is away is found out within seconds, since somebody waits for the answer.
_CLIENT: "ClientConfig" = {
    # Only an address that begins with http:// makes use of it, and that was somebody's choice.
    "allow_http": True,
    "connect_timeout": timedelta(seconds=2),
    "timeout": timedelta(seconds=30),
}
_RETRY: "RetryConfig" = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}
# S3 refuses a request 15 minutes after it was signed; another minute is for clocks that differ.
_LATE_S = 960.0
# Listing does not tell refusals from other failures by its exceptions.
_REFUSED = re.compile("40[13] (Unauthorized|Forbidden)")
# What a start writes and removes, to find out whether it may.
_PROBE = "probe"
_LISTED_AT_A_TIME = 1000


class NoBucketError(UnavailableError):
    """There is no bucket of this name, or none any more."""

    def __init__(self, location: str) -> None:
        super().__init__(f"{location}: there is no such bucket. Create it first.", retry_after=60)


class PictureBucket:
    """A bucket's originals and thumbnails, all below one prefix.

    Args:
        location: `s3://BUCKET/PREFIX`; one catalogue has it for itself.
    """

    late_s = _LATE_S

    def __init__(self, location: str) -> None:
        self._location = location
        bucket, prefix = bucket_and_prefix(location)
        with self._translated():
            self._bucket = S3Store(bucket, prefix=prefix or None, client_options=_CLIENT, retry_config=_RETRY)

    def require(self) -> None:
        """Finds out at the start what would otherwise fail later: that the bucket is there and the key may use it.

        Raises:
            UnavailableError: not so; the text says what to do.
        """
        with self._translated():
            next(iter(self._bucket.list(chunk_size=1)), None)
            self._bucket.put(_PROBE, b"", use_multipart=False)
            self._bucket.delete(_PROBE)

    def store(self, originals: Mapping[str, bytes]) -> None:
        """Puts originals that are not there; see `PictureStore.store`."""
        _each(lambda sha256: self._put(original_name(sha256), originals[sha256]), self.missing(originals))

    def missing(self, hashes: Collection[str]) -> set[str]:
        """Returns which originals are not there; see `PictureStore.missing`."""
        there = _each(self._exists, hashes)
        return {sha256 for sha256, exists in zip(hashes, there, strict=True) if not exists}

    def set_aside(self, sha256: str) -> None:
        """Moves a damaged original away; see `PictureStore.set_aside`."""
        with self._translated():
            self._bucket.rename(original_name(sha256), f"damaged/{sha256}")

    def store_thumbnails(self, thumbnails: Mapping[str, bytes]) -> None:
        """Puts thumbnails; see `PictureStore.store_thumbnails`."""
        _each(lambda item: self._put(thumbnail_name(item[0]), item[1]), thumbnails.items())

    def read(self, sha256: str) -> bytes:
        """Gets an original; see `PictureStore.read`."""
        return self._get(original_name(sha256))

    def open(self, sha256: str) -> OpenPicture:
        """Opens an original to be sent piece by piece; see `PictureStore.open`."""
        with self._translated():
            found = self._bucket.get(original_name(sha256))
            size, stream = found.meta["size"], found.stream(min_chunk_size=CHUNK_BYTES)

        def chunks() -> Iterator[bytes]:
            with self._translated():
                for chunk in stream:
                    yield bytes(chunk)

        # The connection goes back when the last reference to the stream goes.
        return OpenPicture(size, chunks(), lambda: None)

    def read_thumbnail(self, sha256: str) -> bytes:
        """Gets a thumbnail; see `PictureStore.read_thumbnail`."""
        return self._get(thumbnail_name(sha256))

    def remove(self, sha256: str) -> None:
        """Deletes an original and its thumbnail; see `PictureStore.remove`."""
        with self._translated():
            self._bucket.delete([thumbnail_name(sha256), original_name(sha256)])

    def remove_unfinished(self, sha256: str, process: int) -> None:
        """Has nothing to do: what is put is there whole or not at all."""

    def hashes(self, older_than: float | None = None) -> Iterator[str]:
        """Lists originals; see `PictureStore.hashes`."""
        now = time.time()
        with self._translated():
            for listed in self._bucket.list("originals", chunk_size=_LISTED_AT_A_TIME):
                for found in listed:
                    if older_than is None or now - found["last_modified"].timestamp() > older_than:
                        yield found["path"].rpartition("/")[2]

    def _exists(self, sha256: str) -> bool:
        try:
            with self._translated():
                self._bucket.head(original_name(sha256))
        except FileNotFoundError:
            return False
        return True

    def _put(self, name: str, data: bytes) -> None:
        with self._translated():
            # In one request, whatever its size: of many parts a crash would leave some behind.
            self._bucket.put(name, data, use_multipart=False)

    def _get(self, name: str) -> bytes:
        with self._translated():
            return bytes(self._bucket.get(name).bytes())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Has what the library raises leave as the project's own errors, but for what is not there.

        Raises:
            FileNotFoundError: there is no object of this name.
            UnavailableError: the bucket cannot be used now.
        """
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise NoBucketError(self._location) from error
            if isinstance(error, FileNotFoundError):
                raise
            if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _REFUSED.search(str(error)):
                raise UnavailableError(
                    f"{self._location} refuses the key{code and f' ({code})'}. AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY must be of one that may list the bucket, and get, put and delete in it.",
                    retry_after=60,
                ) from error
            raise UnavailableError(f"{self._location} cannot be reached: {_reason(error)}.") from error


def _each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Does something with all of them, several at a time; all have ended when the first failure is raised."""
    todo = list(items)
    with ThreadPoolExecutor(min(_AT_A_TIME, len(todo)) or 1, "bucket") as threads:
        return list(threads.map(work, todo))


def _code(error: Exception) -> str:
    """Returns the server's own word for what is wrong, such as AccessDenied, if it has one."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found.group(1) if found else ""


def _reason(error: Exception) -> str:
    """Returns the end of the first line, which says what went wrong; before it stand address and attempts."""
    first_line = (str(error).splitlines() or ["no answer"])[0]
    return first_line.rpartition(" - ")[2].partition(": <?xml")[0].strip().rstrip(".")
