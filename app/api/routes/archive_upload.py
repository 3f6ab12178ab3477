"""Read an uploaded archive from a request: the body itself, or a file of a multipart form."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.known_parameters import MAX_NAME, unknown_field_reason
from app.errors import InvalidInputError

FIELD = "archive"
FORM = "multipart/form-data"


async def read_archive(request: Request) -> AsyncIterator[bytes]:
    """Yield a request's archive in parts, as they arrive.

    Raises:
        InvalidInputError: the form has no archive, or cannot be parsed.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind.decode(errors="replace") != FORM:
        async for data in request.stream():
            yield data
        return
    form = _ArchiveForm(options.get(b"boundary", b""))
    async for data in request.stream():
        for part in form.feed(data):
            yield part
    form.require_complete()


@dataclass
class _ArchiveForm:
    """Incremental parser of a form with an archive; Starlette's parser would write the whole form to disk first."""

    boundary: bytes
    found: bool = False
    _parts: list[bytes] = field(default_factory=list)
    _inside: bool = False
    _ended: bool = False
    _name: bytes = b""
    _value: bytes = b""

    def __post_init__(self) -> None:
        if not self.boundary:
            raise InvalidInputError(
                FIELD, "cannot be read: the form has no boundary. Send it as `multipart/form-data; boundary=…`"
            )
        with _form_errors():
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
        """Parse a part of the body; return the parts of the archive in it."""
        self._parts = []
        with _form_errors():
            self._parser.write(data)
        return self._parts

    def require_complete(self) -> None:
        """Raise unless the form is complete and has an archive."""
        if not self._ended:
            raise InvalidInputError(FIELD, "is incomplete: the form ends too soon. Send it again")
        if not self.found:
            raise InvalidInputError(FIELD, "is missing. Send it as the body, or as the file `archive` of a form")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            name = options.get(b"name", b"").decode(errors="replace")
            if name != FIELD:
                raise InvalidInputError(name[:MAX_NAME], unknown_field_reason(name, (FIELD,), (), "/jobs"))
            if self.found:
                raise InvalidInputError(FIELD, "is given 2 times. Send one archive per job")
            self._inside = True
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
def _form_errors() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise InvalidInputError(FIELD, f"cannot be read from the form: {error}") from error
