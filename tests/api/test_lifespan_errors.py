"""Messages of failed startups."""

import asyncio
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any

import pytest

from app.bootstrap import Service
from app.errors import UnavailableError
from app.main import create_app
from app.settings import Settings
from models.errors import CheckpointError


def startup_message(error: Exception, settings: Settings) -> str:
    """Return the lifespan message of a startup in which opening the service raises `error`."""
    sent = list[MutableMapping[str, Any]]()

    def opener(settings: Settings) -> AbstractContextManager[Service]:
        raise error

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    with pytest.raises(type(error)):
        asyncio.run(create_app(settings, opener)({"type": "lifespan", "state": {}}, receive, send))
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    return str(message["message"])


@pytest.mark.parametrize(
    "error", [UnavailableError("The database is unavailable."), CheckpointError("The checkpoint is damaged.")]
)
def test_known_startup_error_is_reported_by_its_message(error: Exception, settings: Settings) -> None:
    assert startup_message(error, settings) == str(error)


def test_unexpected_startup_error_is_reported_with_its_traceback(settings: Settings) -> None:
    assert "Traceback" in startup_message(RuntimeError("unexpected"), settings)
