"""API keys: who may search, write, or look behind the curtain.

A key is `lk_NUMBER_SECRET`. The secret is drawn at random and shown once; the database holds its SHA-256, which is
enough for a secret that nobody can guess.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.catalogue.database.tables import ApiKey
from app.errors import InvalidInputError, NotFoundError

_PREFIX, _SECRET_BYTES, _MOST_DIGITS = "lk", 32, 18


class Scope(StrEnum):
    """What a key is for; `admin` includes the others."""

    SEARCH = "search"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True)
class Key:
    """What may be told of a key: not its secret."""

    id: int
    name: str
    scopes: frozenset[Scope]
    created_at: datetime

    def allows(self, scope: Scope) -> bool:
        """Tells whether the key is for this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def create_key(session: Session, name: str, scopes: Iterable[Scope]) -> str:
    """Makes a key and returns it; nobody can read it again.

    Raises:
        InvalidInputError: there is a key of that name.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    values = {"name": name, "digest": _digest(secret), "scopes": sorted(scopes)}
    try:
        key_id = session.scalars(insert(ApiKey).returning(ApiKey.id), [values]).one()
    except IntegrityError as error:
        raise InvalidInputError("name", f"there is a key {name} already; revoke it or choose another name") from error
    return f"{_PREFIX}_{key_id}_{secret}"


def list_keys(session: Session) -> list[Key]:
    """Lists the keys by name."""
    return [_key(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.name))]


def revoke_key(session: Session, name: str) -> None:
    """Takes a key back.

    Raises:
        NotFoundError: there is no key of that name.
    """
    if session.scalars(delete(ApiKey).where(ApiKey.name == name).returning(ApiKey.id)).first() is None:
        raise NotFoundError("key", name)


def any_key(session: Session) -> bool:
    """Tells whether there is a key at all."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def find_key(session: Session, token: str) -> Key | None:
    """Returns the key that somebody showed, if it is one."""
    prefix, _, rest = token.partition("_")
    number, _, secret = rest.partition("_")
    if prefix != _PREFIX or not (number.isascii() and number.isdigit()) or len(number) > _MOST_DIGITS:
        return None
    row = session.get(ApiKey, int(number))
    if row is None or not hmac.compare_digest(row.digest, _digest(secret)):
        return None
    return _key(row)


def _key(row: ApiKey) -> Key:
    return Key(row.id, row.name, frozenset(map(Scope, row.scopes)), row.created_at)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
