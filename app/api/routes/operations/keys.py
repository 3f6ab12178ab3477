"""API keys: list, create and revoke."""

from typing import Annotated

from fastapi import Path

from app.api.dependencies import ServiceDep
from app.api.known_parameters import resource_router
from app.api.schemas.images import PROBLEM
from app.api.schemas.keys import KeyIn, KeyList, KeyOut, NewKeyOut
from app.catalogue import keys
from app.common.json_values import MAX_ID
from app.errors import InvalidInputError

router = resource_router(
    "keys",
    responses={
        422: {"description": "A field is not valid, or the name is taken.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)


@router.get("/keys", operation_id="list_keys", summary="List API keys")
def list_keys(service: ServiceDep) -> KeyList:
    """List all API keys by name, without their secrets. Needs the scope `admin`."""
    with service.database.read_session() as session:
        return KeyList(items=[KeyOut.of(key) for key in keys.list_keys(session)])


@router.post("/keys", operation_id="create_key", summary="Create an API key", status_code=201)
def create_key(body: KeyIn, service: ServiceDep) -> NewKeyOut:
    """Create an API key and return it; its secret cannot be read again. Needs the scope `admin`.

    From the first key on, every call needs a key.
    """
    if not body.name.isprintable() or body.name != body.name.strip():
        raise InvalidInputError("name", "has control characters, or spaces at its ends. Use printable characters")
    with service.database.transaction() as session:
        token = keys.create_key(session, body.name, set(body.scopes))
        created = KeyOut.of(keys.find_key(session, body.name))
    return NewKeyOut(**created.model_dump(), key=token)


@router.delete(
    "/keys/{key_id}",
    operation_id="delete_key",
    summary="Revoke an API key",
    status_code=204,
    responses={404: {"description": "There is no such key.", **PROBLEM}},
)
def delete_key(key_id: Annotated[int, Path(ge=1, le=MAX_ID, examples=[1])], service: ServiceDep) -> None:
    """Revoke an API key: it stops working within a second. Needs the scope `admin`.

    Without any key, services that require keys accept requests of local programs only.
    """
    with service.database.transaction(allow_low_space=True) as session:
        keys.revoke_key(session, key_id)
