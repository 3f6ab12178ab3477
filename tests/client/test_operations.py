"""Calls for people who run the service: API keys, models and maintenance tasks."""

import sys
import time
from collections.abc import Iterator

import pytest
from lookalike_client import Lookalike, ProblemError

from app.api.middleware import auth
from app.settings import Settings
from app.tasks import runner
from tests.api.server import serve


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve(settings.model_copy(update={"auth": "auto"})) as server:
        yield server.url


def test_keys_are_created_listed_and_revoked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "CACHE_TTL_S", 0.0)  # the first key counts at once
    with Lookalike(url) as anyone:
        admin = anyone.create_key("operator", ["admin"])
        assert (admin.name, admin.scopes, admin.last_used_at) == ("operator", ("admin",), None)
    with Lookalike(url, key=admin.key) as operator:
        shop = operator.create_key("shop")
        assert [(one.name, one.scopes) for one in operator.list_keys()] == [
            ("operator", ("admin",)),
            ("shop", ("search",)),
        ]
        with pytest.raises(ProblemError) as taken:
            operator.create_key("shop")
        assert taken.value.status == 422
        with Lookalike(url, key=shop.key) as visitor, pytest.raises(ProblemError) as refused:
            visitor.list_keys()
        assert refused.value.status == 403
        operator.delete_key(shop.id)
        assert [one.name for one in operator.list_keys()] == ["operator"]
        with pytest.raises(ProblemError) as gone:
            operator.delete_key(shop.id)
        assert gone.value.status == 404


def test_shipped_models_are_listed(url: str) -> None:
    with Lookalike(url) as catalogue:
        assert {"general-small", "general-large", "clothing"} <= {one.name for one in catalogue.list_models()}


def test_tasks_are_started_and_cancelled(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    with Lookalike(url) as catalogue:
        assert catalogue.list_tasks() == ()
        started = catalogue.start_report()
        assert (started.kind, started.state, started.ended_at) == ("report", "running", None)
        for start in (catalogue.start_adapt, catalogue.start_demo, lambda: catalogue.start_reindex("general-large")):
            with pytest.raises(ProblemError) as busy:
                start()
            assert busy.value.status == 409
        assert catalogue.cancel_task("report").kind == "report"
        until = time.monotonic() + 60
        while (ended := catalogue.list_tasks()[0]).state == "running":
            assert time.monotonic() < until
            time.sleep(0.05)
        assert ended.state == "cancelled"
        with pytest.raises(ProblemError) as never:
            catalogue.cancel_task("adapt")
        assert never.value.status == 404
