"""Authentication and authorisation: API keys and scopes, host names, origins, rate limit.

While there are no keys, local programs may do everything and all other requests are rejected: the service listens on
loopback only (`app/cli/serve.py`), and accepts only loopback again when its last key is revoked. Once there is a key,
every request except those to `OPEN_PATHS` needs one, as `Authorization: Bearer` or in the cookie that the page sets.

Starlette's `TrustedHostMiddleware` is not used: it cannot admit any IP address, which `LOOKALIKE_ALLOWED_HOSTS` always
does, keeps a name's trailing dot, responds in plain text, and cannot depend on whether there are keys.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.admission.threads import ReservedThreads
from app.api.middleware.callers import KEY_ID
from app.api.middleware.key_use import KeyUse
from app.api.middleware.loopback import requested_host, require_local
from app.api.middleware.rate_limit import RateLimit
from app.api.paths import app_path
from app.api.problems import error_response
from app.catalogue import keys
from app.catalogue.database.sessions import Database
from app.catalogue.keys import Key
from app.common import scopes
from app.common.hosts import parse_address, parse_origin
from app.errors import ForbiddenError, LookalikeError, UnauthorisedError, UnavailableError

log = logging.getLogger(__name__)

COOKIE = "lookalike_key"
METRICS_PATH, READY_PATH = "/metrics", "/readyz"
# Deleted images are visible only to keys with the scope `write`.
TRASH_PATH = "/trash"
KEYS_PATH, TASKS_PATH = "/keys", "/tasks"
# The pages and their assets, the API's description, and health checks.
OPEN_PATHS = ("/", "/operations", "/training", "/healthz", READY_PATH, "/openapi.json", "/session")
OPEN_FOLDERS = ("/web/", "/docs", "/redoc", "/static-offline-docs/")
SEARCH_OPERATIONS = (("POST", "/search"), ("POST", "/search/batch"))
READ_METHODS = ("GET", "HEAD", "OPTIONS")
# Key of a request's state: whether its caller may search. Set on open paths that return more to such callers.
MAY_SEARCH = "may_search"
# Seconds for which a key look-up is cached; the longest that a revoked key still works.
CACHE_TTL_S = 1.0
# Bounds on the cache, so that made-up tokens cannot fill the memory.
_MAX_ENTRIES, _MAX_TOKEN_LENGTH = 10_000, 200


class ApiKeyCache:
    """Cache of API key look-ups, with a time to live of `CACHE_TTL_S`."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._entries: dict[str, tuple[float, Key | None]] = {}
        self._any_key: tuple[float, bool] = (0.0, True)
        self._key_threads, self._other_threads = ReservedThreads(), ReservedThreads()

    def threads(self, token: str | None) -> ReservedThreads:
        """Return the threads that look a token up; unknown tokens have separate ones and do not delay valid keys."""
        return self._other_threads if self.last_known(token)[1] is None else self._key_threads

    def keys_exist(self) -> bool:
        """Return whether any key exists."""
        until, answer = self._any_key
        if self._clock() >= until:
            with self._session() as session:
                answer = keys.has_keys(session)
            self._any_key = (self._clock() + CACHE_TTL_S, answer)
        return answer

    def key(self, token: str) -> Key | None:
        """Return the key of a token; None if the token is not valid."""
        if len(token) > _MAX_TOKEN_LENGTH:
            return None
        until, key = self._entries.get(token, (0.0, None))
        if self._clock() >= until:
            with self._session() as session:
                key = keys.verify_token(session, token)
            if len(self._entries) >= _MAX_ENTRIES:
                self._entries = {token: entry for token, entry in self._entries.items() if entry[1] is not None}
            self._entries[token] = (self._clock() + CACHE_TTL_S, key)
        return key

    def last_known(self, token: str | None) -> tuple[bool, Key | None]:
        """Return whether any key exists and the key of a token, as of the last look-ups, however old."""
        return self._any_key[1], self._entries.get(token or "", (0.0, None))[1]

    def is_cached(self, token: str | None) -> bool:
        """Return whether `keys_exist` and `key` need no database query."""
        now = self._clock()
        return now < self._any_key[0] and (token is None or now < self._entries.get(token, (0.0, None))[0])

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """Open a session; hide the database's address in errors, because the caller is not authenticated yet."""
        try:
            with self._database.read_session() as session:
                yield session
        except UnavailableError as error:
            log.warning("API keys cannot be looked up: %s", error)
            raise UnavailableError("The database is unavailable.", error.retry_after) from error


class AuthMiddleware:
    """Middleware that responds 401, 403 or 429 to requests that are not allowed.

    Args:
        app: the application.
        required: whether requests need a key once there is one.
        rate: rate limit of each key, such as `600/minute`.
        hosts: allowed host names, in addition to IP addresses; empty allows any.
        origins: other origins whose pages may use the service.
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
        """Check host, origin, key and rate before the application is called."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_host(Headers(scope=scope))
            self._check_origin(scope["method"], Headers(scope=scope))
            path = app_path(scope)
            if not is_open(path):
                await self._require_key(scope)
            elif path == READY_PATH:
                scope["state"][MAY_SEARCH] = await self._may_search(scope)
        except LookalikeError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        """Reject other host names, such as that of a site that resolves to this machine (DNS rebinding)."""
        if not self._hosts:
            return
        host = requested_host(headers)
        if host is None or not (host.name in self._hosts or parse_address(host.name)):
            raise ForbiddenError(
                "host_not_allowed",
                f"The host name {headers.get('host', '')!r} is not allowed. Add it to LOOKALIKE_ALLOWED_HOSTS if this "
                "service is reached by it.",
            )

    def _check_origin(self, method: str, headers: Headers) -> None:
        """Reject changes that a page of another site makes through a visitor's browser (CSRF)."""
        if method in READ_METHODS or (sent := headers.get("origin")) is None:
            return
        origin, host = parse_origin(sent), requested_host(headers)
        if origin is None or not (origin in self._origins or (host is not None and origin.has_host(host))):
            raise ForbiddenError(
                "origin_not_allowed",
                f"The origin {sent!r} is not allowed. Add it to LOOKALIKE_CORS_ORIGINS if its pages may use this "
                "service.",
            )

    async def _require_key(self, scope: Scope) -> None:
        if not self._required:
            return
        key = await self._authorise(scope)
        if self._rate and key is not None:
            self._rate.require(key)

    async def _may_search(self, scope: Scope) -> bool:
        try:
            if self._required:
                await self._authorise(scope)
        except LookalikeError:
            return False
        return True

    async def _authorise(self, scope: Scope) -> Key | None:
        """Return the key of an authorised request; None for a local request while there are no keys."""
        api_keys: ApiKeyCache = scope["state"]["api_keys"]
        token = sent_key(Headers(scope=scope))
        # Cached look-ups do not block, so they need no thread.
        if api_keys.is_cached(token):
            return _check_key(scope, api_keys, token)
        return await api_keys.threads(token).run(_check_key, scope, api_keys, token)


def _check_key(scope: Scope, api_keys: ApiKeyCache, token: str | None) -> Key | None:
    try:
        keys_exist = api_keys.keys_exist()
        key = api_keys.key(token) if keys_exist and token else None
    except UnavailableError:
        # Monitoring must be able to report that the database is unavailable, so an expired look-up is enough.
        keys_exist, key = api_keys.last_known(token)
        if app_path(scope) not in (METRICS_PATH, READY_PATH) or (keys_exist and key is None):
            raise
    if not keys_exist:
        require_local(scope)
        return None
    if key is None:
        raise UnauthorisedError(key_sent=token is not None)
    scope["state"][KEY_ID] = key.id
    key_use: KeyUse = scope["state"]["key_use"]
    key_use.note(key.id)
    required = required_scope(scope["method"], app_path(scope))
    if not key.allows(required):
        raise ForbiddenError("insufficient_scope", f'The key "{key.name}" lacks the scope "{required}".')
    return key


def sent_key(headers: Headers) -> str | None:
    """Return a request's API key, from its `Authorization` header or the page's cookie."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    # Cookies of other programs on the same host may be invalid for the standard library's parser.
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def is_open(path: str) -> bool:
    """Return whether a path needs no API key."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def required_scope(method: str, path: str) -> scopes.Scope:
    """Return the scope that a key needs for a request."""
    if path == METRICS_PATH or path.startswith(KEYS_PATH):
        return scopes.Scope.ADMIN
    if path == TRASH_PATH or path.startswith(f"{TRASH_PATH}/"):
        return scopes.Scope.WRITE
    if method in READ_METHODS or (method, path) in SEARCH_OPERATIONS:
        return scopes.Scope.SEARCH
    return scopes.Scope.ADMIN if path.startswith(TASKS_PATH) else scopes.Scope.WRITE
