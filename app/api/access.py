"""Who may do what: API keys, other people's web pages, and how often.

While there are no keys, everybody who reaches the service may do everything, so it listens on loopback alone
(`app/cli/serve.py`), and answers nothing else when its last key is revoked. From the first key on, every request but
those of `OPEN` shows one: as `Authorization: Bearer`, or in the cookie that the page for people asks for.
"""

import time
from collections.abc import Callable, Collection
from ipaddress import ip_address

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.callers import KEY_ID
from app.api.problems import respond
from app.api.threads import PromptThreads
from app.catalogue import keys
from app.catalogue.database import Database
from app.catalogue.keys import Key
from app.errors import ForbiddenError, LookalikeError, TooManyRequestsError, UnauthorisedError, UnavailableError

COOKIE = "lookalike_key"
# The page itself, its parts, the description of the API, and whether the service lives.
OPEN = ("/", "/healthz", "/readyz", "/openapi.json", "/session")
OPEN_FOLDERS = ("/web/", "/docs", "/redoc", "/static-offline-docs/")
METRICS = "/metrics"
SEARCHES = ("/search", "/search/batch")
READING = ("GET", "HEAD", "OPTIONS")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
# So long a process may believe what it last heard of a key; a revoked one works for no longer.
BELIEVED_S = 1.0
# Who makes up tokens must not fill the memory with them.
_MOST_REMEMBERED, _LONGEST = 10_000, 200


class Doorkeeper:
    """Remembers for a moment what the database says of keys."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._heard: dict[str, tuple[float, Key | None]] = {}
        self._any: tuple[float, bool] = (0.0, True)
        self._known, self._unknown = PromptThreads(), PromptThreads()

    def threads(self, token: str | None) -> PromptThreads:
        """Returns the threads that look a token up; made-up ones have their own, and do not delay real keys."""
        return self._unknown if self.last_heard(token) is None else self._known

    def keys_exist(self) -> bool:
        """Tells whether there is a key at all."""
        until, answer = self._any
        if self._clock() >= until:
            with self._database.asking() as session:
                answer = keys.any_key(session)
            self._any = (self._clock() + BELIEVED_S, answer)
        return answer

    def key(self, token: str) -> Key | None:
        """Returns the key that a token is, if it is one."""
        if len(token) > _LONGEST:
            return None
        until, key = self._heard.get(token, (0.0, None))
        if self._clock() >= until:
            with self._database.asking() as session:
                key = keys.find_key(session, token)
            if len(self._heard) >= _MOST_REMEMBERED:
                self._heard = {known: heard for known, heard in self._heard.items() if heard[1] is not None}
            self._heard[token] = (self._clock() + BELIEVED_S, key)
        return key

    def last_heard(self, token: str | None) -> Key | None:
        """Returns the key that a token was when it was last asked for, however long ago."""
        return self._heard.get(token or "", (0.0, None))[1]

    def knows(self, token: str | None) -> bool:
        """Tells whether the database need not be asked."""
        now = self._clock()
        return now < self._any[0] and (token is None or now < self._heard.get(token, (0.0, None))[0])


class Access:
    """Lets a request pass, or answers 401, 403 or 429.

    Args:
        app: what is behind it.
        required: whether keys are asked for, once there are some.
        rate: how often one key may ask, such as `600/minute`.
        hosts: the names that the service may be called by, beside addresses; any, where none are given.
        origins: other sites whose pages may use the service.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        required: bool,
        rate: str | None = None,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
    ) -> None:
        self._app, self._required, self._hosts, self._origins = app, required, hosts, origins
        self._rate: RateLimitItem | None = parse(rate) if rate else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Looks at a request's head."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token = shown(headers)
        doorkeeper: Doorkeeper = scope["state"]["doorkeeper"]
        try:
            self._require_own_name(headers)
            self._require_own_page(scope["method"], headers)
            if self._required and not is_open(scope["path"]):
                # What is remembered needs no thread.
                if doorkeeper.knows(token):
                    self._require_key(scope, doorkeeper, token)
                else:
                    await doorkeeper.threads(token).run(self._require_key, scope, doorkeeper, token)
        except LookalikeError as refusal:
            await respond(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _require_own_name(self, headers: Headers) -> None:
        """Refuses who calls the service by another name, such as that of a site who made it lead here."""
        name = without_port(headers.get("host", ""))
        if self._hosts and name not in self._hosts and not is_address(name):
            raise ForbiddenError(
                f"This service is not called {name!r}. If it is, name that in LOOKALIKE_ALLOWED_HOSTS."
            )

    def _require_own_page(self, method: str, headers: Headers) -> None:
        """Refuses what another site's page has a visitor's browser do."""
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is None or method in READING or origin in self._origins:
            return
        if origin.partition("://")[1:] != ("://", host):
            raise ForbiddenError(f"A page of {origin} may not change or ask anything here.")

    def _require_key(self, scope: Scope, doorkeeper: Doorkeeper, token: str | None) -> None:
        try:
            if not doorkeeper.keys_exist():
                require_loopback(scope)
                return
            key = doorkeeper.key(token) if token else None
        except UnavailableError:
            # Those who watch over the service want to see just that.
            key = doorkeeper.last_heard(token) if scope["path"] == METRICS else None
            if key is None:
                raise
        if key is None:
            raise UnauthorisedError(shown=token is not None)
        scope["state"][KEY_ID] = key.id
        needed = needed_scope(scope["method"], scope["path"])
        if not key.allows(needed):
            raise ForbiddenError(f"The key {key.name} is not for this; it wants the scope {needed}.")
        if self._rate and not self._limiter.hit(self._rate, str(key.id)):
            raise TooManyRequestsError(str(self._rate), self._rate.get_expiry())


def shown(headers: Headers) -> str | None:
    """Returns the key that a request shows, in its head or in the page's cookie."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    # Other programs' cookies come along, and are not all as the standard's own parser wants them.
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def require_loopback(scope: Scope) -> None:
    """Refuses who does not come by an address, and call the service by a name, that only this machine's programs use.

    The address because a service that began with a key listens to others too. The name because without keys that is
    all that keeps a page of another site from having its name resolved to this machine.

    Raises:
        ForbiddenError: it is another address or name.
    """
    address, _ = scope["server"] or ("nowhere", None)
    for name in (address, without_port(Headers(scope=scope).get("host", ""))):
        if name not in LOOPBACK:
            raise ForbiddenError(
                f"Without API keys this service is for its own machine, not for {name}. Make a key with "
                "`lookalike keys create`, or set LOOKALIKE_AUTH=off where something in front asks who comes."
            )


def without_port(host: str) -> str:
    """Returns the name in a `Host` header."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def is_address(name: str) -> bool:
    """Tells whether this is an IP address, which nobody can have lead elsewhere."""
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def is_open(path: str) -> bool:
    """Tells whether a path is for everybody."""
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def needed_scope(method: str, path: str) -> keys.Scope:
    """Returns what a key must be for."""
    if path == METRICS:
        return keys.Scope.ADMIN
    if method in READING or path in SEARCHES:
        return keys.Scope.SEARCH
    return keys.Scope.WRITE
