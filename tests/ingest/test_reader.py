"""Reader process: entries, limits, crashes, kills and stops."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.errors import InvalidInputError, LookalikeError, UnavailableError
from app.ingest.jobs.stop import Stop, StoppedError
from app.ingest.sources import reader
from app.ingest.sources.archives.members import ArchiveLimits, ArchiveRefusedError
from app.ingest.sources.archives.source import ArchiveReading, ArchiveSource
from app.ingest.sources.reader import ReaderFailedError, ReaderKilledError
from app.ingest.sources.reader_protocol import MAX_HEADER_BYTES, pack
from app.ingest.sources.table_source import TableSource
from tests.ingest.archives import BOMBS, gzipped, tarred, write_endless, zipped
from tests.ingest.entries import read
from tests.ingest.readers import PLANTED, readers

LIMITS = ArchiveLimits(1_000_000, members=100_000, bytes=10**12, table_bytes=50_000_000)
MAKERS: list[Callable[[Mapping[str, bytes]], bytes]] = [zipped, tarred, gzipped]
# Memory of an idle reader process.
IDLE_BYTES = 60_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PROGRAM", PLANTED)
    monkeypatch.setattr(reader, "_CPU_SECONDS", 3)


def source(path: Path, data: bytes, limits: ArchiveLimits = LIMITS) -> ArchiveSource:
    path.write_bytes(data)
    return ArchiveSource(path, limits, "archive")


def peak(process: int) -> int:
    """Peak resident memory of a process, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@contextmanager
def requested_after(seconds: float) -> Iterator[Stop]:
    stop = Stop()
    timer = threading.Timer(seconds, stop.request)
    timer.start()
    try:
        yield stop
    finally:
        timer.cancel()


@pytest.mark.parametrize("made", MAKERS, ids=["zip", "tar", "tar.gz"])
def test_entries_arrive_in_order(path: Path, made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    files = {f"folder/{at}.jpg": os.urandom(at * 997) for at in range(100)}
    rows = 'file,key,label,price\nfolder/1.jpg,one,boots,3\nfolder/1.jpg,"tw\no ключ",,4\ngone.jpg,g,,\n'
    archive = source(path, made({**files, "metadata.csv": rows.encode(), "large.jpg": bytes(1_000_001)}))
    entries = list(archive)
    assert archive.count() == len(entries) == 103
    found = {entry.key: read(entry) for entry in entries}
    assert found.pop("one") == found.pop("tw\no ключ") == files["folder/1.jpg"]
    assert found.pop("g") == "The archive has no file gone.jpg."
    assert "larger than 1,000,000 bytes" in str(found.pop("large.jpg"))
    assert found == {name: data for name, data in files.items() if name != "folder/1.jpg"}
    one, two = (entry for entry in entries if entry.name == "archive: folder/1.jpg")
    assert (one.given, two.given) == ({"label": "boots", "metadata": {"price": 3}}, {"metadata": {"price": 4}})
    assert one.read() is two.read(), "a file of several rows is sent once"
    assert readers() == []


def test_skipped_entries_have_no_bytes(path: Path) -> None:
    archive = source(path, zipped({f"{at}.jpg": b"x" * 100 for at in range(10)}))
    with archive.open(7) as reading:
        sizes = [entry.size for entry in reading]
    assert sizes == [0] * 7 + [100] * 3


def test_rejections_of_archives_are_raised(path: Path) -> None:
    with pytest.raises(ArchiveRefusedError, match="more than 5 files"):
        source(path, tarred({f"{at}.txt": b"" for at in range(6)}), ArchiveLimits(100, members=5)).count()
    with pytest.raises(InvalidInputError, match=r"archive: metadata.csv: has no column 'file'"):
        source(path, zipped({"metadata.csv": b"name\n"})).count()
    with pytest.raises(FileNotFoundError):
        ArchiveSource(path.with_name("nowhere"), LIMITS).count()
    assert readers() == []


def test_lone_surrogates_and_nested_values_arrive(path: Path) -> None:
    lines = '{"file": "a.jpg", "key": "\\ud83d", "n": 1e999}\n'
    # A row of any nesting is read or rejected alone. The limit of Python 3.13 is deeper than that of 3.11.
    depths = (*range(1, 1000, 7), 5_000, 100_000)
    lines += "".join(f'{{"file": "a.jpg", "key": "{n}", "d": {"[" * n}{"]" * n}}}\n' for n in depths)
    first, *nested = source(path, zipped({"metadata.jsonl": lines.encode(), "a.jpg": b"1"}))
    assert (first.key, first.given) == ("\ud83d", {"metadata": {"n": float("inf")}})
    answers = [read(entry) for entry in nested]
    usable = answers.count(b"1")
    assert 30 < usable < len(answers) == len(depths)
    assert all("Not valid JSON" in str(answer) or "too deep" in str(answer) for answer in answers[usable:])


HARM = ["crash", "abort", "busy", "greedy", "bug", "floods", "long", "nonsense", "nested", "typeless", "wrong", "given"]


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("harm", HARM)
def test_entries_before_a_reader_crash_are_kept(path: Path, harm: str) -> None:
    archive = source(path, zipped({"one.jpg": b"1", f"{harm}.jpg": b"2", "three.jpg": b"3"}))
    with archive.open() as reading:
        one, last = reading
    assert (one.key, one.read()) == ("one.jpg", b"1")
    assert last.key == "archive: rest of the archive"
    reasons = {"busy": "takes more than 3 s of processor time", "greedy": "MB of memory"}
    assert reasons.get(harm, "The archive crashed its reader process.") in str(read(last))
    assert (reading.damage, reading.killed) == (read(last), False)
    assert readers() == []


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("harm", ["crash", "busy", "greedy", "bug", "nonsense"])
def test_archive_that_crashes_the_count_is_rejected(path: Path, harm: str) -> None:
    with pytest.raises(ReaderFailedError, match=r"The archive (crashed its reader process|takes more than)"):
        source(path, zipped({f"count/{harm}.jpg": b"1"})).count()


@pytest.mark.usefixtures("planted")
def test_reader_killed_from_outside_can_be_retried(path: Path) -> None:
    with pytest.raises(ReaderKilledError, match="was killed, perhaps because memory ran out"):
        source(path, zipped({"count/killed.jpg": b"1"})).count()
    archive = source(path, zipped({"one.jpg": b"1", "killed.jpg": b"2"}))
    with archive.open() as reading:
        assert [entry.key for entry in reading] == ["one.jpg"], "no rejection of what a retry may read"
    assert reading.killed
    _, last = archive
    assert "was killed" in str(read(last)), "without a retry, the failure is an entry"


@pytest.mark.usefixtures("planted")
def test_reader_has_no_secrets_and_writes_no_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_DATABASE_URL", "postgresql://secret")
    monkeypatch.chdir(path.parent)
    with pytest.raises(InvalidInputError) as raised:
        source(path, zipped({"count/environment.jpg": b"1"})).count()
    assert "LOOKALIKE" not in raised.value.reason
    assert "PYTHONPATH" in raised.value.reason
    with pytest.raises(LookalikeError):
        source(path, zipped({"count/writes.jpg": b"1"})).count()
    assert not Path("written").exists() or Path("written").stat().st_size == 0


def test_reader_has_resource_limits_and_highest_oom_score(path: Path) -> None:
    with source(path, tarred({f"{at}.jpg": bytes(900_000) for at in range(5)})).open():
        (process,) = readers()
        assert Path(f"/proc/{process}/oom_score_adj").read_text().strip() == "1000"
        limits = Path(f"/proc/{process}/limits").read_text().splitlines()
        cpu = next(line.split()[3:5] for line in limits if line.startswith("Max cpu time"))
        memory = next(int(line.split()[3]) for line in limits if line.startswith("Max address space"))
        assert cpu == ["302", "307"], "an additional second per two megabytes"
        assert memory < 1_000_000_000
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process, number)
        time.sleep(0.2)
        assert readers() == [process], "signals to the process group are ignored"


@pytest.mark.parametrize("wait", [0.0, 1.5])
def test_stop_ends_the_count_of_an_endless_archive(path: Path, wait: float) -> None:
    write_endless(path, 40)
    with requested_after(wait) as stop:
        began = time.monotonic()
        with pytest.raises(StoppedError), ArchiveSource(path, LIMITS).open(0, stop):
            pass
        assert time.monotonic() - began < wait + 5
    assert readers() == []


def test_stop_ends_the_iteration_of_an_archive(path: Path) -> None:
    archive, stop = source(path, tarred({f"{at}.jpg": bytes(900_000) for at in range(20)})), Stop()
    with archive.open(0, stop) as reading:
        entries = iter(reading)
        next(entries)
        stop.request()
        assert len(list(entries)) < 19
    assert (reading.damage, reading.killed) == (None, False)


def test_reader_exits_with_its_parent(path: Path) -> None:
    write_endless(path, 40)
    program = (
        "import sys; from pathlib import Path; from app.ingest.sources.archives.source import ArchiveSource;"
        "from app.ingest.sources.archives.members import ArchiveLimits;"
        "ArchiveSource(Path(sys.argv[1]), ArchiveLimits(1000)).count()"
    )
    parent = os.posix_spawn(sys.executable, [sys.executable, "-c", program, str(path)], os.environ)
    until = time.monotonic() + 30
    while not (found := readers()):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    while any(Path(f"/proc/{one}").exists() for one in found):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_reader_exits_if_its_parent_was_killed_with_unread_frames(path: Path) -> None:
    write_endless(path, 40)
    ours, theirs = socket.socketpair()
    limits = {"member_bytes": 1000, "members": 1000, "bytes": 2**40, "table_bytes": 1000}
    job = {"kind": "archive", "name": "", "limits": limits, "first": 0, "memory": 2**30, "max_bytes": 1000}
    with path.open("rb") as file, theirs:
        descriptors = theirs.fileno(), file.fileno()
        command = [*reader.PROGRAM, json.dumps(job | {"cpu_seconds": 120}), *map(str, descriptors)]
        process = subprocess.Popen(command, pass_fds=descriptors)
    # The first frame has arrived and stays unread.
    assert ours.recv(1, socket.MSG_PEEK)
    ours.close()
    assert process.wait(30) == 0


def test_reader_does_not_read_ahead(path: Path) -> None:
    archive = source(path, tarred({f"{at}.jpg": os.urandom(900_000) for at in range(100)}))
    with archive.open() as reading:
        entries = iter(reading)
        next(entries)
        time.sleep(1)
        (process,) = readers()
        assert peak(process) < IDLE_BYTES
        assert sum(1 for _ in entries) == 99
        assert peak(process) < IDLE_BYTES


@pytest.mark.parametrize("bomb", list(BOMBS.values()), ids=list(BOMBS))
def test_archive_bombs_take_little_memory_and_time(path: Path, bomb: Callable[[], bytes]) -> None:
    archive = source(path, bomb())
    began = time.monotonic()
    with peaks() as seen:
        try:
            refused = [str(read(entry)) for entry in archive]
        except LookalikeError as error:
            refused = [str(error)]
    assert refused[-1]
    assert 0 < max(seen) < IDLE_BYTES + 60_000_000
    assert time.monotonic() - began < 60


@contextmanager
def peaks() -> Iterator[list[int]]:
    """Sample the peak memory of reader processes during the block."""
    seen, over = list[int](), threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for process in readers():
                # The process may have ended since it was listed.
                with suppress(OSError, StopIteration):
                    seen.append(peak(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_reader_that_does_not_start_raises_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ((sys.executable, "-c", "raise SystemExit(3)"), ("/nowhere",)):
        monkeypatch.setattr(reader, "PROGRAM", program)
        with pytest.raises(UnavailableError, match=r"(does not start|Cannot start)"):
            source(path, zipped({"one.jpg": b"1"})).count()


def test_reader_does_not_import_from_the_current_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / "app").mkdir()
    (path.parent / "app" / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(path.parent)
    assert source(path, zipped({"one.jpg": b"1"})).count() == 1


def test_table_source_yields_files_and_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"1")
    path = tmp_path / "table.csv"
    path.write_text("file,price\none.jpg,3\ngone.jpg,4\n")
    there, gone = TableSource(path, 100)
    assert (there.key, there.given, there.read()) == ("one.jpg", {"metadata": {"price": 3}}, b"1")
    assert read(gone) == "The file does not exist."
    path.write_text("file\n" + "a\n" * 11)
    with pytest.raises(InvalidInputError, match=r"table.csv: has more than 10 rows"):
        TableSource(path, 100, rows=10).count()


def test_overlong_header_raises() -> None:
    with pytest.raises(ValueError, match="too long"):
        pack({"text": "x" * MAX_HEADER_BYTES})


def test_longest_possible_row_fits_into_a_header(path: Path) -> None:
    """Headers repeat the column names, and control characters take six bytes each."""
    columns = ",".join(["file", "key", *("\x01" * 900 + str(at) for at in range(990))])
    rows = "a.jpg,short," + "\x01," * 3 + "\n" + "a.jpg,long," + ",".join(["\x01" * 900] * 990) + "\n"
    table = f"{columns}\n{rows}".encode()
    short, long = source(path, zipped({"metadata.csv": table, "a.jpg": b"1"}, zipfile.ZIP_STORED))
    assert read(short) == b"1"
    assert len(long.given["metadata"]) == 990


def test_reader_process_ends_when_the_block_is_left(path: Path) -> None:
    def left_early(reading: ArchiveReading) -> None:
        next(iter(reading))
        raise KeyError

    with (
        pytest.raises(KeyError),
        source(path, tarred({f"{at}.jpg": bytes(9_000) for at in range(99)})).open() as one,
    ):
        left_early(one)
    assert readers() == []
