"""API key in a cookie, for the web page, whose `<img>` elements cannot send headers."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.middleware.auth import COOKIE, ApiKeyCache
from app.api.paths import RootPathDep
from app.api.schemas.images import PROBLEM
from app.errors import UnauthorisedError

router = APIRouter(tags=["system"])


class SessionIn(BaseModel):
    """An API key entered into the web page."""

    key: Annotated[str, Field(max_length=200)]


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
