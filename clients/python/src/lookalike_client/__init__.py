"""A client of the service, for programs: `Lookalike`, and `AsyncLookalike` for asyncio.

    from lookalike_client import Lookalike

    with Lookalike("http://127.0.0.1:8000") as catalogue:
        for match in catalogue.search("photo.jpg", k=5).matches:
            print(match.key, match.similarity)

Every call may be repeated without harm, because an addition is settled by its key or the hash of its bytes; so calls
that meet a lost connection or a busy service are, after a pause. Needs nothing of the service's own code.
"""

from lookalike_client.async_client import AsyncLookalike
from lookalike_client.client import Lookalike
from lookalike_client.endpoints import UNCHANGED
from lookalike_client.errors import FieldProblem, ProblemError, UnreachableError
from lookalike_client.images import NewPicture
from lookalike_client.results import (
    Added,
    Answer,
    BatchItem,
    Count,
    Explanation,
    Facets,
    Field,
    Job,
    Jobs,
    Match,
    Network,
    Page,
    Picture,
    Rejection,
    Stats,
)
from lookalike_client.retries import Patience

__all__ = [
    "UNCHANGED",
    "Added",
    "Answer",
    "AsyncLookalike",
    "BatchItem",
    "Count",
    "Explanation",
    "Facets",
    "Field",
    "FieldProblem",
    "Job",
    "Jobs",
    "Lookalike",
    "Match",
    "Network",
    "NewPicture",
    "Page",
    "Patience",
    "Picture",
    "ProblemError",
    "Rejection",
    "Stats",
    "UnreachableError",
]
