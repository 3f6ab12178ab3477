"""Adapting by itself: when it is due, and a real service that does it."""

import logging
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.adaptation import watcher
from app.adaptation.watcher import AdaptationWatcher, adaptation_due
from app.bootstrap import Service
from app.catalogue.database.tables import FeatureSet, IndexVersion
from app.ingest.uploads import Upload
from app.settings import Settings
from app.tasks.child import environment_of
from tests.conftest import running_server
from tests.crash.ledger import numbered_image
from tests.fakes import FAKE_NETWORK
from tests.upgrade.record import lookalike

WITHIN_S = 300


def version(last: dict[str, Any] | None) -> IndexVersion:
    return IndexVersion(feature_set=FeatureSet(last_adaptation=last))


@pytest.mark.parametrize(
    ("images", "last", "due"),
    [(499, None, False), (500, None, True), (1999, 500, False), (2000, 500, True), (300, 50, False)],
)
def test_adapting_is_due_at_first_and_when_the_catalogue_has_grown(images: int, last: int | None, due: bool) -> None:
    assert adaptation_due(images, version(None if last is None else {"images": last}), FAKE_NETWORK) is due


def test_codes_that_labels_taught_are_not_replaced() -> None:
    assert not adaptation_due(10_000, version(None), replace(FAKE_NETWORK, classes=("a", "b")))


@pytest.mark.slow
@pytest.mark.timeout(2 * WITHIN_S)
def test_service_adapts_by_itself_while_it_is_searched(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        running_server(data, LOOKALIKE_DEMO="off") as (url, _),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        for first in range(0, 520, 40):
            files = [("images", (f"{number}.png", numbered_image(number))) for number in range(first, first + 40)]
            client.post("/index", files=files).raise_for_status()
        model, deadline = client.get("/stats").json()["model"], time.monotonic() + WITHIN_S
        assert (model["bits"], model["adapted"]) == (128, False)
        while (stats := client.get("/stats").json())["adaptation"] is None:
            assert time.monotonic() < deadline, (tmp_path / "data.server.log").read_text()
            client.post("/search", files={"image": numbered_image(7)}).raise_for_status()
        assert stats["adaptation"]["images"] == 520
        adapted = stats["adaptation"]["outcome"] == "adapted"
        # The next search switches, if the service has not noticed yet.
        client.post("/search", files={"image": numbered_image(7)}).raise_for_status()
        assert client.get("/stats").json()["model"]["adapted"] is adapted
        for number in range(0, 520, 40):
            best, *_ = client.post("/search", files={"image": numbered_image(number)}).json()["results"]
            assert (best["distance"], best["hamming"]) == (0, 0)
        assert "No problems found" in lookalike(data, "check")
        lookalike(data, "reindex", "general-small")
        best, *_ = client.post("/search", files={"image": numbered_image(7)}).json()["results"]
        assert (best["distance"], best["hamming"]) == (0, 0)
        assert client.get("/stats").json()["model"] == model


def test_command_gets_the_settings_of_the_service(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings.model_copy(update={"allowed_hosts": ("shop.example", "localhost"), "search_pool": 7})
    monkeypatch.setattr("os.environ", environment_of(given))
    assert Settings(_env_file=None) == given


@pytest.mark.parametrize("setting", ["auto", "off"])
def test_adapting_can_be_switched_off(service: Service, setting: str) -> None:
    settings = service.settings.model_copy(update={"adapt": setting})
    with AdaptationWatcher(replace(service, settings=settings)):
        running = {thread.name for thread in threading.enumerate()}
    assert ("adaptation" in running) is (setting == "auto")
    assert "adaptation" not in {thread.name for thread in threading.enumerate()}


def test_watcher_reports_why_codes_were_not_fitted(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit('first line\\nno space left')"]
    monkeypatch.setattr(watcher, "_COMMAND", failing)
    monkeypatch.setattr(watcher, "IDLE_S", 0)
    monkeypatch.setattr(watcher, "adaptation_due", lambda *_: True)
    service.ingest.add([Upload(numbered_image(1), "one", {})])
    with caplog.at_level(logging.WARNING), AdaptationWatcher(service):
        deadline = time.monotonic() + 60
        while "codes were not fitted" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert "codes were not fitted: no space left" in caplog.text
    assert "Traceback" not in caplog.text
