"""Requests and responses about API keys."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas.images import NFC
from app.catalogue.keys import Key
from app.common.scopes import Scope

MAX_NAME = 100
KEY_EXAMPLE: dict[str, Any] = {
    "id": 1,
    "name": "shop",
    "scopes": ["search"],
    "created_at": "2026-11-21T12:00:00Z",
    "last_used_at": "2026-11-21T12:03:00Z",
}


class KeyIn(BaseModel):
    """A key to create."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "importer", "scopes": ["search", "write"]}}
    )

    name: Annotated[str, NFC, Field(min_length=1, max_length=MAX_NAME, description="Not yet the name of another key.")]
    scopes: Annotated[list[Scope], Field(min_length=1, description="What it allows; `admin` includes the others.")] = [
        Scope.SEARCH
    ]


class KeyOut(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(json_schema_extra={"example": KEY_EXAMPLE})

    id: int
    name: str
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None = Field(description="When it was last used, to about a minute; null if never.")

    @classmethod
    def of(cls, key: Key) -> "KeyOut":
        """Convert a key of the catalogue."""
        scopes = [scope for scope in Scope if scope in key.scopes]
        return cls(id=key.id, name=key.name, scopes=scopes, created_at=key.created_at, last_used_at=key.last_used_at)


class NewKeyOut(KeyOut):
    """A new API key with its secret."""

    model_config = ConfigDict(json_schema_extra={"example": KEY_EXAMPLE | {"key": "lk_1_s3cr3t"}})

    key: str = Field(description="The key itself. It is shown only now.")


class KeyList(BaseModel):
    """All API keys."""

    items: list[KeyOut] = Field(description="By name.")
