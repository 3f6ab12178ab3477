"""`lookalike index`: all kinds of sources, locally and over HTTP, interrupted and continued."""

import csv
import json
import os
import subprocess
import sys
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app as commands
from tests.cli.output import output_of
from tests.conftest import free_port
from tests.crash.ledger import test_image
from tests.images import encoded, gradient
from tests.ingest.archives import Raw, gzipped, inflating, raw_zip, zipped

# Used by OpenVINO's conversion.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")


def run(data: Path, *words: str, **variables: str) -> Result:
    environment = {"LOOKALIKE_DATA_DIR": str(data), "LOOKALIKE_URL": None, "LOOKALIKE_API_KEY": None}
    return CliRunner().invoke(commands, ["index", *words], env={**environment, **variables})


def summary(result: Result) -> str:
    return result.stdout.strip()


def rows_of(report: Path) -> list[dict[str, str]]:
    with report.open() as file:
        return list(csv.DictReader(file)) if report.suffix == ".csv" else list(map(json.loads, file))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index") / "data"


@pytest.fixture
def remote(server_url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server_url, timeout=60) as client:
        yield client


def listed(client: httpx2.Client, prefix: str) -> dict[str, tuple[str | None, dict[str, object]]]:
    items = client.get("/images", params={"limit": 1000}).json()["items"]
    return {item["key"]: (item["label"], item["metadata"]) for item in items if item["key"].startswith(prefix)}


def test_several_kinds_of_sources_are_indexed_in_one_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "folder" / "hats").mkdir(parents=True)
    (tmp_path / "folder" / "hats" / "1.png").write_bytes(test_image(1))
    (tmp_path / "pictures.zip").write_bytes(zipped({"boots/2.png": test_image(2)}))
    (tmp_path / "pictures.tar.gz").write_bytes(
        gzipped({"3.png": test_image(3), "metadata.csv": b"file,key\n3.png,three\n"})
    )
    (tmp_path / "4.png").write_bytes(test_image(4))
    (tmp_path / "table.csv").write_text("file,key,label,price\nfolder/hats/1.png,five,shoes,3\n")
    names = ("folder", "pictures.zip", "pictures.tar.gz", "4.png", "table.csv")
    result = run(data, *(str(tmp_path / name) for name in names))
    assert result.exit_code == 0, result.output
    assert summary(result) == "5 created"
    again = run(data, *(str(tmp_path / name) for name in names))
    assert (again.exit_code, summary(again)) == (0, "5 unchanged")


@pytest.mark.parametrize("name", ["rejected.csv", "rejected.jsonl"])
def test_rejections_are_printed_and_written_to_the_report(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    (tmp_path / "good.png").write_bytes(test_image(6))
    table, report = tmp_path / "table.csv", tmp_path / name
    table.write_text("file,key\nbroken.jpg,a\ngood.png,b\ngone.jpg,c\ngood.png,b\n")
    result = run(data, str(table), "--rejections", str(report))
    assert result.exit_code == 1
    rows = rows_of(report)
    assert [(row["key"], row["reason"].split()[0]) for row in rows] == [
        ("a", "This"),
        ("c", "There"),
        ("b", "Something"),
    ]
    assert all(row["reason"] in output_of(result) for row in rows)
    assert all(f"line {line}" in row["name"] for line, row in zip((2, 4, 5), rows, strict=True))


@pytest.mark.parametrize("name", ["rejected.csv", "rejected.jsonl"])
def test_report_is_written_whatever_a_table_contains(data: Path, tmp_path: Path, name: str) -> None:
    for at in (20, 21):
        (tmp_path / f"{at}.png").write_bytes(test_image(at))
    rows = [
        {"file": "20.png", "key": f"before {name}"},
        {"file": "20.png", "key": "emoji \ud83d"},
        {"file": "\ud83d\0.png", "key": "file"},
        {"file": "20.png", "key": "value", "text": "\ude00"},
        {"file": "20.png", "key": "nul \0 \x1b[2J"},
        {"file": "21.png", "key": f"after {name}"},
    ]
    table, report = tmp_path / "table.jsonl", tmp_path / name
    table.write_text("\n".join(map(json.dumps, rows)))
    result = run(data, str(table), "--rejections", str(report))
    assert (result.exit_code, result.exception.__class__) == (1, SystemExit)
    assert "2 created, 4 rejected" in summary(result).splitlines()
    nul = "nul \0 \x1b[2J"
    escaped = {"rejected.csv": "emoji \\ud83d", "rejected.jsonl": "emoji \ud83d"}[name]
    assert [row["key"] for row in rows_of(report)] == [escaped, "file", "value", nul]
    assert all(row["reason"] for row in rows_of(report))


def test_left_out_files_of_folders_and_archives_are_counted_and_named(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nas"
    for at, name in enumerate(("a/1.png", "a/@eaDir/1.png/thumb.png", "__MACOSX/._1.png", ".hidden/2.png", "a/.3.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(test_image(30 + at))
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "linked").symlink_to("a")
    archive = tmp_path / "mac.zip"
    archive.write_bytes(zipped({"m/1.png": test_image(40), "__MACOSX/m/._1.png": b""}))
    result = run(data, str(folder), str(archive))
    assert result.exit_code == 0, result.output
    lines = summary(result).splitlines()
    assert lines[0] == "2 created"
    assert sorted(lines[1:]) == [
        "Hidden images left out: 1 (a/.3.png)",
        "Images in hidden folders left out: 1 (.hidden)",
        "Images in system folders left out: 3 (__MACOSX, a/@eaDir)",
        "Links to folders not followed: 1 (linked)",
        "System files left out: 1 (Thumbs.db)",
    ]


def test_tables_of_spreadsheets_are_indexed(data: Path, tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "größe")).mkdir()
    (tmp_path / unicodedata.normalize("NFD", "größe") / "é.png").write_bytes(test_image(50))
    table = tmp_path / "Preise.CSV"
    table.write_bytes("sep=;\r\nFile; Key ;Preis;Neu\r\ngröße\\é.png; xl-1 ;89,5;WAHR\r\n;;;\r\n".encode("utf-16"))
    result = run(data, str(table))
    assert (result.exit_code, summary(result)) == (0, "1 created")
    table.write_bytes("file;label\nx.png;Größe\n".encode("cp1252"))
    result = run(data, str(table))
    assert result.exit_code == 1
    assert "line 2: byte 0xf6 is not UTF-8. Save the table as UTF-8" in result.output.replace("\n", " ")


def test_empty_folder_is_nothing_to_index(data: Path, tmp_path: Path) -> None:
    result = run(data, str(tmp_path))
    assert result.exit_code == 1
    assert "Nothing to index. There are no files. Names of images end in .avif, .bmp, .gif," in output_of(result)


def test_sources_without_images_fail_and_name_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    for name in ("notes.txt", "deep/a.psd", "deep/b.tif", "Thumbs.db"):
        (tmp_path / "folder" / name).write_text("none")
    (tmp_path / "pages.zip").write_bytes(zipped({"one.pdf": b"%PDF", "deep/two.pdf": b"%PDF"}))
    result = run(tmp_path / "data", str(tmp_path / "folder"), str(tmp_path / "pages.zip"))
    assert result.exit_code == 1
    named = output_of(result).partition("Files whose names are not those of images: ")[2]
    assert named.startswith("5 (")
    assert all(name in named for name in ("notes.txt", "deep/a.psd", "deep/b.tif", "one.pdf", "deep/two.pdf"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JFIF", ".Jpe"])
def test_every_suffix_of_jpeg_is_indexed_and_other_names_are_counted(data: Path, tmp_path: Path, suffix: str) -> None:
    picture = encoded(gradient(80 + len(suffix), 60 + ord(suffix[1]) + ord(suffix[3])))
    (tmp_path / f"one{suffix}").write_bytes(picture)
    (tmp_path / "notes.txt").write_text("none")
    result = run(data, str(tmp_path))
    assert result.exit_code == 0, result.output
    assert output_of(result).endswith("1 created Files whose names are not those of images: 1 (notes.txt)")


def test_jpeg_without_its_end_is_indexed_with_a_warning(data: Path, tmp_path: Path) -> None:
    whole = encoded(gradient(111, 77))
    (tmp_path / "shorter.jpg").write_bytes(whole[:-2])
    result = run(data, str(tmp_path / "shorter.jpg"))
    assert (result.exit_code, summary(result).splitlines()[-1]) == (0, "1 created")
    assert "shorter.jpg: The last bytes of the JPEG are missing." in output_of(result)
    (tmp_path / "cut.jpg").write_bytes(whole[:-60])
    assert run(data, str(tmp_path / "cut.jpg")).exit_code == 1


def test_entries_before_the_damage_of_an_archive_are_indexed(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.tar.gz"
    whole = gzipped({f"half/{at}.png": test_image(100 + at) for at in range(20)})
    path.write_bytes(whole[: len(whole) // 2])
    result = run(data, str(path))
    assert result.exit_code == 1
    assert "1 rejected" in output_of(result)
    assert "created" in output_of(result)
    assert "The archive is damaged" in output_of(result)


def test_zip_bombs_and_wide_tables_are_rejected_with_a_reason(data: Path, tmp_path: Path) -> None:
    bomb = Raw(b"bomb.png", inflating(100_000_000), 1000)
    good = test_image(140)
    stored = Raw(b"good.png", good, len(good), zlib.crc32(good), zipfile.ZIP_STORED)
    (tmp_path / "bomb.zip").write_bytes(raw_zip([bomb, stored]))
    result = run(data, str(tmp_path / "bomb.zip"))
    assert (result.exit_code, summary(result).splitlines()[-1]) == (1, "1 rejected, 1 created")
    assert "unpacks to more than the declared 1,000 bytes" in output_of(result)
    (tmp_path / "wide.csv").write_text("file" + ",x" * 1000 + "\n")
    result = run(data, str(tmp_path / "wide.csv"))
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "wide.csv: has more than 1,000 columns" in output_of(result)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere: does not exist"),
        (["table.csv"], "has no column 'file'"),
        (["words.txt"], "is neither a folder, an archive"),
        (["folder", "--rejections", "nowhere/report.csv"], "--rejections: nowhere/report.csv cannot be written"),
    ],
)
def test_invalid_source_is_an_error_before_the_catalogue_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("name\nx\n")
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "folder").mkdir()
    result = run(tmp_path / "data", *words)
    assert result.exit_code == 1
    assert sentence in output_of(result)
    assert not (tmp_path / "data").exists()


def test_running_service_is_filled_over_http(remote: httpx2.Client, tmp_path: Path) -> None:
    folder = tmp_path / "boots"
    folder.mkdir()
    for at in range(70):
        (folder / f"remote-{at:02}.png").write_bytes(test_image(200 + at))
    (tmp_path / "table.csv").write_text("file,key,price\nboots/remote-00.png,remote-extra,3\n")
    words = (str(folder), str(tmp_path / "table.csv"))
    first = run(tmp_path / "data", *words, LOOKALIKE_URL=str(remote.base_url))
    assert (first.exit_code, summary(first)) == (0, "71 created")
    again = run(tmp_path / "data", *words, "--url", str(remote.base_url))
    assert (again.exit_code, summary(again)) == (0, "71 unchanged")
    items = listed(remote, "remote-")
    assert len(items) == 71
    assert items["remote-extra"] == (None, {"price": 3})
    assert not (tmp_path / "data").exists(), "no local catalogue was opened"


def test_unreachable_service_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.index._ATTEMPTS", 2)
    (tmp_path / "1.png").write_bytes(test_image(1))
    result = run(tmp_path / "data", str(tmp_path / "1.png"), "--url", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "does not respond" in output_of(result)


def test_url_without_scheme_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(test_image(1))
    result = run(tmp_path / "data", str(tmp_path / "1.png"), "--url", "localhost:8000")
    assert result.exit_code == 1
    assert "url: 'localhost:8000' is not an HTTP address" in output_of(result)


def test_error_for_an_unknown_api_key_is_printed(tmp_path: Path) -> None:
    """Uses a stub server, since the check itself is tested with the server."""
    (tmp_path / "1.png").write_bytes(test_image(1))
    port = free_port()
    answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/problem+json\r\nContent-Length: 41\r\n\r\n"
    body = b'{"detail": "The key is not known here."} '
    program = (
        f"import socket; s = socket.create_server(('127.0.0.1', {port})); c, _ = s.accept(); "
        f"c.recv(65536); c.sendall({answer + body!r}); c.recv(65536)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as server:
        time.sleep(0.5)
        words = (str(tmp_path / "1.png"), "--url", f"http://127.0.0.1:{port}", "--api-key", "lk_1_x")
        result = run(tmp_path / "data", *words)
        server.kill()
    assert result.exit_code == 1
    assert "The key is not known here." in output_of(result)


@pytest.mark.parametrize(
    ("status", "headers", "sentence"),
    [
        (301, {"Location": "https://pictures.example/index"}, "to https://pictures.example/index. Use that"),
        (302, {"Location": "https://login.example/"}, "to https://login.example/. Use that"),
        (200, {}, "does not come from Lookalike"),
    ],
)
def test_proxy_that_does_not_forward_requests_is_an_error(
    tmp_path: Path, status: int, headers: dict[str, str], sentence: str
) -> None:
    (tmp_path / "1.png").write_bytes(test_image(1))
    with proxy(status, headers) as address:
        result = run(tmp_path / "data", str(tmp_path / "1.png"), "--url", address)
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert sentence in output_of(result)
    assert "LOOKALIKE_" not in output_of(result), "no setting is wrong"


@contextmanager
def proxy(status: int, headers: dict[str, str]) -> Iterator[str]:
    """Run a server that answers every POST with an HTML page; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "text/html", "Content-Length": "13"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"<html></html>")

        def log_message(self, *_: object) -> None:
            """Suppress the request log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.timeout(300)
def test_killed_run_is_continued_by_the_next(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for at in range(400):
        (folder / f"killed-{at:03}.png").write_bytes(test_image(1000 + at))
    command = [sys.executable, "-m", "app.cli.main", "index", str(folder)]
    environment = os.environ | {"LOOKALIKE_DATA_DIR": str(data)}
    originals = data / "pictures" / "originals"
    before = len(list(originals.rglob("*")))
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while len(list(originals.rglob("*"))) < before + 100 and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    result = run(data, str(folder))
    assert result.exit_code == 0, result.output
    counts = {status: int(count) for count, status in (part.split() for part in summary(result).split(", "))}
    assert sum(counts.values()) == 400
    assert counts["created"] > 0
    assert summary(run(data, str(folder))) == "400 unchanged"
