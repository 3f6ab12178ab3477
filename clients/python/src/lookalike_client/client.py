"""The synchronous client."""

from __future__ import annotations

import time
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import httpx

from lookalike_client.batching import BatchLimit
from lookalike_client.errors import UnreachableError
from lookalike_client.methods import SyncMethods
from lookalike_client.requests import CallFlow, Request, Response, base_url, request_headers, response_of
from lookalike_client.retries import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self, Unpack

    from lookalike_client.calls.bulk import TrashedImage
    from lookalike_client.calls.duplicates import DuplicateGroup, DuplicateKind
    from lookalike_client.methods import Page
    from lookalike_client.requests import ListOptions
    from lookalike_client.results import CatalogueImage

    Trace = Callable[[str, Mapping[str, Any]], None]

P = ParamSpec("P")
T = TypeVar("T")
PageT = TypeVar("PageT", bound="Page")


class Lookalike(SyncMethods):
    """Client of one service. Thread-safe.

    Args:
        url: the service's address, including the path behind a proxy that serves it below one.
        key: an API key, if the service requires one.
        timeout: seconds without receiving a byte after which an attempt fails.
        retries: number of attempts, and delays between them.
        transport: httpx transport that sends the requests, for tests and custom proxies.
        trace: called with the events of each attempt, such as `connection.connect_tcp.started`, and their details:
            httpcore's extension `trace`.

    Raises:
        InvalidInputError: `url` is not an HTTP address.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._url, self._retries, self.batch_limit = url, retries or RetryPolicy(), BatchLimit()
        self._extensions = {"trace": trace} if trace is not None else {}
        self._http = httpx.Client(
            base_url=base_url(url), headers=request_headers(key), timeout=timeout, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client's connections."""
        self._http.close()

    def as_method(self, call: Callable[P, CallFlow[T]]) -> Callable[P, T]:
        """Wrap a call in a function that sends its requests and returns its result."""

        @wraps(call)
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            flow = call(*args, **kwargs)
            try:
                request = next(flow)
                while True:
                    request = flow.send(self._send(request))
            except StopIteration as end:
                result: T = end.value
                return result

        return method

    def list(self, **options: Unpack[ListOptions]) -> Iterator[CatalogueImage]:
        """Iterate over all images, in the order of their addition or of `sort`, page by page."""
        for page in _pages(self.page, **options):
            yield from page.items

    def trash(self, *, deletion_id: int | None = None) -> Iterator[TrashedImage]:
        """Iterate over the deleted images that can be restored, the last deleted first, page by page."""
        for page in _pages(self.trash_page, deletion_id=deletion_id):
            yield from page.items

    def duplicate_groups(
        self, *, kind: DuplicateKind = "exact", max_distance: float | None = None
    ) -> Iterator[DuplicateGroup]:
        """Iterate over all groups of duplicates in the catalogue, page by page."""
        for page in _pages(self.duplicate_page, kind=kind, max_distance=max_distance):
            yield from page.groups

    def _send(self, request: Request) -> Response:
        attempt = 0
        while True:
            attempt += 1
            outcome = self._attempt(request)
            delay = self._retries.delay(attempt, outcome)
            if delay is None:
                if isinstance(outcome, httpx.Response):
                    return response_of(outcome, retried=attempt > 1)
                raise UnreachableError(self._url, str(outcome)) from outcome
            time.sleep(delay)

    def _attempt(self, request: Request) -> httpx.Response | httpx.RequestError:
        with request.opened() as arguments:
            try:
                return self._http.request(**arguments, extensions=self._extensions)
            except httpx.RequestError as error:
                return error


def _pages(call: Callable[..., PageT], **options: Any) -> Iterator[PageT]:
    """Yield the pages of a list."""
    page = call(**options)
    yield page
    while page.next_cursor is not None:
        page = call(cursor=page.next_cursor, **options)
        yield page
