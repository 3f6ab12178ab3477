"""The client for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, Self, TypeVar, Unpack

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


class AsyncLookalike(Operations):
    """A service at an address; see `Lookalike`, whose every method this one has, to be awaited."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        timeout: float = 60.0,
        patience: Patience | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url, self._patience, self.portion = url, patience or Patience(), Portion()
        self._http = httpx2.AsyncClient(base_url=url, headers=headers(key), timeout=timeout, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    def making(self, call: Callable[P, Steps[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Returns a call as a coroutine function."""

        @wraps(call)
        async def made(*args: P.args, **kwargs: P.kwargs) -> T:
            steps = call(*args, **kwargs)
            try:
                request = next(steps)
                while True:
                    request = steps.send(await self._send(request))
            except StopIteration as done:
                result: T = done.value
                return result

        return made

    async def list(self, **filters: Unpack[Filters]) -> AsyncIterator[Picture]:
        """Goes through all pictures, in the order in which they were added."""
        page = await self.page(**filters)
        for picture in page.items:
            yield picture
        while page.next_cursor is not None:
            page = await self.page(cursor=page.next_cursor, **filters)
            for picture in page.items:
                yield picture

    async def _send(self, request: Request) -> Reply:
        tried = 0
        while True:
            tried += 1
            outcome = await self._try(request)
            pause = self._patience.pause(tried, outcome)
            if pause is None:
                if isinstance(outcome, httpx2.Response):
                    return reply_of(outcome, repeated=tried > 1)
                raise UnreachableError(self._url, str(outcome)) from outcome
            await asyncio.sleep(pause)

    async def _try(self, request: Request) -> httpx2.Response | httpx2.RequestError:
        with request.opened() as arguments:
            try:
                return await self._http.request(**arguments)
            except httpx2.RequestError as error:
                return error
