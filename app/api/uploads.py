"""Parse forms leniently: a part without a file name is a file if the call declares its field as a file.

Some clients send `filename*` alone (RFC 5987, which RFC 7578 forbids in forms), or no file name at all. Starlette
treats both as text: it decodes the image's bytes and applies the size limit of text fields.
"""

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.known_parameters import declared_parameters

FORM = b"multipart/form-data"
NO_NAME = b'; filename=""'


class UploadRoute(APIRoute):
    """Route whose form has files."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which reads the form as `_UploadRequest` does."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_UploadRequest(request.scope, request.receive))

        return handle


class _UploadRequest(Request):
    async def _get_form(self, **limits: Any) -> FormData:
        kind, _ = parse_options_header(self.headers.get("content-type"))
        if self._form is not None or kind != FORM:
            return await super()._get_form(**limits)
        async with aclosing(self.stream()) as stream:
            parser = _UploadParser(self.headers, stream, **limits)
            form = declared_parameters(self.scope["route"]).form
            parser.files = {name for name, field in form.items() if field.is_file}
            try:
                self._form = await parser.parse()
            except MultiPartException as error:
                raise HTTPException(400, error.message) from error
        return self._form


class _UploadParser(MultiPartParser):
    """Parser that gives an empty file name to parts of the fields `files` that have none."""

    files: set[str]

    def on_headers_finished(self) -> None:
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name in self.files and b"filename" not in options and part.content_disposition is not None:
            part.content_disposition += NO_NAME
        super().on_headers_finished()
