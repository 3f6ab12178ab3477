"""Prometheus metrics: requests, errors, stages, catalogue and jobs, of one and of several processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import make_url

from app.api.problem_codes import IMAGE_CODES
from app.catalogue.database.sessions import Database
from app.ingest.jobs import rows as jobs
from app.main import create_app
from app.observability import multiprocess_metrics as metrics_files
from app.observability.metrics import Metrics
from app.observability.multiprocess_metrics import FOLDER_VARIABLE, remove_abandoned, remove_dead_gauges, shared_folder
from app.settings import Settings
from models.data.left_out import LeftOut
from tests.api.job_helpers import send_archive, wait_until_ended
from tests.api.test_index import INVALID_IMAGE, add_images, random_image
from tests.catalogue.postgres import connect
from tests.conftest import open_with_fake
from tests.ingest.archives import zipped

Value = float | None


def metric_value(text: str, name: str, /, **labels: str) -> Value:
    """Return the value of a sample; None if there is none."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def seen(client: TestClient, name: str, /, **labels: str) -> Value:
    return metric_value(client.get("/metrics").text, name, **labels)


def test_searches_are_counted_by_mode_and_timed_by_stage(client: TestClient) -> None:
    add_images(client, random_image(1), random_image(2))
    for mode in ("hds", "bcs", "bcs"):
        client.post("/search", params={"mode": mode}, files={"image": random_image(1)})
    text = client.get("/metrics").text
    assert metric_value(text, "lookalike_searches_total", mode="hds") == 1
    assert metric_value(text, "lookalike_searches_total", mode="bcs") == 2
    assert metric_value(text, "lookalike_search_duration_seconds_count", mode="bcs") == 2
    assert metric_value(text, "lookalike_search_candidates_sum", mode="hds") == 2
    for stage in ("decode", "encode", "coarse", "fine", "catalogue"):
        assert metric_value(text, "lookalike_search_stage_duration_seconds_count", stage=stage) == 3, stage


def test_stage_durations_add_up_to_at_most_the_search_duration(client: TestClient) -> None:
    client.post("/search", files={"image": random_image(1)})
    text = client.get("/metrics").text
    stages = [
        metric_value(text, "lookalike_search_stage_duration_seconds_sum", stage=stage)
        for stage in ("decode", "encode", "fine")
    ]
    whole = metric_value(text, "lookalike_search_duration_seconds_sum", mode="hds")
    assert whole is not None
    assert 0 < sum(stage for stage in stages if stage is not None) <= whole


def test_startup_counts_no_search(client: TestClient) -> None:
    assert seen(client, "lookalike_searches_total", mode="hds") is None


def test_images_added_by_request_and_by_job_are_counted(client: TestClient) -> None:
    add_images(client, random_image(1), random_image(2), INVALID_IMAGE)
    add_images(client, random_image(1))
    wait_until_ended(client, send_archive(client, zipped({"3.png": random_image(3), "notes.jpg": b"none"})))
    text = client.get("/metrics").text
    found = {
        status: metric_value(text, "lookalike_ingest_images_total", status=status)
        for status in ("created", "updated", "unchanged", "rejected")
    }
    assert found == {"created": 3, "updated": 0, "unchanged": 1, "rejected": 2}
    assert metric_value(text, "lookalike_ingest_batch_duration_seconds_count") == 3
    for stage in ("decode", "store", "encode", "commit"):
        assert metric_value(text, "lookalike_ingest_stage_duration_seconds_count", stage=stage) == 3, stage


def test_errors_are_counted_by_code(client: TestClient) -> None:
    client.post("/search", files={"image": INVALID_IMAGE})
    add_images(client, INVALID_IMAGE, b"")
    client.get("/images/17")
    client.get("/nowhere")
    client.post("/search", params={"k": 0}, files={"image": random_image(1)})
    text = client.get("/metrics").text
    counted = [metric_value(text, "lookalike_images_rejected_total", code=code) for code in IMAGE_CODES]
    assert sum(count or 0 for count in counted) == 3
    assert metric_value(text, "lookalike_images_rejected_total", code="image_empty") == 1
    reasons = {"image_format_unsupported": 1, "not_found": 2, "invalid_request": 1}
    found = {reason: metric_value(text, "lookalike_http_errors_total", code=reason) for reason in reasons}
    assert found == reasons


def test_overload_is_counted(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_concurrent_requests": 1}), open_with_fake)
    with TestClient(app) as client:
        inside, leave = threading.Event(), threading.Event()

        @app.get("/slow")
        def slow() -> None:
            inside.set()
            leave.wait(30)

        waiting = threading.Thread(target=client.get, args=("/slow",))
        waiting.start()
        assert inside.wait(30)
        assert client.get("/images").status_code == 503
        assert seen(client, "lookalike_http_requests_in_progress") == 2, "the slow request and this one"
        leave.set()
        waiting.join()
        assert seen(client, "lookalike_http_errors_total", code="overloaded") == 1
        assert seen(client, "lookalike_http_requests_in_progress") == 1


def test_requests_are_counted_by_route_and_not_by_url(client: TestClient) -> None:
    for number in range(1, 6):
        client.get(f"/images/{number}")
        client.get(f"/made/up/{number}")
        client.request(f"ODD{number}", "/images")
    client.get("/web/style.css")
    text = client.get("/metrics").text
    labels = {"method": "GET", "route": "/images/{image_id}", "status": "404"}
    assert metric_value(text, "lookalike_http_requests_total", **labels) == 5
    assert metric_value(text, "lookalike_http_requests_total", method="GET", route="other", status="404") == 5
    assert metric_value(text, "lookalike_http_requests_total", method="GET", route="/web", status="200") == 1
    assert metric_value(text, "lookalike_http_requests_total", method="other", route="/images", status="405") == 5
    assert (
        metric_value(text, "lookalike_http_request_duration_seconds_count", method="GET", route="/images/{image_id}")
        == 5
    )
    assert "ODD" not in text
    assert "made/up" not in text


def test_unknown_code_of_a_decoder_creates_no_metric_label() -> None:
    metrics = Metrics()
    metrics.on_rejected("unknown_code")
    assert metric_value(metrics.render().decode(), "lookalike_images_rejected_total", code="image_damaged") == 1


def test_catalogue_size_and_index_lag(client: TestClient, database: Database) -> None:
    add_images(client, random_image(1), random_image(2))
    behind = client.get("/metrics").text
    assert metric_value(behind, "lookalike_images") == 0
    lag = (metric_value(behind, "lookalike_catalogue_seq") or 0) - (metric_value(behind, "lookalike_applied_seq") or 0)
    assert lag == 1
    client.post("/search", files={"image": random_image(1)})
    text = client.get("/metrics").text
    assert metric_value(text, "lookalike_images") == 2
    assert metric_value(text, "lookalike_catalogue_seq") == metric_value(text, "lookalike_applied_seq")
    assert metric_value(text, "lookalike_workers") == 1
    assert metric_value(text, "lookalike_database_up") == 1
    assert metric_value(text, "lookalike_model_info", name="fake", fingerprint="fa5e" * 4) == 1
    for name in ("codes_bytes", "vectors_bytes", "disk_free_bytes"):
        assert (metric_value(text, f"lookalike_{name}") or 0) > 0, name


def test_running_jobs_report_their_progress(client: TestClient, database: Database) -> None:
    assert seen(client, "lookalike_jobs_running") == 0
    with jobs.job_lock(database) as mine:
        assert mine, "the service's runner must wait"
        with database.transaction() as session:
            job = jobs.create_job(session, "archive", 10)
            jobs.set_total(session, job.id, 7, LeftOut())
            job.processed = 3
        text = client.get("/metrics").text
    assert metric_value(text, "lookalike_jobs_running") == 1
    assert metric_value(text, "lookalike_jobs_entries") == 7
    assert metric_value(text, "lookalike_jobs_processed_entries") == 3
    assert metric_value(text, "lookalike_reindex_images") == 0


def test_metrics_are_available_without_the_database(client: TestClient, migrated_url: str, postgres_url: str) -> None:
    name = make_url(migrated_url).database
    with connect(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        text = client.get("/metrics").text
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert metric_value(text, "lookalike_database_up") == 0
    assert metric_value(text, "lookalike_catalogue_seq") is None
    assert metric_value(text, "lookalike_images") == 0


def test_metric_names_follow_prometheus_conventions(client: TestClient) -> None:
    """Base units, a unit or `total` at the end, one prefix (https://prometheus.io/docs/practices/naming/)."""
    client.post("/search", files={"image": random_image(1)})
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("lookalike_"), family.name
        assert family.documentation.endswith("."), family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_mb", "_percent", "_count")), family.name
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_candidates")), family.name


COUNT = """
import os, sys
from pathlib import Path
from app.observability.metrics import Metrics
metrics = Metrics(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
metrics.on_rejected("image_damaged")
metrics.observe_response("GET", "/images", 200, 0.25)
held = metrics.in_progress()
held.__enter__()
print("counted", flush=True)
sys.stdin.read()
print(metrics.render().decode(), flush=True)
"""


def counting() -> "subprocess.Popen[str]":
    """Start a process that has counted a rejected image, a response and a request in progress, and waits."""
    process = subprocess.Popen([sys.executable, "-c", COUNT], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


@pytest.fixture
def folder() -> Iterator[Path]:
    with shared_folder() as shared:
        yield shared


def test_processes_share_counters_and_gauges_of_dead_ones_are_removed(folder: Path) -> None:
    died, lives, tells = counting(), counting(), counting()
    died.kill()
    died.communicate()
    text, _ = tells.communicate("")
    lives.communicate("")
    assert metric_value(text, "lookalike_images_rejected_total", code="image_damaged") == 3
    assert metric_value(text, "lookalike_http_request_duration_seconds_count", method="GET", route="/images") == 3
    assert metric_value(text, "lookalike_http_request_duration_seconds_sum", method="GET", route="/images") == 0.75
    assert metric_value(text, "lookalike_http_requests_in_progress") == 2
    assert not list(folder.glob(f"gauge_live*_{died.pid}.db"))


def test_metrics_folder_is_deleted_at_exit_and_abandoned_ones_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"{metrics_files.PREFIX}left"
    left.mkdir()
    (left / "lock").touch()
    (left / "counter_1.db").write_bytes(b"")
    os.utime(left / "lock", (0, 0))
    with shared_folder() as first:
        assert not left.exists()
        assert os.environ[FOLDER_VARIABLE] == str(first)
        os.utime(first / "lock", (0, 0))
        remove_abandoned(tmp_path)
        assert first.exists(), "its lock is held"
        with shared_folder() as same:
            assert same == first, "workers use the folder of their parent"
    assert not first.exists()
    assert FOLDER_VARIABLE not in os.environ


def test_removing_a_dead_process_twice_is_harmless(folder: Path) -> None:
    counting().communicate("")
    for _ in range(2):
        remove_dead_gauges(folder)
    assert list(folder.glob("counter_*.db"))


def test_gauges_that_another_worker_deletes_at_the_same_time_are_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting().communicate("")

    def remove_after_another(path: str) -> None:
        Path(path).unlink()
        Path(path).unlink()

    monkeypatch.setattr("prometheus_client.multiprocess.os.remove", remove_after_another)
    remove_dead_gauges(folder)
    assert not list(folder.glob("gauge_livesum_*.db"))
