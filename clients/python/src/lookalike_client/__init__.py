"""Python client of Lookalike, a self-hosted image search service.

    from lookalike_client import Lookalike

    with Lookalike("http://127.0.0.1:8000") as catalogue:
        for match in catalogue.search("photo.jpg", k=5).matches:
            print(match.key, match.similarity)

`AsyncLookalike` has the same methods for asyncio. Requests are retried after connection errors and while the service is
busy. Calls that are sent twice change nothing more, except those whose docstrings say so: an added image is identified
by its key or the hash of its bytes.
"""

from lookalike_client.async_client import AsyncLookalike
from lookalike_client.batching import MAX_BATCH_BYTES, MAX_BATCH_IMAGES
from lookalike_client.calls.bulk import Deletion, Restored, TrashedImage, TrashPage
from lookalike_client.calls.duplicates import AddedFields, DuplicateGroup, DuplicatePage, MergeResult
from lookalike_client.calls.endpoints import UNCHANGED
from lookalike_client.calls.operations import ApiKey, AvailableModel, NewApiKey, Task
from lookalike_client.client import Lookalike
from lookalike_client.errors import ClientError, FieldError, InvalidInputError, ProblemError, UnreachableError
from lookalike_client.images import NewImage
from lookalike_client.results import (
    AddResult,
    BatchItem,
    CatalogueImage,
    EntryWarning,
    Explanation,
    FacetField,
    Facets,
    FacetValue,
    ImagePage,
    Job,
    JobPage,
    LeftOut,
    Match,
    Rejection,
    SearchResult,
)
from lookalike_client.retries import RetryPolicy
from lookalike_client.statistics import Adaptation, BetterModel, CodeQuality, ModelInfo, Stats

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_IMAGES",
    "UNCHANGED",
    "Adaptation",
    "AddResult",
    "AddedFields",
    "ApiKey",
    "AsyncLookalike",
    "AvailableModel",
    "BatchItem",
    "BetterModel",
    "CatalogueImage",
    "ClientError",
    "CodeQuality",
    "Deletion",
    "DuplicateGroup",
    "DuplicatePage",
    "EntryWarning",
    "Explanation",
    "FacetField",
    "FacetValue",
    "Facets",
    "FieldError",
    "ImagePage",
    "InvalidInputError",
    "Job",
    "JobPage",
    "LeftOut",
    "Lookalike",
    "Match",
    "MergeResult",
    "ModelInfo",
    "NewApiKey",
    "NewImage",
    "ProblemError",
    "Rejection",
    "Restored",
    "RetryPolicy",
    "SearchResult",
    "Stats",
    "Task",
    "TrashPage",
    "TrashedImage",
    "UnreachableError",
]
