"""One call as a method of both clients: `Lookalike` waits for its result, `AsyncLookalike` awaits it."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Union, overload

from lookalike_client import endpoints
from lookalike_client.batching import Portion
from lookalike_client.requests import Steps

if TYPE_CHECKING:
    from lookalike_client.async_client import AsyncLookalike
    from lookalike_client.client import Lookalike

P = ParamSpec("P")
T = TypeVar("T")


class Operation(Generic[P, T]):
    """A method whose parameters are those of the call that it makes."""

    def __init__(self, call: Callable[P, Steps[T]]) -> None:
        self._call = call
        self.__doc__, self.__wrapped__ = call.__doc__, call

    @overload
    def __get__(self, client: None, owner: type) -> "Operation[P, T]": ...
    @overload
    def __get__(self, client: "Lookalike", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncLookalike", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Union["Lookalike", "AsyncLookalike", None], owner: type) -> Any:
        """Returns the call, made by a client as a client makes it."""
        return self if client is None else client.making(self.of(client))

    def of(self, client: "Operations") -> Callable[P, Steps[T]]:  # noqa: ARG002 - what overrides it needs the client
        """Returns the call as a client makes it."""
        return self._call


class Portioned(Operation[P, T]):
    """A call that sends pictures in portions; how large those may be a client remembers from one call to the next."""

    def __init__(self, call: Callable[Concatenate[Portion, P], Steps[T]]) -> None:
        self._portioned = call
        super().__init__(self._with(Portion()))

    def of(self, client: "Operations") -> Callable[P, Steps[T]]:
        """Returns the call with the client's own portion."""
        return self._with(client.portion)

    def _with(self, portion: Portion) -> Callable[P, Steps[T]]:
        call = partial(self._portioned, portion)
        call.__doc__ = self._portioned.__doc__
        return call


class Operations:
    """What both clients can do.

    Attributes:
        portion: how much a request carries.
    """

    portion: Portion

    search = Operation(endpoints.search)
    search_many = Operation(endpoints.search_many)
    similar = Operation(endpoints.similar)
    add = Portioned(endpoints.add)
    get = Operation(endpoints.get)
    page = Operation(endpoints.page)
    describe = Operation(endpoints.describe)
    delete = Operation(endpoints.delete)
    original = Operation(endpoints.original)
    thumbnail = Operation(endpoints.thumbnail)
    facets = Operation(endpoints.facets)
    stats = Operation(endpoints.stats)
    send_archive = Operation(endpoints.send_archive)
    get_job = Operation(endpoints.get_job)
    list_jobs = Operation(endpoints.list_jobs)
    cancel_job = Operation(endpoints.cancel_job)
