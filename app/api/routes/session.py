"""What a caller may do, and its API key in a cookie, for the web page, whose `<img>` elements cannot send headers."""

from typing import Annotated

from fastapi import Request, Response
from pydantic import BaseModel, Field
from starlette.types import Scope as RequestScope

from app.api.dependencies import ServiceDep
from app.api.known_parameters import resource_router
from app.api.middleware.auth import COOKIE, ApiKeyCache, sent_key
from app.api.middleware.loopback import require_local
from app.api.paths import RootPathDep
from app.api.schemas.images import PROBLEM
from app.common.scopes import Scope
from app.errors import ForbiddenError, UnauthorisedError

router = resource_router("system")


class SessionOut(BaseModel):
    """What the caller may do."""

    key: str | None = Field(description="Name of the API key that the request has; null without a valid one.")
    key_required: bool = Field(description="Whether calls need an API key, because one exists.")
    scopes: list[Scope] = Field(description="What the caller may do. Empty without a valid key, if one is required.")


class SessionIn(BaseModel):
    """An API key entered into the web page."""

    key: Annotated[str, Field(max_length=200)]


@router.get(
    "/session",
    operation_id="get_session",
    summary="What the caller may do",
    responses={503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM}},
)
async def read_session(request: Request, service: ServiceDep) -> SessionOut:
    """Return the scopes of the request's API key. While there are no keys, local programs may do everything."""
    if service.settings.auth == "off":
        return SessionOut(key=None, key_required=False, scopes=list(Scope))
    api_keys: ApiKeyCache = request.state.api_keys
    token = sent_key(request.headers)
    return await api_keys.threads(token).run(_session_of, request.scope, api_keys, token)


def _session_of(scope: RequestScope, api_keys: ApiKeyCache, token: str | None) -> SessionOut:
    if not api_keys.keys_exist():
        return SessionOut(key=None, key_required=False, scopes=list(Scope) if _is_local(scope) else [])
    key = api_keys.key(token) if token else None
    if key is None:
        return SessionOut(key=None, key_required=True, scopes=[])
    return SessionOut(key=key.name, key_required=True, scopes=[one for one in Scope if key.allows(one)])


def _is_local(scope: RequestScope) -> bool:
    try:
        require_local(scope)
    except ForbiddenError:
        return False
    return True


@router.post(
    "/session",
    operation_id="create_session",
    status_code=204,
    summary="Store an API key in a cookie",
    responses={
        401: {"description": "The key is not valid.", **PROBLEM},
        422: {"description": "The body is not valid.", **PROBLEM},
    },
)
async def open_session(body: SessionIn, request: Request, response: Response, root_path: RootPathDep) -> None:
    """Store an API key in an HttpOnly cookie, which the browser sends with every request."""
    api_keys: ApiKeyCache = request.state.api_keys
    token = body.key.strip()
    if await api_keys.threads(token).run(api_keys.key, token) is None:
        raise UnauthorisedError(key_sent=True)
    secure = request.url.scheme == "https"
    # Not for other services on the same host.
    response.set_cookie(COOKIE, token, path=root_path or "/", httponly=True, samesite="strict", secure=secure)


@router.delete("/session", operation_id="delete_session", status_code=204, summary="Delete the cookie")
async def close_session(response: Response, root_path: RootPathDep) -> None:
    """Delete the cookie with the API key."""
    response.delete_cookie(COOKIE, path=root_path or "/")
