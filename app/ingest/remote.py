"""A catalogue behind HTTP, to be filled as this process's own is."""

from collections.abc import Sequence

from app.client import Lookalike, NewPicture
from app.ingest.add import Added, Upload


class Remote:
    """A running service."""

    def __init__(self, client: Lookalike) -> None:
        self._client = client

    def add(self, uploads: Sequence[Upload]) -> list[Added]:
        """Puts pictures into the service's catalogue; when this returns they are there for good.

        Raises:
            LookalikeError: the service refuses, or does not answer for as long as the client has patience.
        """
        added = self._client.add([_picture(upload) for upload in uploads])
        return [Added(item.id, item.key, item.status, item.error, item.error_code) for item in added]


def _picture(upload: Upload) -> NewPicture:
    return NewPicture(upload.data, upload.key, upload.given.get("label"), upload.given.get("metadata", {}))
