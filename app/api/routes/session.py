"""A key in a cookie, for the page for people: pictures in a page cannot send headers."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.middleware.auth import COOKIE, Doorkeeper
from app.api.schemas.images import PROBLEM
from app.errors import UnauthorisedError

router = APIRouter(tags=["system"])


class SessionIn(BaseModel):
    """A key that somebody typed into the page."""

    key: Annotated[str, Field(max_length=200)]


@router.post(
    "/session",
    operation_id="create_session",
    status_code=204,
    summary="Keep a key in a cookie",
    responses={
        401: {"description": "There is no such key.", **PROBLEM},
        422: {"description": "The key cannot be read.", **PROBLEM},
    },
)
async def open_session(given: SessionIn, request: Request, response: Response) -> None:
    """Lets a browser show an API key with every request, in a cookie that no script can read."""
    doorkeeper: Doorkeeper = request.state.doorkeeper
    token = given.key.strip()
    if await doorkeeper.threads(token).run(doorkeeper.key, token) is None:
        raise UnauthorisedError(shown=True)
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https")


@router.delete("/session", operation_id="delete_session", status_code=204, summary="Forget the key")
async def close_session(response: Response) -> None:
    """Takes the cookie back."""
    response.delete_cookie(COOKIE)
