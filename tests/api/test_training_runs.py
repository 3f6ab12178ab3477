"""Training runs over the API: list, details, events, and names that are no runs."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from models.training.progress import COLUMNS

Row = dict[str, str]


def row(phase: str, epoch: int, *, measured: bool = False, age: timedelta = timedelta(0)) -> Row:
    values = dict.fromkeys(COLUMNS, "")
    time = (datetime.now(UTC) - age).isoformat(timespec="seconds")
    values |= {"time": time, "phase": phase, "epoch": str(epoch), "epochs": "3", "step": "4", "steps": "4"}
    values |= {"rate": "0.1", "loss": "0.5", "images_per_second": "40", "seconds_left": "12"}
    return values | ({"accuracy": "0.8", "es": "0.6", "hds": "0.75", "bcs": "0.7"} if measured else {})


def write(path: Path, *rows: Row) -> None:
    text = io.StringIO()
    lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    lines.writeheader()
    lines.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue())


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.data_dir / "runs"


def test_runs_are_listed_with_state_scores_and_checkpoints(client: TestClient, folder: Path) -> None:
    assert client.get("/training/runs").json() == {"folder": str(folder), "items": []}
    write(folder / "running.log.csv", row("head", 0, measured=True), row("epochs", 1, measured=True), row("epochs", 2))
    (folder / "running-head.json").write_text("{}")
    old = timedelta(hours=1)
    write(folder / "stopped.log.csv", row("epochs", 1, age=old))
    write(
        folder / "done.log.csv",
        row("epochs", 1, measured=True, age=2 * old),
        row("done", 1, measured=True, age=2 * old),
    )
    (folder / "done.json").write_text("{}")
    (folder / "other.log.csv").write_text("a,b\n1,2\n")
    (folder / "empty.log.csv").write_text("")
    items = client.get("/training/runs").json()["items"]
    assert [(one["name"], one["state"]) for one in items] == [
        ("running", "running"),
        ("stopped", "stopped"),
        ("done", "done"),
    ]
    running = items[0]
    assert (running["epoch"], running["epochs"], running["step"], running["seconds_left"]) == (2, 3, 4, 12)
    assert [(one["epoch"], one["loss"], one["hds"]) for one in running["history"]] == [(0, None, 0.75), (1, 0.5, 0.75)]
    assert [one["checkpoints"] for one in items] == [["running-head"], [], ["done"]]
    assert client.get("/training/runs/running").json() == running


@pytest.mark.parametrize("name", ["missing", "..%2F..%2Fetc%2Fpasswd", "%00", "other"])
def test_run_that_does_not_exist_is_404(client: TestClient, folder: Path, name: str) -> None:
    write(folder / "mine.log.csv", row("epochs", 1))
    (folder / "other.log.csv").write_text("a,b\n1,2\n")
    for path in (f"/training/runs/{name}", f"/training/runs/{name}/events"):
        response = client.get(path)
        assert response.status_code == 404, path
        assert response.headers["content-type"] == "application/problem+json"


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data:")) for line in text.splitlines() if line.startswith("data:")]


def test_events_follow_the_log_until_the_run_is_done(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "mine.log.csv"
    first, second = [row("epochs", 1)], [row("epochs", 1), row("epochs", 1, measured=True)]
    write(path, *first)
    steps: list[Callable[[], None]] = [
        lambda: write(path, *second),
        lambda: write(path, *second, row("done", 1, measured=True)),
    ]

    async def next_step(_seconds: float) -> None:
        steps.pop(0)()

    monkeypatch.setattr("app.api.routes.job_events.asyncio.sleep", next_step)
    found = events(client.get("/training/runs/mine/events").text)
    assert [(one["state"], len(one["history"])) for one in found] == [("running", 0), ("running", 1), ("done", 1)]


def test_page_is_open_and_loads_its_script(client: TestClient) -> None:
    page = client.get("/training")
    assert page.status_code == 200
    assert "training/training.html.js" in page.text
