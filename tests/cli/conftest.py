"""Fixtures of commands that work in this process, and through a running service."""

from collections.abc import Iterator

import pytest
from lookalike_client import Lookalike, NewImage

from app.settings import Settings
from tests.api.server import serve
from tests.cli.commands import KEYS
from tests.conftest import open_with_fake
from tests.images import encoded, gradient


@pytest.fixture
def fake_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands open the catalogue with the fake network."""
    monkeypatch.setattr("app.bootstrap.open_service", open_with_fake)


@pytest.fixture
def client(settings: Settings) -> Iterator[Lookalike]:
    """A running service with six images: three boots and three hats, priced 0 to 5."""
    with serve(settings) as server, Lookalike(server.url) as client:
        client.add(
            NewImage(encoded(gradient(20 + at, 20), "PNG"), key, ("boots", "hats")[at % 2], {"price": at})
            for at, key in enumerate(KEYS)
        )
        yield client


@pytest.fixture(params=["in-process", "over HTTP"])
def where(request: pytest.FixtureRequest, client: Lookalike) -> list[str]:
    """Options with which a command works beside the running service, or through it."""
    return [] if request.param == "in-process" else ["--url", client._url]
