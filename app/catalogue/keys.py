"""API keys: create, list, revoke and verify, and when they were last used.

A key is `lk_NUMBER_SECRET`. The secret is random and shown once; the database stores its SHA-256. A slow password hash
is not needed, because a random secret cannot be guessed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.catalogue.database.tables import ApiKey
from app.common.scopes import Scope
from app.errors import InvalidInputError, NotFoundError

_PREFIX, _SECRET_BYTES, _MAX_DIGITS = "lk", 32, 18


@dataclass(frozen=True)
class Key:
    """A key without its secret.

    Attributes:
        last_used_at: when a service accepted it last, to about a minute; None if it never was.
    """

    id: int
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    last_used_at: datetime | None

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


def find_key(session: Session, name: str) -> Key:
    """Return the key of a name.

    Raises:
        NotFoundError: there is none.
    """
    row = session.scalars(select(ApiKey).where(ApiKey.name == name)).first()
    if row is None:
        raise NotFoundError("key", name)
    return _key(row)


def revoke_key(session: Session, key: int | str) -> None:
    """Revoke a key.

    Args:
        session: a transaction.
        key: its id or its name.

    Raises:
        NotFoundError: there is no such key.
    """
    chosen = ApiKey.id == key if isinstance(key, int) else ApiKey.name == key
    if session.scalars(delete(ApiKey).where(chosen).returning(ApiKey.id)).first() is None:
        raise NotFoundError("key", key)


def record_use(session: Session, used: Mapping[int, datetime]) -> None:
    """Store when keys were used, by id; an earlier time than the stored one changes nothing."""
    # In order of id, so that two processes cannot wait for each other.
    for key_id, at in sorted(used.items()):
        later = ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at < at)
        session.execute(update(ApiKey).where(ApiKey.id == key_id, later).values(last_used_at=at))


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
    return Key(row.id, row.name, frozenset(map(Scope, row.scopes)), row.created_at, row.last_used_at)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
