"""The file that a service keeps its vectors in, for tests that look into it."""

import pytest

from app.bootstrap import Service
from app.catalogue.vectors.file import VectorFile
from app.search.index import LocalIndex


def vector_file(service: Service) -> VectorFile:
    """The vector file; tests of it are left out where the index is in Milvus."""
    if not isinstance(service.index, LocalIndex):
        pytest.skip("the vectors are in Milvus")
    assert isinstance(service.index.vectors, VectorFile)
    return service.index.vectors
