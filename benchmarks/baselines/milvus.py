"""The two-step search in milvus-lite: the pool by codes, then exact distance among its ids."""

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.baselines.base import Catalogue, Ids, Query

_AT_A_TIME = 1000


class MilvusLite:
    """Codes with re-ranking; the effort is the pool."""

    name = "milvus-lite, codes re-ranked"
    efforts = (100, 300, 1000, 3000)

    def build(self, catalogue: Catalogue) -> None:
        """Create, fill and load a collection with flat indexes on codes and F7, for exact search."""
        pymilvus = import_module("pymilvus")
        kinds = pymilvus.DataType
        self._client: Any = pymilvus.MilvusClient(str(catalogue.folder / "milvus.db"))
        schema = self._client.create_schema()
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("code", kinds.BINARY_VECTOR, dim=8 * catalogue.codes.shape[1])
        schema.add_field("f7", kinds.FLOAT_VECTOR, dim=catalogue.features.shape[1])
        indexes = self._client.prepare_index_params()
        indexes.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
        indexes.add_index("f7", index_type="MIN_SLOPE", metric_type="L2")
        self._client.create_collection("items", schema=schema, index_params=indexes)
        for first in range(0, len(catalogue.codes), _AT_A_TIME):
            here = slice(first, first + _AT_A_TIME)
            rows = zip(catalogue.codes[here], catalogue.features[here], strict=True)
            data = [{"id": first + at, "code": code.tobytes(), "f7": f7} for at, (code, f7) in enumerate(rows)]
            self._client.insert("items", data)
        self._client.load_collection("items")

    def search(self, query: Query, k: int, effort: int) -> Ids:
        """Query the pool, then rank it."""
        pool = self._ids("code", query.code.tobytes(), effort, "")
        return self._ids("f7", query.feature, k, f"id in {pool.tolist()}")

    def _ids(self, field: str, query: object, limit: int, condition: str) -> Ids:
        (hits,) = self._client.search("items", [query], filter=condition, limit=limit, anns_field=field)
        return np.array([hit["id"] for hit in hits], np.int64)

    def memory(self) -> None:
        """Return None: milvus-lite reports no memory use."""
        return

    def close(self) -> None:
        """Close the client."""
        self._client.close()
