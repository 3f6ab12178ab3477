"""What a server is told that cannot start, or whose disk failed."""

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


def told_when(error: Exception, given: Settings) -> str:
    """Returns what a start says in which opening the service fails."""
    sent = list[MutableMapping[str, Any]]()

    def opener(settings: Settings) -> AbstractContextManager[Service]:
        raise error

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    with pytest.raises(type(error)):
        asyncio.run(create_app(given, opener)({"type": "lifespan", "state": {}}, receive, send))
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    return str(message["message"])


@pytest.mark.parametrize("error", [UnavailableError("It is away."), CheckpointError("It is damaged.")])
def test_what_was_foreseen_is_a_sentence(error: Exception, settings: Settings) -> None:
    assert told_when(error, settings) == str(error)


def test_of_what_was_not_all_is_told(settings: Settings) -> None:
    assert "Traceback" in told_when(RuntimeError("never heard of"), settings)
