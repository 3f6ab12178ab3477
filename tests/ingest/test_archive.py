"""Archives as sources: what is in them is found, what is wrong with them is said, and nothing is unpacked."""

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from app.errors import InvalidInputError
from app.ingest.archive import Archive, is_archive
from app.ingest.archive_members import ArchiveLimits, ArchiveRefusedError
from app.ingest.entries import Entry, UnusableError, check
from tests.ingest.archives import gzipped, tarred, zipped

LIMITS = ArchiveLimits(1000, members=50, bytes=100_000)
FILES = {"boots/one.jpg": b"1", "./hats/two.PNG": b"22", "/three.gif": b"333", "notes.txt": b"none", "a/._one.jpg": b""}
MAKERS: list[Callable[[Mapping[str, bytes]], bytes]] = [zipped, tarred, gzipped]

makers = pytest.mark.parametrize("made", MAKERS, ids=["zip", "tar", "tar.gz"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def archive(path: Path, data: bytes, limits: ArchiveLimits = LIMITS) -> Archive:
    path.write_bytes(data)
    return Archive(path, limits, "archive")


def found(source: Archive) -> dict[str, bytes | str]:
    """What each entry gives when it is read: its bytes, or why not."""
    entries = list(source)
    # A file in whose middle the archive ends was counted before anybody knew.
    assert source.count() - len(entries) in ((0, 1) if source.damage else (0,))
    return {entry.key: read(entry) for entry in entries}


def read(entry: Entry) -> bytes | str:
    try:
        return entry.read()
    except UnusableError as error:
        return str(error)


@makers
def test_pictures_come_with_their_path_as_key_and_their_folder_as_label(
    path: Path, made: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    source = archive(path, made(FILES))
    entries = [(entry.key, entry.given, entry.read()) for entry in source]
    assert entries == [
        ("boots/one.jpg", {"label": "boots"}, b"1"),
        ("hats/two.PNG", {"label": "hats"}, b"22"),
        ("three.gif", {}, b"333"),
    ]
    assert source.count() == 3
    assert source.damage is None
    assert [entry.key for entry in source] == [key for key, _, _ in entries], "it can be gone through again"
    assert list(path.parent.iterdir()) == [path], "nothing was unpacked"


@makers
@pytest.mark.parametrize("place", ["", "photos/"])
def test_a_table_says_more(path: Path, made: Callable[[Mapping[str, bytes]], bytes], place: str) -> None:
    rows = [
        {"file": "a/one.jpg", "key": "sku-1", "label": "boots", "price": 3},
        {"file": "a/one.jpg", "key": "sku-2"},
        {"file": "two.data", "size": 4},
        {"file": "gone.jpg", "key": "sku-3"},
        ["no object"],
    ]
    files = {f"{place}a/one.jpg": b"1", f"{place}two.data": b"2", f"{place}b/three.jpg": b"3", "four.data": b"4"}
    table = {f"{place}metadata.jsonl": "\n".join(map(json.dumps, rows)).encode()}
    for order in ({**files, **table}, {**table, **files}):
        source = archive(path, made(order))
        assert found(source) == {
            "sku-1": b"1",
            "sku-2": b"1",
            "two.data": b"2",
            f"{place}b/three.jpg": b"3",
            "sku-3": "There is no file gone.jpg.",
            "line 5": "This is not a JSON object.",
        }
        said = {entry.key: entry.given for entry in source}
        assert said["sku-1"] == {"label": "boots", "fields": {"price": 3}}
        assert (said["sku-2"], said["two.data"]) == ({}, {"fields": {"size": 4}})
        assert said[f"{place}b/three.jpg"] == {"label": "b"}


def test_a_table_that_is_none_is_said(path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no column 'file'"):
        archive(path, zipped({"metadata.csv": b"name,label\nx,y\n"})).count()


@makers
def test_a_file_that_is_too_large_is_not_read(path: Path, made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    source = archive(path, made({"large.jpg": bytes(1001), "small.jpg": b"1"}))
    assert found(source) == {
        "large.jpg": "The file has more than 1,000 bytes, the most that is taken.",
        "small.jpg": b"1",
    }


@makers
def test_too_many_files_or_bytes_are_refused_before_anything_is_taken(
    path: Path, made: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(path, made({f"{at}.txt": b"" for at in range(51)})).count()
    with pytest.raises(ArchiveRefusedError, match="unpacks to more than 100,000 bytes"):
        archive(path, made({"a.bin": bytes(60_000), "b.bin": bytes(60_000)})).count()


def test_a_directory_of_a_zip_that_claims_too_much_is_not_read(path: Path) -> None:
    whole = bytearray(zipped({"a.jpg": b"1"}))
    end = whole.rindex(b"PK\x05\x06")
    struct.pack_into("<I", whole, end + 12, 2**31)
    with pytest.raises(ArchiveRefusedError, match="directory"):
        archive(path, bytes(whole)).count()


@pytest.mark.parametrize("made", [tarred, gzipped], ids=["tar", "tar.gz"])
def test_of_a_tar_that_was_cut_off_what_came_before_is_there(
    path: Path, made: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    files = {f"{at}.jpg": os.urandom(900) for at in range(20)}
    whole = made(files)
    source = archive(path, whole[: len(whole) // 2])
    there = found(source)
    assert "damaged" in str(there.pop("archive: all that comes after"))
    assert 5 < len(there) < 15
    assert there == {key: files[key] for key in there}
    assert "damaged" in (source.damage or "")


def test_a_tar_whose_header_is_damaged_does_not_pass_for_a_shorter_one(path: Path) -> None:
    whole = bytearray(tarred({f"{at}.jpg": b"1" for at in range(4)}, tarfile.USTAR_FORMAT))
    whole[2 * 1024 + 3] ^= 0xFF
    source = archive(path, bytes(whole))
    assert list(found(source)) == ["0.jpg", "1.jpg", "archive: all that comes after"]
    assert source.damage is not None


def test_of_a_zip_that_was_cut_off_nothing_can_be_read(path: Path) -> None:
    source = archive(path, zipped(FILES)[:-40])
    (reason,) = found(source).values()
    assert "nothing can be read without its end" in str(reason)


def test_of_a_zip_with_a_damaged_file_the_others_come_in(path: Path) -> None:
    files = {"one.jpg": b"1" * 100, "two.jpg": b"2" * 100, "three.jpg": b"3" * 100}
    whole = zipped(files, zipfile.ZIP_STORED).replace(b"2" * 100, b"2" * 99 + b"x")
    there = found(archive(path, whole))
    assert "damaged" in str(there.pop("two.jpg"))
    assert there == {"one.jpg": b"1" * 100, "three.jpg": b"3" * 100}


def test_an_encrypted_file_is_refused_alone(path: Path) -> None:
    whole = bytearray(zipped({"one.jpg": b"1", "two.jpg": b"2"}, zipfile.ZIP_STORED))
    directory = whole.index(b"PK\x01\x02")
    whole[directory + 8] |= 1
    assert found(archive(path, bytes(whole))) == {"one.jpg": "The file is encrypted.", "two.jpg": b"2"}


def test_names_of_every_length_and_kind_are_read(path: Path) -> None:
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        files = {f"{'long/' * 40}{'n' * 90}.jpg": b"1", "ключ 🥾.jpg": b"2", f"{'x' * 120}.jpg": b"3"}
        assert found(archive(path, tarred(files, kind))) == files
    assert found(archive(path, zipped({"ключ 🥾.jpg": b"2"}))) == {"ключ 🥾.jpg": b"2"}


def test_a_name_that_is_not_utf_8_is_read_with_its_bytes_replaced(path: Path) -> None:
    whole = tarred({os.fsdecode(b"caf\xe9.jpg"): b"1"}, tarfile.USTAR_FORMAT)
    assert found(archive(path, whole)) == {"caf\N{REPLACEMENT CHARACTER}.jpg": b"1"}


def test_an_extension_of_absurd_length_is_not_read_into_memory(path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**33
    source = archive(path, header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "absurd" in str(found(source)["archive: all that comes after"])


def test_a_name_of_absurd_length_is_refused_by_its_key_alone(path: Path) -> None:
    source = archive(path, gzipped({f"{'n' * 300_000}.jpg": b"1", "one.jpg": b"1"}))
    long, short = source
    assert (len(long.key), short.key) == (1024, "one.jpg")
    with pytest.raises(UnusableError, match="longer than 512"):
        check(long)


def test_links_and_devices_in_a_tar_are_passed_over(path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("device.jpg", tarfile.CHRTYPE),
        ):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            made.addfile(header)
    assert found(archive(path, buffer.getvalue())) == {}


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"", False),
        (b"not an archive", False),
        (b"x" * 2000, False),
        (b"\x1f\x8b" + b"x" * 600, False),
        (bytes(1024), True),
        (zipped({}), True),
        (tarred({"a": b""}), True),
        (gzipped({"a": b""}), True),
    ],
)
def test_an_archive_is_known_by_its_first_bytes(path: Path, data: bytes, is_one: bool) -> None:
    path.write_bytes(data)
    assert is_archive(path) == is_one
