"""Archives as they arrive in requests: as the body itself, or as a file of a form."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import InvalidInputError

FIELD = "archive"
FORM = "multipart/form-data"


async def archive_of(request: Request) -> AsyncIterator[bytes]:
    """Yields a request's archive, part by part.

    Raises:
        InvalidInputError: it is a form without one, or no form that can be read.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind.decode(errors="replace") != FORM:
        async for data in request.stream():
            yield data
        return
    form = _Form(options.get(b"boundary", b""))
    async for data in request.stream():
        for part in form.feed(data):
            yield part
    form.require_complete()


@dataclass
class _Form:
    """Finds the archive in a form as the form arrives; Starlette's own would put all of it on disk first."""

    boundary: bytes
    found: bool = False
    _parts: list[bytes] = field(default_factory=list)
    _inside: bool = False
    _ended: bool = False
    _name: bytes = b""
    _value: bytes = b""

    def __post_init__(self) -> None:
        if not self.boundary:
            raise InvalidInputError(FIELD, "comes in a form that does not say what stands between its parts")
        with _readable():
            self._parser = MultipartParser(
                self.boundary,
                {
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )

    def feed(self, data: bytes) -> list[bytes]:
        """Takes a part of the body; returns what of it is the archive."""
        self._parts = []
        with _readable():
            self._parser.write(data)
        return self._parts

    def require_complete(self) -> None:
        """Makes sure that the form came to its end, and held an archive."""
        if not self._ended:
            raise InvalidInputError(FIELD, "comes in a form that ends too soon")
        if not self.found:
            raise InvalidInputError(FIELD, "is missing: send it as the body, or as the file `archive` of a form")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            # A second one would be glued to the first.
            self._inside = options.get(b"name") == FIELD.encode() and not self.found
        self._name = self._value = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self.found = True
            self._parts.append(data[start:end])

    def _on_part_end(self) -> None:
        self._inside = False

    def _on_end(self) -> None:
        self._ended = True


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise InvalidInputError(FIELD, f"comes in a form that cannot be read: {error}") from error
