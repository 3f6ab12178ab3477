"""API keys: create, list, revoke and verify.

A key is `lk_NUMBER_SECRET`. The secret is random and shown once; the database stores its SHA-256. A slow password hash
is not needed, because a random secret cannot be guessed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.catalogue.database.tables import ApiKey
from app.common.scopes import Scope
from app.errors import InvalidInputError, NotFoundError

_PREFIX, _SECRET_BYTES, _MAX_DIGITS = "lk", 32, 18


@dataclass(frozen=True)
class Key:
    """A key without its secret."""

    id: int
    name: str
    scopes: frozenset[Scope]
    created_at: datetime

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def create_key(session: Session, name: str, scopes: Iterable[Scope]) -> str:
    """Create a key and return it; the secret cannot be read again.

    Raises:
        InvalidInputError: the name is taken.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    values = {"name": name, "digest": _digest(secret), "scopes": sorted(scopes)}
    try:
        key_id = session.scalars(insert(ApiKey).returning(ApiKey.id), [values]).one()
    except IntegrityError as error:
        raise InvalidInputError("name", f"the key {name} already exists; revoke it or choose another name") from error
    return f"{_PREFIX}_{key_id}_{secret}"


def list_keys(session: Session) -> list[Key]:
    """List all keys by name."""
    return [_key(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.name))]


def revoke_key(session: Session, name: str) -> None:
    """Revoke a key.

    Raises:
        NotFoundError: there is no key of that name.
    """
    if session.scalars(delete(ApiKey).where(ApiKey.name == name).returning(ApiKey.id)).first() is None:
        raise NotFoundError("key", name)


def has_keys(session: Session) -> bool:
    """Return whether there are any keys."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def verify_token(session: Session, token: str) -> Key | None:
    """Verify a token; return its key, or None if it is not valid."""
    prefix, _, rest = token.partition("_")
    number, _, secret = rest.partition("_")
    if prefix != _PREFIX or not (number.isascii() and number.isdigit()) or len(number) > _MAX_DIGITS:
        return None
    row = session.get(ApiKey, int(number))
    if row is None or not hmac.compare_digest(row.digest, _digest(secret)):
        return None
    return _key(row)


def _key(row: ApiKey) -> Key:
    return Key(row.id, row.name, frozenset(map(Scope, row.scopes)), row.created_at)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
