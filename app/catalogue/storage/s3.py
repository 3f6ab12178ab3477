"""S3 storage: originals and thumbnails in a bucket of Amazon S3 or a compatible server.

A PUT is atomic, and every request after the response of a PUT or DELETE sees its effect (Amazon S3 User Guide, "Amazon
S3 data consistency model"). So no temporary names and no syncs are needed. Each request is signed with a hash of its
body, so the server rejects data that was damaged in transit.

Credentials, region and endpoint come from the variables of AWS's tools: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_REGION`, `AWS_ENDPOINT_URL`. Without them, on AWS, they come from the role of the machine or container.
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

from app.catalogue.storage.protocol import CHUNK_BYTES, OriginalStream, bucket_and_prefix, original_name, thumbnail_name
from app.errors import UnavailableError

if TYPE_CHECKING:
    # These names exist only for type checkers.
    from obstore.store import ClientConfig, RetryConfig

Item = TypeVar("Item")
Result = TypeVar("Result")

# Concurrent requests per call; they mostly wait for the network.
_THREADS = 16
# Short timeouts, because a client is waiting for the response.
_CLIENT_OPTIONS: "ClientConfig" = {
    # Only has an effect if the configured endpoint is an http:// URL.
    "allow_http": True,
    "connect_timeout": timedelta(seconds=2),
    "timeout": timedelta(seconds=30),
}
_RETRY_OPTIONS: "RetryConfig" = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}
# S3 rejects a request 15 minutes after it was signed; one minute more for clock differences.
_LATE_S = 960.0
# Exceptions of a listing do not distinguish access errors from others.
_ACCESS_DENIED = re.compile("40[13] (Unauthorized|Forbidden)")
# Object that `require` writes and deletes to check the permissions.
_PROBE_NAME = "probe"
_LIST_PAGE_SIZE = 1000


class NoBucketError(UnavailableError):
    """The bucket does not exist."""

    def __init__(self, location: str) -> None:
        super().__init__(f"{location}: the bucket does not exist. Create it.", retry_after=60)


class S3Storage:
    """Image store in an S3 bucket, below one prefix.

    Args:
        location: `s3://BUCKET/PREFIX`, used by one catalogue only.
    """

    max_delay_s = _LATE_S

    def __init__(self, location: str) -> None:
        self._location = location
        bucket, prefix = bucket_and_prefix(location)
        with self._translated():
            self._bucket = S3Store(
                bucket, prefix=prefix or None, client_options=_CLIENT_OPTIONS, retry_config=_RETRY_OPTIONS
            )

    def require(self) -> None:
        """Check that the bucket exists and the credentials permit listing, writing and deleting.

        Raises:
            UnavailableError: it does not, or they do not.
        """
        with self._translated():
            next(iter(self._bucket.list(chunk_size=1)), None)
            self._bucket.put(_PROBE_NAME, b"", use_multipart=False)
            self._bucket.delete(_PROBE_NAME)

    def store(self, originals: Mapping[str, bytes]) -> None:
        """Put missing originals; see `PictureStore.store`."""
        _map_concurrently(lambda sha256: self._put(original_name(sha256), originals[sha256]), self.missing(originals))

    def missing(self, hashes: Collection[str]) -> set[str]:
        """Return which originals do not exist; see `PictureStore.missing`."""
        exists_flags = _map_concurrently(self._exists, hashes)
        return {sha256 for sha256, exists in zip(hashes, exists_flags, strict=True) if not exists}

    def set_aside(self, sha256: str) -> None:
        """Move a damaged original away; see `PictureStore.set_aside`."""
        with self._translated():
            self._bucket.rename(original_name(sha256), f"damaged/{sha256}")

    def store_thumbnails(self, thumbnails: Mapping[str, bytes]) -> None:
        """Put thumbnails; see `PictureStore.store_thumbnails`."""
        _map_concurrently(lambda item: self._put(thumbnail_name(item[0]), item[1]), thumbnails.items())

    def read(self, sha256: str) -> bytes:
        """Get an original; see `PictureStore.read`."""
        return self._get(original_name(sha256))

    def open(self, sha256: str) -> OriginalStream:
        """Open an original for streaming; see `PictureStore.open`."""
        with self._translated():
            result = self._bucket.get(original_name(sha256))
            size, stream = result.meta["size"], result.stream(min_chunk_size=CHUNK_BYTES)

        def chunks() -> Iterator[bytes]:
            with self._translated():
                for chunk in stream:
                    yield bytes(chunk)

        # The connection is released with the last reference to the stream.
        return OriginalStream(size, chunks(), lambda: None)

    def read_thumbnail(self, sha256: str) -> bytes:
        """Get a thumbnail; see `PictureStore.read_thumbnail`."""
        return self._get(thumbnail_name(sha256))

    def remove(self, sha256: str) -> None:
        """Delete an original and its thumbnail; see `PictureStore.remove`."""
        with self._translated():
            self._bucket.delete([thumbnail_name(sha256), original_name(sha256)])

    def remove_unfinished(self, sha256: str, process: int) -> None:
        """Do nothing: a PUT is atomic, so there are no temporary files."""

    def hashes(self, older_than: float | None = None) -> Iterator[str]:
        """List originals; see `PictureStore.hashes`."""
        now = time.time()
        with self._translated():
            for listed in self._bucket.list("originals", chunk_size=_LIST_PAGE_SIZE):
                for result in listed:
                    if older_than is None or now - result["last_modified"].timestamp() > older_than:
                        yield result["path"].rpartition("/")[2]

    def _exists(self, sha256: str) -> bool:
        try:
            with self._translated():
                self._bucket.head(original_name(sha256))
        except FileNotFoundError:
            return False
        return True

    def _put(self, name: str, data: bytes) -> None:
        with self._translated():
            # One request for any size: a crash during a multipart upload would leave parts behind.
            self._bucket.put(name, data, use_multipart=False)

    def _get(self, name: str) -> bytes:
        with self._translated():
            return bytes(self._bucket.get(name).bytes())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate obstore's exceptions.

        Raises:
            FileNotFoundError: the object does not exist.
            UnavailableError: the bucket is unavailable.
        """
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise NoBucketError(self._location) from error
            if isinstance(error, FileNotFoundError):
                raise
            if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _ACCESS_DENIED.search(str(error)):
                raise UnavailableError(
                    f"{self._location}: access denied{code and f' ({code})'}. Set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY to a key that may list the bucket, and get, put and delete objects.",
                    retry_after=60,
                ) from error
            raise UnavailableError(
                f"{self._location} cannot be reached: {_reason(error)}. Check AWS_ENDPOINT_URL and the network."
            ) from error


def _map_concurrently(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Call `work` for all items in threads; all calls have ended when the first exception is raised."""
    item_list = list(items)
    with ThreadPoolExecutor(min(_THREADS, len(item_list)) or 1, "bucket") as threads:
        return list(threads.map(work, item_list))


def _code(error: Exception) -> str:
    """Return the S3 error code, such as AccessDenied; empty if there is none."""
    result = re.search(r"<Code>(\w+)</Code>", str(error))
    return result.group(1) if result else ""


def _reason(error: Exception) -> str:
    """Return the reason, which is the end of the first line, after URL and attempts."""
    first_line = (str(error).splitlines() or ["no response"])[0]
    return first_line.rpartition(" - ")[2].partition(": <?xml")[0].strip().rstrip(".")
