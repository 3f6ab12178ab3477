"""The API's calls as methods: plain functions, or coroutine functions of the asynchronous client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from lookalike_client.batching import BatchLimit
from lookalike_client.calls import bulk, endpoints, operations, searches
from lookalike_client.calls import duplicates as duplicate_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Concatenate

    from lookalike_client.requests import CallFlow

P = ParamSpec("P")
T = TypeVar("T")


class Page(Protocol):
    """A page of a list."""

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page; None on the last one."""
        ...


class ApiMethod(Generic[P, T]):
    """Descriptor that makes a call a method, with the call's parameters and docstring."""

    def __init__(self, call: Callable[P, CallFlow[T]]) -> None:
        self._call = call
        self.__doc__, self.__wrapped__ = call.__doc__, call

    @overload
    def __get__(self, client: None, owner: type) -> ApiMethod[P, T]: ...
    @overload
    def __get__(self, client: SyncMethods, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncMethods, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: SyncMethods | AsyncMethods | None, owner: type) -> Any:
        """Return the client's method; accessed on the class, the descriptor itself."""
        return self if client is None else client.as_method(self.call_for(client))

    def call_for(self, client: ApiMethods) -> Callable[P, CallFlow[T]]:  # noqa: ARG002 - BatchingApiMethod overrides it and reads the client's batch limit
        """Return the call that a client makes."""
        return self._call


class BatchingApiMethod(ApiMethod[P, T]):
    """A call that splits images into requests by the client's batch limit."""

    def __init__(self, call: Callable[Concatenate[BatchLimit, P], CallFlow[T]]) -> None:
        self._batching = call
        # This instance only provides the signature and docstring.
        super().__init__(self._bound(BatchLimit()))

    def call_for(self, client: ApiMethods) -> Callable[P, CallFlow[T]]:
        """Return the call with the client's own batch limit."""
        return self._bound(client.batch_limit)

    def _bound(self, limit: BatchLimit) -> Callable[P, CallFlow[T]]:
        call = partial(self._batching, limit)
        call.__doc__ = self._batching.__doc__
        return call


class ApiMethods:
    """The methods of both clients.

    Attributes:
        batch_limit: maximum bytes of images in a request.
    """

    batch_limit: BatchLimit

    search = ApiMethod(searches.search)
    search_many = ApiMethod(endpoints.search_many)
    similar = ApiMethod(endpoints.similar)
    add = BatchingApiMethod(endpoints.add)
    get = ApiMethod(endpoints.get)
    page = ApiMethod(endpoints.page)
    update = ApiMethod(endpoints.update)
    find = ApiMethod(endpoints.find)
    delete = ApiMethod(endpoints.delete)
    delete_many = ApiMethod(endpoints.delete_many)
    delete_matching = ApiMethod(endpoints.delete_matching)
    update_images = ApiMethod(bulk.update_images)
    delete_images = ApiMethod(bulk.delete_images)
    restore_images = ApiMethod(bulk.restore_images)
    trash_page = ApiMethod(bulk.trash_page)
    empty_trash = ApiMethod(bulk.empty_trash)
    export = ApiMethod(bulk.export)
    original = ApiMethod(endpoints.original)
    thumbnail = ApiMethod(endpoints.thumbnail)
    seen = ApiMethod(endpoints.seen)
    duplicates = ApiMethod(duplicate_calls.duplicates)
    duplicate_page = ApiMethod(duplicate_calls.duplicate_page)
    mark_distinct = ApiMethod(duplicate_calls.mark_distinct)
    unmark_distinct = ApiMethod(duplicate_calls.unmark_distinct)
    merge_duplicates = ApiMethod(duplicate_calls.merge_duplicates)
    facets = ApiMethod(endpoints.facets)
    stats = ApiMethod(endpoints.stats)
    upload_archive = ApiMethod(endpoints.upload_archive)
    get_job = ApiMethod(endpoints.get_job)
    list_jobs = ApiMethod(endpoints.list_jobs)
    cancel_job = ApiMethod(endpoints.cancel_job)
    list_keys = ApiMethod(operations.list_keys)
    create_key = ApiMethod(operations.create_key)
    delete_key = ApiMethod(operations.delete_key)
    list_models = ApiMethod(operations.list_models)
    list_tasks = ApiMethod(operations.list_tasks)
    start_adapt = ApiMethod(operations.start_adapt)
    start_demo = ApiMethod(operations.start_demo)
    start_reindex = ApiMethod(operations.start_reindex)
    start_report = ApiMethod(operations.start_report)
    cancel_task = ApiMethod(operations.cancel_task)


class SyncMethods(ApiMethods, ABC):
    """The methods as plain functions."""

    @abstractmethod
    def as_method(self, call: Callable[P, CallFlow[T]]) -> Callable[P, T]:
        """Wrap a call in a function that sends its requests and returns its result."""


class AsyncMethods(ApiMethods, ABC):
    """The methods as coroutine functions."""

    @abstractmethod
    def as_method(self, call: Callable[P, CallFlow[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Wrap a call in a coroutine function that sends its requests and returns its result."""
