"""The client that waits."""

import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, Self, TypeVar, Unpack

import httpx2

from lookalike_client.batching import Portion
from lookalike_client.endpoints import Filters
from lookalike_client.errors import UnreachableError
from lookalike_client.methods import Operations
from lookalike_client.requests import Reply, Request, Steps, headers, reply_of
from lookalike_client.results import Picture
from lookalike_client.retries import Patience

P = ParamSpec("P")
T = TypeVar("T")


class Lookalike(Operations):
    """A service at an address. Safe for many threads.

    Args:
        url: where it listens.
        key: an API key, where it asks for one.
        timeout: seconds without a byte of an answer after which a try counts as failed.
        patience: how often, and after what pauses, a call is tried again.
        transport: what carries the requests, for tests and proxies of your own.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        timeout: float = 60.0,
        patience: Patience | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._url, self._patience, self.portion = url, patience or Patience(), Portion()
        self._http = httpx2.Client(base_url=url, headers=headers(key), timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def making(self, call: Callable[P, Steps[T]]) -> Callable[P, T]:
        """Returns a call as a function that returns when it is done."""

        @wraps(call)
        def made(*args: P.args, **kwargs: P.kwargs) -> T:
            steps = call(*args, **kwargs)
            try:
                request = next(steps)
                while True:
                    request = steps.send(self._send(request))
            except StopIteration as done:
                result: T = done.value
                return result

        return made

    def list(self, **filters: Unpack[Filters]) -> Iterator[Picture]:
        """Goes through all pictures, in the order in which they were added."""
        page = self.page(**filters)
        yield from page.items
        while page.next_cursor is not None:
            page = self.page(cursor=page.next_cursor, **filters)
            yield from page.items

    def _send(self, request: Request) -> Reply:
        tried = 0
        while True:
            tried += 1
            outcome = self._try(request)
            pause = self._patience.pause(tried, outcome)
            if pause is None:
                if isinstance(outcome, httpx2.Response):
                    return reply_of(outcome, repeated=tried > 1)
                raise UnreachableError(self._url, str(outcome)) from outcome
            time.sleep(pause)

    def _try(self, request: Request) -> httpx2.Response | httpx2.RequestError:
        with request.opened() as arguments:
            try:
                return self._http.request(**arguments)
            except httpx2.RequestError as error:
                return error
