"""Paths of requests and URLs of responses, with the application below a root path."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope


def root_path_of(scope: Scope) -> str:
    """Return the path that the application is served below, such as `/lookalike`; empty for `/`."""
    # Starlette's mounts extend `root_path` and keep the application's own.
    root_path: str = scope.get("app_root_path", scope.get("root_path", ""))
    return root_path


def app_path(scope: Scope) -> str:
    """Return a request's path within the application, such as `/images`."""
    path: str = scope["path"]
    return path.removeprefix(root_path_of(scope)) or "/"


async def get_root_path(request: Request) -> str:
    """Return the root path, which every URL in a response begins with."""
    return root_path_of(request.scope)


RootPathDep = Annotated[str, Depends(get_root_path)]
