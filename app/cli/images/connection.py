"""Connections of commands to a running service: one that is named, or the one that runs on the data folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from lookalike_client import ClientError, Lookalike, RetryPolicy
from lookalike_client.requests import base_url

from app.cli.images.waiting import WaitNotice
from app.cli.terminal import fail, notice
from app.common.running_services import find_services
from app.settings import Settings

# Seconds within which a service on this machine answers a health check, unless it hangs.
_HEALTH_TIMEOUT_S = 3.0
_ATTEMPTS = 5


def require_url(url: str | None) -> None:
    """Exit with an error if an address is not one of HTTP."""
    if url is not None:
        try:
            base_url(url)
        except ClientError as error:
            fail(str(error))


@contextmanager
def connect(
    url: str, key: str | None, attempts: int = _ATTEMPTS, show: Callable[[str], None] = notice
) -> Iterator[Lookalike]:
    """Connect to a service for the length of the block; an error of the client ends the command with its text.

    Args:
        url: the service's address.
        key: an API key.
        attempts: how often a request is sent while the service is unreachable or busy.
        show: prints what the command waits for; called from another thread.
    """
    require_url(url)
    waiting = WaitNotice(url, show)
    try:
        with Lookalike(url, key, retries=RetryPolicy(attempts), trace=waiting) as client:
            yield client
    except ClientError as error:
        fail(str(error))
    finally:
        waiting.close()


def running_service(settings: Settings) -> str | None:
    """Return the address of a service that runs on the settings' catalogue and answers; None if there is none."""
    for service in find_services(settings.data_dir, settings.database_url):
        try:
            httpx.get(f"{service.url}/healthz", timeout=_HEALTH_TIMEOUT_S, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            notice(f"The service at {service.url} does not answer.")
        else:
            return service.url
    return None
