"""A running service as the target of additions."""

from collections.abc import Sequence

from lookalike_client import AddResult as AddResultOut
from lookalike_client import Lookalike, NewImage

from app.ingest.uploads import AddResult, OnDuplicate, Upload


class RemoteTarget:
    """Adds images to a running service over HTTP."""

    def __init__(self, client: Lookalike, on_duplicate: OnDuplicate = OnDuplicate.ADD) -> None:
        self._client, self._on_duplicate = client, on_duplicate

    def add(self, uploads: Sequence[Upload]) -> list[AddResult]:
        """Adds images to the service's catalogue; when it returns, they are stored durably.

        Raises:
            ClientError: the service returned an error, or did not respond in any of the client's attempts.
        """
        results = self._client.add([_new_image(upload) for upload in uploads], on_duplicate=self._on_duplicate.value)
        return [_add_result(result) for result in results]


def _add_result(result: AddResultOut) -> AddResult:
    return AddResult(
        result.id,
        result.key,
        result.status,
        result.error,
        result.error_code,
        warnings=tuple(result.warnings),
        duplicate_of=result.duplicate_of,
    )


def _new_image(upload: Upload) -> NewImage:
    return NewImage(upload.data, upload.key, upload.patch.get("label"), upload.patch.get("metadata", {}))
