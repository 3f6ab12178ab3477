"""The load test: Artillery's script and report, and what is missing without it."""

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app as commands
from app.errors import LookalikeError
from benchmarks.load.artillery import INSTALL, LoadResult, generate, read_report
from benchmarks.load.rates import measure
from benchmarks.results import Results

REPORT = {
    "aggregate": {
        "counters": {"http.requests": 100, "http.codes.200": 97, "http.codes.503": 2, "errors.ETIMEDOUT": 1},
        "summaries": {"http.response_time": {"p50": 20.1, "p95": 40.9, "p99": 62.2}},
    }
}
# Stands in for Artillery: keeps the script and the bodies, and writes a report.
FAKE = """#!/usr/bin/env python3
import json, os, pathlib, shutil, sys
report, script = pathlib.Path(sys.argv[4]), pathlib.Path(sys.argv[5])
kept = pathlib.Path(os.environ["KEPT"])
shutil.copytree(os.environ["LOAD_BODIES"], kept / "bodies", dirs_exist_ok=True)
shutil.copy(script, kept / "load.json")
assert (script.parent / "processor.cjs").exists()
report.write_text((kept / "report.json").read_text())
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the stand-in for Artillery was given."""
    command = tmp_path / "bin" / "artillery"
    command.parent.mkdir()
    command.write_text(FAKE)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("KEPT", str(tmp_path))
    return tmp_path


def test_requests_are_spread_evenly_and_carry_raw_images(kept: Path) -> None:
    generate("http://127.0.0.1:9", [b"one", b"two"], 12, 4, "secret")
    script = json.loads((kept / "load.json").read_text())
    assert script["config"]["phases"] == [{"duration": 4, "arrivalRate": 12}]
    (search,) = script["scenarios"][0]["flow"]
    assert search["post"]["headers"] == {"Content-Type": "image/jpeg", "Authorization": "Bearer secret"}
    assert [path.read_bytes() for path in sorted((kept / "bodies").iterdir())] == [b"one", b"two"]


def test_report_is_read() -> None:
    found = read_report(REPORT)
    assert found == LoadResult(100, {200: 97, 503: 2}, {"ETIMEDOUT": 1}, 20.1, 40.9, 62.2)
    empty = read_report({"aggregate": {"counters": {"errors.ECONNREFUSED": 5}}})
    assert empty == LoadResult(0, {}, {"ECONNREFUSED": 5}, None, None, None)


def test_results_have_percentiles_and_what_was_not_answered(kept: Path) -> None:
    results = Results("load", {})
    measure(results, "here, ", "http://127.0.0.1:9", (5,), 10, lambda _text: None)
    rows = {row.name: row for row in results.rows}
    assert [rows[f"here, 5 a second, {name}"].value for name in ("p50", "p95", "p99")] == [20.1, 40.9, 62.2]
    assert rows["here, 5 a second, answered"].of == (97, 100)
    assert (rows["here, 5 a second, 503"].value, rows["here, 5 a second, ETIMEDOUT"].value) == (2, 1)
    assert rows["here, highest rate that it kept up with, a core"].value == 0, "3 of 100 were not answered"


def test_failure_of_artillery_is_reported(kept: Path) -> None:
    (kept / "report.json").unlink()
    with pytest.raises(LookalikeError, match=r"(?s)Artillery failed .1.: .*report.json.*npm install"):
        generate("http://127.0.0.1:9", [b"one"], 1, 1)


def test_without_artillery_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(commands, ["bench", "load"])
    assert result.exit_code == 1
    assert INSTALL in " ".join(result.output.split())


def test_address_without_a_service_is_an_error(kept: Path) -> None:
    result = CliRunner().invoke(commands, ["bench", "load", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "http://127.0.0.1:9 is no service that is ready" in result.output


def test_options_of_the_load_test_are_not_ignored_by_others() -> None:
    result = CliRunner().invoke(commands, ["bench", "core", "--rate", "5"])
    assert result.exit_code == 1
    assert "are for the benchmark load, not for core" in result.output
