"""Access to a service's vector file."""

import pytest

from app.bootstrap import Service
from app.catalogue.vectors.file import VectorFile
from app.search.local.index import LocalIndex


def vector_file(service: Service) -> VectorFile:
    """Return the vector file; skip the test if the index is in Milvus."""
    if not isinstance(service.index, LocalIndex):
        pytest.skip("the vectors are in Milvus")
    assert isinstance(service.index.vectors, VectorFile)
    return service.index.vectors
