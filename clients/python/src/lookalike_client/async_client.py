"""The asynchronous client, for asyncio."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import httpx

from lookalike_client.batching import BatchLimit
from lookalike_client.errors import UnreachableError
from lookalike_client.methods import AsyncMethods
from lookalike_client.requests import CallFlow, Request, Response, base_url, request_headers, response_of
from lookalike_client.retries import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from typing_extensions import Self, Unpack

    from lookalike_client.calls.bulk import TrashedImage
    from lookalike_client.calls.duplicates import DuplicateGroup, DuplicateKind
    from lookalike_client.methods import Page
    from lookalike_client.requests import ListOptions
    from lookalike_client.results import CatalogueImage

    AsyncTrace = Callable[[str, Mapping[str, Any]], Coroutine[Any, Any, None]]

P = ParamSpec("P")
T = TypeVar("T")
PageT = TypeVar("PageT", bound="Page")


class AsyncLookalike(AsyncMethods):
    """Asynchronous client of one service, with the parameters and methods of `Lookalike`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        trace: AsyncTrace | None = None,
    ) -> None:
        self._url, self._retries, self.batch_limit = url, retries or RetryPolicy(), BatchLimit()
        self._extensions = {"trace": trace} if trace is not None else {}
        self._http = httpx.AsyncClient(
            base_url=base_url(url), headers=request_headers(key), timeout=timeout, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client's connections."""
        await self._http.aclose()

    def as_method(self, call: Callable[P, CallFlow[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Wrap a call in a coroutine function that sends its requests and returns its result."""

        @wraps(call)
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            flow = call(*args, **kwargs)
            try:
                request = next(flow)
                while True:
                    request = flow.send(await self._send(request))
            except StopIteration as end:
                result: T = end.value
                return result

        return method

    async def list(self, **options: Unpack[ListOptions]) -> AsyncIterator[CatalogueImage]:
        """Iterate over all images, in the order of their addition or of `sort`, page by page."""
        async for page in _pages(self.page, **options):
            for image in page.items:
                yield image

    async def trash(self, *, deletion_id: int | None = None) -> AsyncIterator[TrashedImage]:
        """Iterate over the deleted images that can be restored, the last deleted first, page by page."""
        async for page in _pages(self.trash_page, deletion_id=deletion_id):
            for image in page.items:
                yield image

    async def duplicate_groups(
        self, *, kind: DuplicateKind = "exact", max_distance: float | None = None
    ) -> AsyncIterator[DuplicateGroup]:
        """Iterate over all groups of duplicates in the catalogue, page by page."""
        async for page in _pages(self.duplicate_page, kind=kind, max_distance=max_distance):
            for group in page.groups:
                yield group

    async def _send(self, request: Request) -> Response:
        attempt = 0
        while True:
            attempt += 1
            outcome = await self._attempt(request)
            delay = self._retries.delay(attempt, outcome)
            if delay is None:
                if isinstance(outcome, httpx.Response):
                    return response_of(outcome, retried=attempt > 1)
                raise UnreachableError(self._url, str(outcome)) from outcome
            await asyncio.sleep(delay)

    async def _attempt(self, request: Request) -> httpx.Response | httpx.RequestError:
        with request.opened() as arguments:
            try:
                return await self._http.request(**arguments, extensions=self._extensions)
            except httpx.RequestError as error:
                return error


async def _pages(call: Callable[..., Coroutine[Any, Any, PageT]], **options: Any) -> AsyncIterator[PageT]:
    """Yield the pages of a list."""
    page = await call(**options)
    yield page
    while page.next_cursor is not None:
        page = await call(cursor=page.next_cursor, **options)
        yield page
