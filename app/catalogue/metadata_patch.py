"""Changes of an image's label and metadata.

Imports nothing of the catalogue, because processes without a database, which read archives and tables, use it too.
"""

from typing import Any, TypedDict


class MetadataPatch(TypedDict, total=False):
    """Label and metadata to set on an image; missing keys stay unchanged."""

    label: str | None
    metadata: dict[str, Any]
