"""Who may do what: API keys, other people's web pages, and how often.

While there are no keys, every program on this machine may do everything and nothing else is answered: the service
listens on loopback alone (`app/cli/serve.py`), and goes back to answering loopback alone when its last key is revoked.
From the first key on, every request but those of `OPEN` shows one: as `Authorization: Bearer`, or in the cookie that
the page for people sets.

Starlette's `TrustedHostMiddleware` does not fit here: it knows no "any IP address", which `LOOKALIKE_ALLOWED_HOSTS`
always admits, keeps the dot that may end a name, answers in plain text, and cannot depend on whether there are keys.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.admission.threads import PromptThreads
from app.api.middleware.callers import KEY_ID
from app.api.middleware.loopback import requested_host, require_local
from app.api.middleware.rate_limit import RateLimit
from app.api.problems import respond
from app.catalogue import keys
from app.catalogue.database.sessions import Database
from app.catalogue.keys import Key
from app.common.hosts import address_of, parse_origin
from app.errors import ForbiddenError, LookalikeError, UnauthorisedError, UnavailableError

log = logging.getLogger(__name__)

COOKIE = "lookalike_key"
METRICS, READY = "/metrics", "/readyz"
# The page itself, its parts, the description of the API, and whether the service lives.
OPEN = ("/", "/healthz", READY, "/openapi.json", "/session")
OPEN_FOLDERS = ("/web/", "/docs", "/redoc", "/static-offline-docs/")
SEARCHES = (("POST", "/search"), ("POST", "/search/batch"))
READING = ("GET", "HEAD", "OPTIONS")
# Where a request's state says whether its caller may see the catalogue, on open paths that show more to such callers.
INFORMED = "informed"
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
        return self._unknown if self.last_heard(token)[1] is None else self._known

    def keys_exist(self) -> bool:
        """Tells whether there is a key at all."""
        until, answer = self._any
        if self._clock() >= until:
            with self._asking() as session:
                answer = keys.any_key(session)
            self._any = (self._clock() + BELIEVED_S, answer)
        return answer

    def key(self, token: str) -> Key | None:
        """Returns the key that a token is, if it is one."""
        if len(token) > _LONGEST:
            return None
        until, key = self._heard.get(token, (0.0, None))
        if self._clock() >= until:
            with self._asking() as session:
                key = keys.find_key(session, token)
            if len(self._heard) >= _MOST_REMEMBERED:
                self._heard = {known: heard for known, heard in self._heard.items() if heard[1] is not None}
            self._heard[token] = (self._clock() + BELIEVED_S, key)
        return key

    def last_heard(self, token: str | None) -> tuple[bool, Key | None]:
        """Returns whether there were keys, and the key that a token was, when either was last looked up."""
        return self._any[1], self._heard.get(token or "", (0.0, None))[1]

    def knows(self, token: str | None) -> bool:
        """Tells whether the database need not be asked."""
        now = self._clock()
        return now < self._any[0] and (token is None or now < self._heard.get(token, (0.0, None))[0])

    @contextmanager
    def _asking(self) -> Iterator[Session]:
        """Opens a session, and keeps from callers that are not identified yet where the database is."""
        try:
            with self._database.asking() as session:
                yield session
        except UnavailableError as error:
            log.warning("API keys cannot be looked up: %s", error)
            raise UnavailableError("The database cannot be used right now.", error.retry_after) from error


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
        self._app, self._required, self._hosts = app, required, frozenset(hosts)
        self._origins = frozenset(map(parse_origin, origins))
        self._rate = RateLimit(rate) if rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Looks at a request's head."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._require_own_name(Headers(scope=scope))
            self._require_own_page(scope["method"], Headers(scope=scope))
            if not is_open(scope["path"]):
                await self._require_key(scope)
            elif scope["path"] == READY:
                scope["state"][INFORMED] = await self._may_look(scope)
        except LookalikeError as refusal:
            await respond(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _require_own_name(self, headers: Headers) -> None:
        """Refuses a request to another name, such as that of a site that was made to resolve to this machine."""
        if not self._hosts:
            return
        host = requested_host(headers)
        if host is None or not (host.name in self._hosts or address_of(host.name)):
            raise ForbiddenError(
                "host_not_allowed",
                f"The host name {headers.get('host', '')!r} is not among LOOKALIKE_ALLOWED_HOSTS. Add it there if this "
                "service is reached by it.",
            )

    def _require_own_page(self, method: str, headers: Headers) -> None:
        """Refuses what another site's page makes a visitor's browser do."""
        if method in READING or (sent := headers.get("origin")) is None:
            return
        origin, host = parse_origin(sent), requested_host(headers)
        if origin is None or not (origin in self._origins or (host is not None and origin.is_of(host))):
            raise ForbiddenError(
                "origin_not_allowed",
                f"Pages of {sent!r} may not use this service. Add the origin to LOOKALIKE_CORS_ORIGINS if they should.",
            )

    async def _require_key(self, scope: Scope) -> None:
        if not self._required:
            return
        key = await self._caller(scope)
        if self._rate and key is not None:
            self._rate.require(key)

    async def _may_look(self, scope: Scope) -> bool:
        try:
            if self._required:
                await self._caller(scope)
        except LookalikeError:
            return False
        return True

    async def _caller(self, scope: Scope) -> Key | None:
        """Returns the key of a request that may do what it asks for; None for a local one while there are no keys."""
        doorkeeper: Doorkeeper = scope["state"]["doorkeeper"]
        token = shown(Headers(scope=scope))
        # What is remembered needs no thread.
        if doorkeeper.knows(token):
            return _identified(scope, doorkeeper, token)
        return await doorkeeper.threads(token).run(_identified, scope, doorkeeper, token)


def _identified(scope: Scope, doorkeeper: Doorkeeper, token: str | None) -> Key | None:
    try:
        keyed = doorkeeper.keys_exist()
        key = doorkeeper.key(token) if keyed and token else None
    except UnavailableError:
        # Monitoring is to see just that the database is away, so what it showed before is enough.
        keyed, key = doorkeeper.last_heard(token)
        if scope["path"] not in (METRICS, READY) or (keyed and key is None):
            raise
    if not keyed:
        require_local(scope)
        return None
    if key is None:
        raise UnauthorisedError(shown=token is not None)
    scope["state"][KEY_ID] = key.id
    needed = needed_scope(scope["method"], scope["path"])
    if not key.allows(needed):
        raise ForbiddenError("insufficient_scope", f'The key "{key.name}" lacks the scope "{needed}".')
    return key


def shown(headers: Headers) -> str | None:
    """Returns the key that a request shows, in its head or in the page's cookie."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    # Other programs' cookies come along, and are not all as the standard's own parser wants them.
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def is_open(path: str) -> bool:
    """Tells whether a path is for everybody."""
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def needed_scope(method: str, path: str) -> keys.Scope:
    """Returns what a key must be for."""
    if path == METRICS:
        return keys.Scope.ADMIN
    if method in READING or (method, path) in SEARCHES:
        return keys.Scope.SEARCH
    return keys.Scope.WRITE
