"""Bulk loading: order, chunks, concurrency, retries and rejections."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.bootstrap import Service
from app.errors import DecodingUnavailableError, InvalidInputError, UnavailableError
from app.ingest.bulk import LOCAL_BATCHES, BatchConfig, Outcome, bulk_add, chunks, reject_duplicate_keys
from app.ingest.sources.archives.members import ArchiveLimits
from app.ingest.sources.folder import Folder
from app.ingest.sources.items import Entry, UnusableError
from app.ingest.sources.open import open_source
from app.ingest.uploads import AddResult, Upload
from tests.crash.ledger import numbered_image
from tests.images import encoded, gradient
from tests.ingest.entries import read

LIMITS = ArchiveLimits(20_000_000)


def entry(key: str, data: bytes = b"x", label: str | None = None) -> Entry:
    return Entry(key, key, {} if label is None else {"label": label}, len(data), lambda: data)


def filled(service: Service, path: Path) -> list[Outcome]:
    return [
        outcome
        for some in bulk_add(reject_duplicate_keys(open_source(path, LIMITS)), service.ingest)
        for outcome in some
    ]


def test_adding_a_folder_again_changes_nothing(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for at in range(150):
        path = folder / f"label {at % 3}" / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(numbered_image(at))
    (folder / "broken.jpg").write_bytes(b"not a picture")
    outcomes = filled(service, folder)
    assert len(outcomes) == 151
    assert [outcome.key for outcome in outcomes if outcome.status == "rejected"] == ["broken.jpg"]
    assert len(service.index_sync.synced_index()) == 150
    again = filled(service, folder)
    assert {outcome.status for outcome in again} == {"unchanged", "rejected"}
    assert [outcome.key for outcome in again] == [outcome.key for outcome in outcomes]


class Busy:
    """A target that is too busy to decode, for the first `failures` additions."""

    def __init__(self, failures: int) -> None:
        self.failures, self.tries, self._one = failures, 0, threading.Lock()
        self.met = threading.Event()

    def add(self, uploads: Sequence[Upload]) -> list[AddResult]:
        with self._one:
            self.tries += 1
            self.met.set()
            if self.tries <= self.failures:
                raise DecodingUnavailableError("The machine is too busy.")
        return [AddResult(1, str(upload.key), "created") for upload in uploads]


def test_busy_target_is_retried_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.decode.retries.PAUSES_S", (0.01,) * 3)
    entries = [entry(str(at)) for at in range(5)]
    outcomes = [outcome for some in bulk_add(entries, Busy(3), BatchConfig(2, 100, 1), retry=True) for outcome in some]
    assert [(outcome.key, outcome.status) for outcome in outcomes] == [(str(at), "created") for at in range(5)]


def test_first_failure_is_raised_without_retries() -> None:
    target = Busy(1)
    with pytest.raises(DecodingUnavailableError):
        list(bulk_add([entry("one")], target))
    assert target.tries == 1


def test_interrupt_does_not_wait_for_the_next_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.decode.retries.PAUSES_S", (600.0,))
    target, began = Busy(1000), time.monotonic()

    def entries() -> Iterator[Entry]:
        yield entry("one")
        yield entry("two")
        assert target.met.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(bulk_add(entries(), target, BatchConfig(1, 100, 3), retry=True))
    assert time.monotonic() - began < 60


def test_folder_with_links_pipes_and_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "linked.png").symlink_to(folder / "one.png")
    (folder / "one.png").write_bytes(encoded(gradient(), "PNG"))
    (folder / "folder.png").mkdir()
    (folder / os.fsdecode(b"caf\xe9.gif")).write_bytes(b"GIF")
    (folder / "pipe.jpg").touch()
    (folder / "pipe.jpg").unlink()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "notes.txt").write_text("no picture")
    found = {one.key: read(one) for one in Folder(folder, 10_000)}
    assert found.pop("one.png") == found.pop("linked.png") == encoded(gradient(), "PNG")
    assert found == {
        "caf\N{REPLACEMENT CHARACTER}.gif": b"GIF",
        "gone.png": "The file does not exist.",
        "itself.jpg": "The file cannot be read: Too many levels of symbolic links.",
        "pipe.jpg": "Not a regular file.",
    }


def test_duplicate_key_is_rejected() -> None:
    first, second = reject_duplicate_keys([entry("a", b"1"), entry("a", b"2")])
    assert first.read() == b"1"
    with pytest.raises(UnusableError, match="has the same key: a"):
        second.read()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry("k" * 513), "key is longer than 512"),
        (entry("a", label="l" * 513), "label is longer than 512"),
        (entry("a\0b"), "NUL"),
        (Entry("a", "a", {"metadata": {"price": float("nan")}}, 1, lambda: b"x"), "not finite"),
    ],
)
def test_entry_that_cannot_be_stored_is_rejected_alone(service: Service, bad: Entry, reason: str) -> None:
    good = entry("good", numbered_image(1))
    outcomes = [outcome for some in bulk_add([bad, good], service.ingest) for outcome in some]
    assert [outcome.status for outcome in outcomes] == ["rejected", "created"]
    assert reason in str(outcomes[0].reason)


def test_chunks_are_limited_in_number_and_bytes() -> None:
    assert [len(chunk) for chunk in chunks(entry(str(at)) for at in range(LOCAL_BATCHES.max_images + 1))] == [
        LOCAL_BATCHES.max_images,
        1,
    ]
    large = [Entry(str(at), str(at), {}, LOCAL_BATCHES.max_bytes // 2, lambda: b"") for at in range(5)]
    assert [len(chunk) for chunk in chunks(large)] == [2, 2, 1]
    assert list(chunks([])) == []


class Slow:
    """A target that counts concurrent additions, and fails at the addition number `fatal`."""

    def __init__(self, fatal: int | None = None) -> None:
        self.now = self.most = self.calls = 0
        self._fatal, self._lock = fatal, threading.Lock()

    def add(self, uploads: Sequence[Upload]) -> list[AddResult]:
        with self._lock:
            self.now, self.calls = self.now + 1, self.calls + 1
            self.most, number = max(self.most, self.now), self.calls
        time.sleep(0.02)
        with self._lock:
            self.now -= 1
        if number == self._fatal:
            raise UnavailableError("The disk that holds the pictures is full.")
        return [AddResult(1, str(upload.key), "created") for upload in uploads]


def test_chunks_are_added_in_parallel_with_bounded_read_ahead() -> None:
    target, ahead = Slow(), 0

    def many() -> Iterator[Entry]:
        nonlocal ahead
        for at in range(LOCAL_BATCHES.max_images * 20):
            ahead += 1
            yield entry(str(at))

    done = 0
    for some in bulk_add(many(), target):
        done += len(some)
        assert ahead - done <= LOCAL_BATCHES.max_images * ((os.cpu_count() or 1) + 3)
    assert done == LOCAL_BATCHES.max_images * 20
    assert target.most > 1


def test_pace_limits_chunk_size_and_concurrency() -> None:
    target, pace = Slow(), BatchConfig(max_images=5, max_bytes=3, concurrency=2)
    sizes = [len(some) for some in bulk_add((entry(str(at)) for at in range(31)), target, pace)]
    assert sizes == [3] * 10 + [1]
    assert target.most == 2


def test_failing_target_ends_all_threads() -> None:
    target = Slow(fatal=3)
    with pytest.raises(UnavailableError, match="full"):
        list(bulk_add((entry(str(at)) for at in range(LOCAL_BATCHES.max_images * 20)), target))
    assert target.now == 0
    assert target.calls < 10


def test_open_source_detects_the_type_or_rejects_the_path(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words")
    for path, reason in (("gone", "does not exist"), ("words.txt", "neither a folder, an archive")):
        with pytest.raises(InvalidInputError, match=reason):
            open_source(tmp_path / path, LIMITS)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="neither a file nor a folder"):
        open_source(tmp_path / "pipe", LIMITS)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    with pytest.raises(InvalidInputError):
        open_source(tmp_path / "itself", LIMITS)
    (tmp_path / "one.JPG").write_bytes(b"1")
    (one,) = open_source(tmp_path / "one.JPG", LIMITS)
    assert (one.key, one.given, one.read()) == ("one.JPG", {}, b"1")
