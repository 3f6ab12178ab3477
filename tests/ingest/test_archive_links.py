"""Links in archives: read if they stay inside, rejected with the reason otherwise."""

import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.left_out import FOLDER_LINKS, NOT_IMAGES
from tests.ingest.archives import Links, extension, record, tar_of, tarred
from tests.ingest.entries import archive, found, read

HARD, SYMBOLIC = tarfile.LNKTYPE, tarfile.SYMTYPE


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("size", [0, 1, 600])
def test_links_in_a_tar_are_read(kind: int, size: int) -> None:
    links = [
        ("h/two.jpg", HARD, "h/one.jpg"),
        ("h/three.jpg", HARD, "./h/two.jpg"),
        ("h/sym.jpg", SYMBOLIC, "one.jpg"),
        ("other/sym.jpg", SYMBOLIC, "../h/./sym.jpg"),
        ("data.jpg", SYMBOLIC, "raw.data"),
        ("latest", SYMBOLIC, "h"),
        ("cover.jpg", SYMBOLIC, "latest/one.jpg"),
    ]
    source = archive(tar_of({"h/one.jpg": b"1", "raw.data": b"2"}, links, kind, size))
    assert found(source) == {
        "h/one.jpg": b"1",
        **dict.fromkeys(["h/two.jpg", "h/three.jpg", "h/sym.jpg", "other/sym.jpg", "cover.jpg"], b"1"),
        "data.jpg": b"2",
    }
    assert {entry.key: entry.given for entry in source.entries()}["other/sym.jpg"] == {"label": "other"}
    left_out = {reason: (examples.count, examples.names) for reason, examples in source.left_out.reasons.items()}
    assert left_out == {FOLDER_LINKS: (1, ["latest"]), NOT_IMAGES: (1, ["raw.data"])}


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_links_with_long_names_are_read(kind: int) -> None:
    long = f"{'long/' * 40}{'n' * 90}"
    source = archive(tar_of({f"{long}.jpg": b"1"}, [(f"{long}-2.jpg", HARD, f"{long}.jpg")], kind))
    assert found(source) == {f"{long}.jpg": b"1", f"{long}-2.jpg": b"1"}


def test_links_that_cannot_be_followed_are_rejected_with_the_reason() -> None:
    links = [
        ("absolute.jpg", SYMBOLIC, "/etc/passwd"),
        ("above.jpg", SYMBOLIC, "../../secret.jpg"),
        ("gone.jpg", SYMBOLIC, "nowhere.jpg"),
        ("hard.jpg", HARD, "nowhere.jpg"),
        ("a.jpg", SYMBOLIC, "b.jpg"),
        ("b.jpg", SYMBOLIC, "a.jpg"),
        ("self.jpg", SYMBOLIC, "self.jpg"),
        ("device.jpg", tarfile.CHRTYPE, ""),
        ("pipe.jpg", tarfile.FIFOTYPE, ""),
        ("device", tarfile.BLKTYPE, ""),
        ("notes.txt", SYMBOLIC, "nowhere.txt"),
    ]
    assert found(archive(tar_of({"one.jpg": b"1"}, links))) == {
        "one.jpg": b"1",
        "absolute.jpg": "The symbolic link leads outside the archive: /etc/passwd.",
        "above.jpg": "The symbolic link leads outside the archive: ../../secret.jpg.",
        "gone.jpg": "The link refers to nowhere.jpg, which is not a file of the archive.",
        "hard.jpg": "The link refers to nowhere.jpg, which is not a file of the archive.",
        "a.jpg": "The link refers to b.jpg, which is not a file of the archive.",
        "b.jpg": "The link refers to a.jpg, which is not a file of the archive.",
        "self.jpg": "The link refers to self.jpg, which is not a file of the archive.",
        "device.jpg": "Not a regular file, but a device.",
        "pipe.jpg": "Not a regular file, but a pipe.",
    }


def test_rows_of_a_table_name_links() -> None:
    table = b"file,key\nlink.jpg,k-1\nlink.jpg,k-2\nbroken.jpg,k-3\nraw,k-4\n"
    links = [("link.jpg", SYMBOLIC, "one.jpg"), ("broken.jpg", HARD, "gone.jpg"), ("raw", HARD, "one.jpg")]
    source = archive(tar_of({"one.jpg": b"1", "metadata.csv": table}, links))
    assert found(source) == {
        "one.jpg": b"1",
        "k-1": b"1",
        "k-2": b"1",
        "k-4": b"1",
        "k-3": "The link refers to gone.jpg, which is not a file of the archive.",
    }
    keys = [entry.key for entry in source.entries()]
    for first in range(len(keys)):
        entries = list(source.entries(first))
        assert [entry.key for entry in entries] == keys
        assert all(read(entry) == found(source)[entry.key] for entry in entries[first:])


def test_symbolic_links_in_a_zip_are_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("a/one.jpg", b"1")
        for name, target in (("a/two.jpg", "one.jpg"), ("out.jpg", "/etc/passwd"), ("long.jpg", "x" * 5000)):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            made.writestr(info, target)
    there = found(archive(buffer.getvalue()))
    assert there == {
        "a/one.jpg": b"1",
        "a/two.jpg": b"1",
        "out.jpg": "The symbolic link leads outside the archive: /etc/passwd.",
        "long.jpg": "The file is larger than 4,096 bytes, the maximum.",
    }


def test_sparse_files_in_a_tar_are_rejected_alone() -> None:
    header = tarfile.TarInfo("old.jpg")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more, last = bytearray(512), bytes(512)
    more[504] = 1
    pax = extension(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.name", b"new.jpg"))
    whole = bytes(block) + bytes(more) + last + b"x" * 512
    whole += pax + tarred({"GNUSparseFile.0/new.jpg": b"y"})[:1024] + tarred({"one.jpg": b"1"})
    there = found(archive(whole))
    assert there.pop("one.jpg") == b"1"
    assert sorted(there) == ["new.jpg", "old.jpg"]
    assert all("sparse file" in str(reason) for reason in there.values())


@given(
    st.dictionaries(st.sampled_from(["a.jpg", "b.jpg", "d/c.jpg"]), st.binary(max_size=5), max_size=3),
    st.lists(
        st.tuples(
            st.sampled_from(["l.jpg", "m.jpg", "d/n.jpg", "e", "a.jpg"]),
            st.sampled_from([HARD, SYMBOLIC]),
            st.sampled_from(["a.jpg", "../a.jpg", "l.jpg", "d/n.jpg", "d", "e/c.jpg", "/x.jpg", "m.jpg", ""]),
        ),
        max_size=6,
    ),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_links_are_followed_or_rejected(files: dict[str, bytes], links: Links, table: bool) -> None:
    files = {**files, "metadata.csv": b"file,key\nl.jpg,k-1\ne,k-2\nl.jpg,k-3\n"} if table else files
    source = archive(tar_of(files, links))
    entries = list(source.entries())
    assert len(entries) == source.count()
    known = set(files.values())
    for entry in entries:
        data = read(entry)
        assert data in known or isinstance(data, str)
        assert not isinstance(data, str) or data.endswith(".")
    for first in range(len(entries) + 1):
        assert [entry.key for entry in source.entries(first)] == [entry.key for entry in entries]
