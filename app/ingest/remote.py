"""A running service as the target of additions."""

from collections.abc import Sequence

from lookalike_client import AddResult as AddResultOut
from lookalike_client import Lookalike, NewImage

from app.ingest.pipeline import AddResult, Upload


class RemoteTarget:
    """Adds images to a running service over HTTP."""

    def __init__(self, client: Lookalike) -> None:
        self._client = client

    def add(self, uploads: Sequence[Upload]) -> list[AddResult]:
        """Adds images to the service's catalogue; when it returns, they are stored durably.

        Raises:
            ClientError: the service returned an error, or did not respond in any of the client's attempts.
        """
        results = self._client.add([_new_image(upload) for upload in uploads])
        return [_add_result(result) for result in results]


def _add_result(result: AddResultOut) -> AddResult:
    return AddResult(
        result.id, result.key, result.status, result.error, result.error_code, warnings=tuple(result.warnings)
    )


def _new_image(upload: Upload) -> NewImage:
    return NewImage(upload.data, upload.key, upload.patch.get("label"), upload.patch.get("metadata", {}))
