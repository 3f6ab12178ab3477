"""One call as a method of both clients: `Lookalike` waits for its result, `AsyncLookalike` awaits it."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Union, overload

from app.client import operations
from app.client.portions import Portion
from app.client.requests import Steps

if TYPE_CHECKING:
    from app.client.asynchronous import AsyncLookalike
    from app.client.synchronous import Lookalike

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

    search = Operation(operations.search)
    search_many = Operation(operations.search_many)
    similar = Operation(operations.similar)
    add = Portioned(operations.add)
    get = Operation(operations.get)
    page = Operation(operations.page)
    describe = Operation(operations.describe)
    delete = Operation(operations.delete)
    original = Operation(operations.original)
    thumbnail = Operation(operations.thumbnail)
    facets = Operation(operations.facets)
    stats = Operation(operations.stats)
    send_archive = Operation(operations.send_archive)
    get_job = Operation(operations.get_job)
    list_jobs = Operation(operations.list_jobs)
    cancel_job = Operation(operations.cancel_job)
