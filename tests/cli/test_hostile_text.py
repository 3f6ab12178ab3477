"""Untrusted text in every command's output: file names, keys, labels, names of API keys, messages of a service.

It may contain rich's markup, escape sequences, line breaks and bidirectional overrides; all of it is printed escaped.
"""

import json
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from app.cli.main import app as commands
from app.common.escaping import escape_controls
from tests.images import corners, encoded, gradient

# Used by OpenVINO's conversion.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

HOSTILE = "[/x][red]:boom:\x1b[2J\x1b]0;title\x07\u202egpj\nFAKE\r\x9b31m\x7f"
# A file name may also contain bytes that are not UTF-8.
HOSTILE_NAME = f"{HOSTILE}\udce9"
SHOWN = escape_controls(HOSTILE)


@dataclass(frozen=True)
class Case:
    """Arguments of a command, and whether it prints untrusted text."""

    words: tuple[str, ...]
    prints: bool = True


# Arguments of each command; `{hostile}` is a missing path with a hostile name, `{folder}` an existing folder.
CASES = {
    ("index",): Case(("{folder}",)),
    ("search",): Case(("{folder}/{name}/good.png",)),
    ("look",): Case(("{hostile}",)),
    ("delete",): Case(("{name}",)),
    ("update",): Case(("{name}", "--set-label", "new")),
    ("export",): Case(("{hostile}",)),
    ("trash", "list"): Case(()),
    ("trash", "restore"): Case(("--deletion", "9"), prints=False),
    ("trash", "empty"): Case(("--yes",), prints=False),
    ("stats",): Case((), prints=False),
    ("demo",): Case((), prints=False),
    ("duplicates",): Case(("--max-distance", "100000")),
    ("distinct",): Case(("{name}", "other")),
    ("merge",): Case(("{name}", "other")),
    ("check",): Case(()),
    ("sync",): Case((), prints=False),
    ("backup",): Case(("{data}-{name}",)),
    ("restore",): Case(("{hostile}",), prints=False),
    ("migrate",): Case((), prints=False),
    ("reindex",): Case(("{hostile}",)),
    ("adapt",): Case((), prints=False),
    ("report",): Case(("--out", "{data}-{name}-report"), prints=False),
    # `serve` changes the environment and signal handlers, so it runs in a separate process, below.
    ("serve",): Case(("--help",), prints=False),
    ("train",): Case(("{hostile}",)),
    ("make-shards",): Case(("{folder}", "{data}-packed")),
    ("fit",): Case(("{hostile}",)),
    ("calibrate",): Case(("{hostile}", "{folder}")),
    ("quantise",): Case(("{hostile}", "--images", "{folder}", "--precision", "int8")),
    ("evaluate",): Case(("{hostile}", "{folder}")),
    ("compare",): Case(("{hostile}",)),
    ("bench",): Case(("{name}",)),
    ("models",): Case((), prints=False),
    ("keys", "create"): Case(("{name}",), prints=False),
    ("keys", "list"): Case(()),
    ("keys", "revoke"): Case(("{name}",)),
}


def every_command(command: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the names of all commands, prefixed with their group's name."""
    subcommands = getattr(command, "commands", None)
    if not subcommands:
        yield before
        return
    for name, subcommand in subcommands.items():
        yield from every_command(subcommand, (*before, name))


def run(data: Path, *words: str, **variables: str) -> Result:
    environment = {"LOOKALIKE_DATA_DIR": str(data), "LOOKALIKE_DEMO": "off", "COLUMNS": "1000", "LINES": "50"}
    return CliRunner().invoke(commands, words, env=environment | variables)


def controls(text: str) -> set[str]:
    """Return the control characters in a text, except line breaks."""
    return {
        character
        for character in text
        if character != "\n" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }


def expect_plain(result: Result, *, prints: bool) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert controls(result.output) == set()
    assert "\nFAKE" not in result.output
    assert not prints or SHOWN in result.output, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for label, picture in ((HOSTILE_NAME, corners(60, 40)), ("other", gradient())):
        # The hostile name contains a slash, so it is a folder and a file name.
        for file in (folder / label / "good.png", folder / label / f"{HOSTILE_NAME}.png"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(picture, "PNG"))
        (folder / label / f"{HOSTILE_NAME}.jpg").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """A catalogue with hostile keys and labels, an API key with a hostile name, and a damaged original."""
    data = tmp_path_factory.mktemp("hostile") / "data"
    gone = tmp_path_factory.mktemp("gone") / HOSTILE_NAME / "gone.png"
    gone.parent.mkdir(parents=True)
    gone.write_bytes(encoded(gradient(70, 30), "PNG"))
    assert "1 created" in run(data, "index", str(gone.parents[len(Path(HOSTILE_NAME).parts)])).output
    assert run(data, "delete", "--filter", '{"key": {"$exists": true}}', "--yes").exit_code == 0
    assert "4 created" in run(data, "index", str(folder)).output
    assert run(data, "keys", "create", HOSTILE).exit_code == 0
    for original in sorted((data / "pictures").rglob("*")):
        if original.is_file() and original.read_bytes() == (folder / "other" / "good.png").read_bytes():
            original.write_bytes(b"damaged")
    return data


def test_every_command_has_a_case() -> None:
    assert set(every_command(get_command(commands))) == set(CASES)


@pytest.mark.parametrize("command", CASES, ids=" ".join)
def test_command_output_has_no_control_characters(
    command: tuple[str, ...], data: Path, folder: Path, tmp_path: Path
) -> None:
    case = CASES[command]
    values = {"hostile": str(tmp_path / HOSTILE), "folder": str(folder), "data": str(tmp_path / "new"), "name": HOSTILE}
    if command == ("search",):
        values["name"] = HOSTILE_NAME
    result = run(data, *command, *(word.format(**values) for word in case.words))
    expect_plain(result, prints=case.prints)


def test_server_that_fails_to_start_prints_the_error_as_plain_text(data: Path) -> None:
    command = [sys.executable, "-m", "app.cli.main", "serve", "--data-dir", str(data), "--model", HOSTILE]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert controls(output) == set()
    assert SHOWN in output.replace("\n", "")


def test_rejection_report_contains_names_unchanged(data: Path, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "rejected.jsonl"
    result = run(data, "index", str(folder), "--rejections", str(report))
    expect_plain(result, prints=True)
    names = [json.loads(line)["name"] for line in report.read_text().splitlines()]
    assert any("\x1b[2J" in name and "[/x]" in name for name in names)


@contextmanager
def service_that_fails(status: int, detail: str) -> Iterator[str]:
    """Run a service that answers every request with this problem; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps({"title": detail, "status": status, "detail": detail, "errors": []}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 – the base class's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [401, 422])
def test_error_of_a_service_is_printed_as_plain_text(status: int, folder: Path, tmp_path: Path) -> None:
    with service_that_fails(status, HOSTILE) as url:
        result = run(tmp_path / "data", "index", str(folder / "other"), "--url", url)
    expect_plain(result, prints=True)


def test_invalid_setting_is_printed_as_plain_text(tmp_path: Path) -> None:
    result = run(tmp_path, "stats", LOOKALIKE_ALLOWED_HOSTS=HOSTILE)
    assert result.exit_code == 1
    expect_plain(result, prints=False)
    assert "LOOKALIKE_ALLOWED_HOSTS" in result.output
