"""Maintenance tasks over the API: with commands of the test's own, and with the real ones on a real service."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.catalogue.database.locks import Lock, lock_if_free
from app.catalogue.database.sessions import Database
from app.main import create_app
from app.settings import Settings
from app.tasks import rows, runner
from app.tasks.rows import TaskKind
from app.tasks.runner import parse_progress
from tests.conftest import copy_data, open_with_fake, running_server
from tests.images import encoded, gradient

WITHIN_S = 60
# A command that prints progress, waits for a file of its task's name, and prints its arguments.
WAITING = """
import json, os, pathlib, sys, time
print(json.dumps({"step": "encoding", "processed": 3, "total": 10}), file=sys.stderr, flush=True)
while not pathlib.Path(os.environ["LOOKALIKE_DATA_DIR"], "go").exists():
    time.sleep(0.02)
print(*sys.argv[1:])
"""
FAILING = "import sys; print('noise', file=sys.stderr); sys.exit('The disk is full.')"
PRIORITY = "import os, time; time.sleep(0.2); print(os.getpriority(os.PRIO_PROCESS, 0))"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the program that a task runs."""
    monkeypatch.setattr("app.tasks.child._POLL_S", 0.05)

    def use(code: str) -> None:
        monkeypatch.setattr(runner, "COMMAND", (sys.executable, "-c", code))

    use(WAITING)
    return use


def wait_for(
    client: TestClient | httpx2.Client, holds: Callable[[dict[str, Any]], bool], within: float = WITHIN_S
) -> dict[str, Any]:
    """Wait until the latest task is in a state, and return it."""
    deadline = time.monotonic() + within
    while not holds(task := client.get("/tasks").json()["items"][0]):
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    return dict(task)


def has_ended(task: dict[str, Any]) -> bool:
    return bool(task["state"] != "running")


def release(settings: Settings) -> None:
    (settings.data_dir / "go").touch()


@pytest.mark.usefixtures("command")
def test_task_runs_the_command_and_shows_its_progress_and_result(client: TestClient, settings: Settings) -> None:
    assert client.get("/tasks").json() == {"items": []}
    started = client.post("/tasks/reindex", json={"model": "general-large"})
    assert started.status_code == 202
    assert (started.json()["state"], started.json()["model"]) == ("running", "general-large")
    running = wait_for(client, lambda task: task["processed"] == 3)
    assert (running["kind"], running["step"], running["total"], running["ended_at"]) == (
        "reindex",
        "encoding",
        10,
        None,
    )
    release(settings)
    ended = wait_for(client, has_ended)
    assert (ended["state"], ended["message"]) == ("done", "--json-progress reindex general-large")
    assert ended["ended_at"] > ended["started_at"]


@pytest.mark.parametrize(("kind", "behind"), [("adapt", True), ("demo", False)])
def test_task_has_the_lowest_priority_unless_somebody_waits_for_it(
    client: TestClient, command: Callable[[str], None], kind: str, behind: bool
) -> None:
    command(PRIORITY)
    client.post(f"/tasks/{kind}")
    ended = wait_for(client, has_ended)
    assert (ended["state"], ended["message"] == "19") == ("done", behind)


def test_failed_task_has_the_reason_and_can_run_again(client: TestClient, command: Callable[[str], None]) -> None:
    command(FAILING)
    for _ in range(2):
        assert client.post("/tasks/adapt").status_code == 202
        assert wait_for(client, has_ended)["message"] == "The disk is full."
    assert [task["state"] for task in client.get("/tasks").json()["items"]] == ["failed"]


@pytest.mark.usefixtures("command")
def test_only_one_task_runs_at_a_time_in_all_processes(client: TestClient, settings: Settings) -> None:
    client.post("/tasks/adapt")
    with TestClient(create_app(settings, open_with_fake)) as other:
        for answer in (client.post("/tasks/report"), other.post("/tasks/adapt")):
            assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
            assert answer.json()["detail"] == "The task adapt is running or being stopped. Wait until it has ended."
        assert other.get("/tasks").json()["items"][0]["state"] == "running"
        release(settings)
        assert wait_for(other, has_ended)["state"] == "done"


@pytest.mark.usefixtures("command")
def test_task_is_cancelled_from_another_process(client: TestClient, settings: Settings) -> None:
    assert client.post("/tasks/report/cancel").status_code == 404
    client.post("/tasks/report")
    with TestClient(create_app(settings, open_with_fake)) as other:
        cancelled = other.post("/tasks/report/cancel").json()
    assert (cancelled["state"], cancelled["message"]) == ("cancelled", "Cancelled.")
    deadline = time.monotonic() + WITHIN_S
    while client.post("/tasks/adapt").status_code == 409:
        assert time.monotonic() < deadline, "the process has not ended"
    assert [task["state"] for task in client.get("/tasks").json()["items"]] == ["running", "cancelled"]
    release(settings)
    wait_for(client, has_ended)
    assert client.post("/tasks/adapt/cancel").json()["state"] == "done"


@pytest.mark.usefixtures("command")
def test_task_ends_with_its_service(settings: Settings) -> None:
    with TestClient(create_app(settings, open_with_fake)) as client:
        client.post("/tasks/adapt")
    with TestClient(create_app(settings, open_with_fake)) as client:
        task = client.get("/tasks").json()["items"][0]
    assert (task["state"], task["message"]) == ("failed", rows.INTERRUPTED)


def test_task_of_a_service_that_died_is_shown_as_failed(client: TestClient, database: Database) -> None:
    with database.transaction() as session:
        rows.begin(session, TaskKind.REINDEX, "general")
    assert client.get("/tasks").json()["items"][0]["message"] == rows.INTERRUPTED
    with lock_if_free(database, Lock.TASK):
        assert client.get("/tasks").json()["items"][0]["state"] == "running"


def test_adapting_is_refused_while_a_command_does_it(client: TestClient, database: Database) -> None:
    with lock_if_free(database, Lock.ADAPT):
        answer = client.post("/tasks/adapt")
    assert (answer.status_code, client.get("/tasks").json()) == (409, {"items": []})
    assert answer.json()["detail"] == "Codes are being fitted to the catalogue already. Wait until that has ended."


@pytest.mark.usefixtures("command")
def test_demo_is_added_to_an_empty_catalogue(client: TestClient, settings: Settings) -> None:
    started = client.post("/tasks/demo")
    assert (started.status_code, started.json()["kind"], started.json()["state"]) == (202, "demo", "running")
    release(settings)
    ended = wait_for(client, has_ended)
    assert (ended["kind"], ended["state"], ended["message"]) == ("demo", "done", "--json-progress demo")


@pytest.mark.usefixtures("command")
def test_demo_is_refused_if_the_catalogue_or_its_trash_has_images(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"trash_days": 1}), open_with_fake)) as client:
        files = {"images": ("one.png", encoded(gradient(40, 40)))}
        (added,) = client.post("/index", files=files).json()["items"]
        for change in (lambda: None, lambda: client.delete(f"/images/{added['id']}")):
            change()
            answer = client.post("/tasks/demo")
            assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
            assert answer.json()["detail"].startswith("The catalogue or its trash has images, and the demo is added")
        assert client.get("/tasks").json() == {"items": []}


@pytest.mark.parametrize("model", ["", "nothing", "../../etc/passwd", "--help", "x" * 5000, "\x00", 7, None])
def test_reindexing_with_an_unknown_model_is_rejected(client: TestClient, model: object) -> None:
    answer = client.post("/tasks/reindex", json={"model": model})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["model"]
    assert client.get("/tasks").json() == {"items": []}


def test_reindexing_is_refused_if_the_settings_fix_another_model(settings: Settings) -> None:
    fixed = settings.model_copy(update={"model": "general-small"})
    with TestClient(create_app(fixed, open_with_fake)) as client:
        answer = client.post("/tasks/reindex", json={"model": "general-large"})
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("LOOKALIKE_MODEL is general-small, so the service would not start")


def test_models_are_listed(client: TestClient) -> None:
    items = {item["name"]: item for item in client.get("/models").json()["items"]}
    assert {"general-small", "general-large", "general", "clothing"} <= set(items)
    assert (items["general-small"]["bits"], items["general-small"]["classes"]) == (128, 0)
    assert items["clothing"]["classes"] > 1


@pytest.mark.parametrize("line", ["", "error", "{", '{"step": 1', '{"step": "a", "other": 1}', '["step"]'])
def test_other_lines_are_no_progress(line: str) -> None:
    assert parse_progress(line) is None


@pytest.fixture
def real(tmp_path: Path, demo_data: Path) -> Iterator[httpx2.Client]:
    with (
        running_server(copy_data(demo_data, tmp_path / "data"), LOOKALIKE_ADAPT="off") as (url, _),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_tasks_measure_and_move_a_real_catalogue(real: httpx2.Client) -> None:
    assert real.get("/report/summary").status_code == 404
    real.post("/tasks/report").raise_for_status()
    assert wait_for(real, has_ended, 300)["message"] == "The report is ready."
    summary = real.get("/report/summary").json()
    assert summary["images"] == real.get("/stats").json()["images"]
    assert 0 < summary["precision"] <= 1
    precision = [label["precision"] for label in summary["labels"]]
    assert precision == sorted(precision)
    for label in summary["labels"]:
        for example in label["examples"]:
            assert real.get(f"/images/{example}").json()["label"] == label["label"]
    assert "Search quality" in real.get("/report").text

    few = wait_for(real, has_ended) if real.post("/tasks/adapt").is_success else {}
    assert few["message"].startswith("Fitting codes needs 500 images, and the catalogue has")

    real.post("/tasks/reindex", json={"model": "general"}).raise_for_status()
    assert real.post("/tasks/report").status_code == 409
    moved = wait_for(real, has_ended, 600)
    assert moved["state"] == "done", moved["message"]
    assert moved["processed"] == moved["total"] > 0
    assert moved["message"].startswith("The catalogue and all running services now use general ")
    assert real.get("/images/1/similar").json()["results"][0]["id"] == 1
    assert real.get("/stats").json()["model"]["name"] == "general"
    assert [item["name"] for item in real.get("/models").json()["items"] if item["active"]] == ["general"]
