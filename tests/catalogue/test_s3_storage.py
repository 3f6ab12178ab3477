"""S3 storage: missing buckets, denied access and outages."""

import time
from pathlib import Path

import pytest

from app.catalogue.storage.local import content_hash
from app.catalogue.storage.s3 import S3Storage
from app.errors import UnavailableError
from tests.s3 import BUCKET, S3Server, s3

__all__ = ["s3"]

ONE, TWO = b"the first picture", bytes(range(256)) * 8000
FIRST, SECOND = content_hash(ONE), content_hash(TWO)


@pytest.fixture
def bucket(s3: S3Server) -> S3Storage:
    return S3Storage(f"s3://{BUCKET}")


def test_permission_check_leaves_no_objects(s3: S3Server, bucket: S3Storage) -> None:
    bucket.require()
    assert s3.objects() == set()


def test_missing_bucket_is_reported(s3: S3Server) -> None:
    with pytest.raises(UnavailableError, match="s3://elsewhere/here: the bucket does not exist"):
        S3Storage("s3://elsewhere/here").require()


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_access_denied_is_reported_without_secrets(
    s3: S3Server, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "another")
    with pytest.raises(UnavailableError, match="access denied") as refused:
        S3Storage(f"s3://{BUCKET}").require()
    assert "another" not in str(refused.value), "no secret in the message"


def test_unreachable_server_is_reported_within_seconds(s3: S3Server, bucket: S3Storage) -> None:
    bucket.store({FIRST: ONE})
    s3.stop()
    began = time.monotonic()
    for ask in (bucket.read, bucket.open, bucket.read_thumbnail, bucket.remove):
        with pytest.raises(UnavailableError, match="cannot be reached") as away:
            ask(FIRST)
        assert away.value.retry_after > 0
    with pytest.raises(UnavailableError):
        bucket.store({SECOND: TWO})
    with pytest.raises(UnavailableError):
        bucket.store_thumbnails({FIRST: b"small", SECOND: b"small"})
    with pytest.raises(UnavailableError):
        list(bucket.hashes())
    assert time.monotonic() - began < 7 * 5
    s3.start()
    assert bucket.read(FIRST) == ONE
    assert set(bucket.hashes()) == {FIRST}


def test_deleted_bucket_is_not_reported_as_a_missing_image(s3: S3Server, bucket: S3Storage) -> None:
    bucket.store({FIRST: ONE})
    s3.stop()
    (s3.folder / BUCKET).rename(s3.folder / "another")
    s3.start()
    with pytest.raises(UnavailableError, match="bucket does not exist"):
        bucket.read(FIRST)
    with pytest.raises(UnavailableError, match="bucket does not exist"):
        bucket.store({SECOND: TWO})


def test_interrupted_download_raises(s3: S3Server, bucket: S3Storage, tmp_path: Path) -> None:
    large = b"0123456789abcdef" * 2_000_000
    sha256 = content_hash(large)
    bucket.store({sha256: large})
    picture = bucket.open(sha256)
    first = next(picture.chunks)
    s3.stop()
    with pytest.raises(UnavailableError):
        assert len(first) + sum(len(chunk) for chunk in picture.chunks) < len(large)
