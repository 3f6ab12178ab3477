"""Changes to the catalogue: each is one transaction, numbered by `seq`, visible when it commits.

Taking a number locks the catalogue's row until the commit. So a follower that has seen `seq` has seen everything
up to it, ids grow with `seq`, and two writers of one key take turns. All other changes wait meanwhile: nothing waits
for a disk or a network between taking the lock and the commit.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from app.catalogue.database.locks import Lock
from app.catalogue.database.tables import CatalogueState, Deletion, Encoding, Generation, Picture
from app.errors import CatalogueMovedError, NotFoundError

Status = Literal["created", "updated", "unchanged"]


class Given(TypedDict, total=False):
    """What an owner says of a picture; what is left out stays as it is."""

    label: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True)
class PictureFacts:
    """What decoding found out about a picture's bytes."""

    sha256: str
    media_type: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True)
class NewEncoding:
    """What the network made of it, kept at `slot` for good; it is found from a moment of the index's own time on."""

    slot: int
    code: bytes
    checksum: int
    moment: int = 0


@dataclass(frozen=True)
class Put:
    """One picture to create or update; facts and encoding are None when its bytes are those already there.

    Attributes:
        sha256: the hash of its bytes.
    """

    key: str
    sha256: str
    given: Given
    facts: PictureFacts | None
    encoding: NewEncoding | None


@dataclass(frozen=True)
class Done:
    """What became of a `Put`; `replaced` is the hash of an original that its picture no longer uses."""

    id: int
    status: Status
    replaced: str | None = None


class CatalogueChangedError(Exception):
    """What a change was prepared for is no longer so; prepare it again."""


class SwitchUnderWayError(Exception):
    """The catalogue is being switched to another network; try again in a moment."""


def advance(session: Session) -> tuple[int, int | None]:
    """Takes the next `seq` and holds the catalogue until the commit; returns it and the generation in use."""
    changed = (
        update(CatalogueState)
        .values(seq=CatalogueState.seq + 1)
        .returning(CatalogueState.seq, CatalogueState.index_version_id)
    )
    seq, generation_id = session.execute(changed).one()
    return seq, generation_id


def reserve_slots(session: Session, generation_id: int, count: int) -> np.typing.NDArray[np.int64]:
    """Hands out rows of a generation's vector file, never handed out before; returns `(count,)`."""
    taken = (
        update(Generation)
        .where(Generation.id == generation_id)
        .values(next_slot=Generation.next_slot + count)
        .returning(Generation.next_slot)
    )
    end = session.execute(taken).scalar_one()
    return np.arange(end - count, end, dtype=np.int64)


def put_pictures(session: Session, generation_id: int, puts: Sequence[Put]) -> list[Done]:
    """Creates or updates pictures, in order, as one change.

    Raises:
        CatalogueMovedError: another network is in use by now.
        CatalogueChangedError: a picture whose bytes were to be kept is gone, or has others.
    """
    seq, in_use = advance(session)
    if in_use != generation_id:
        raise CatalogueMovedError(in_use)
    known = _known(session, [put.key for put in puts])
    applied = [(_apply(session, known, put, seq), put.encoding) for put in puts]
    session.flush()
    # What other networks made of bytes that were replaced is no longer true.
    _forget_encodings(session, [picture.id for (picture, _, replaced), _ in applied if replaced is not None])
    _save_encodings(session, generation_id, seq, [(picture.id, new) for (picture, _, _), new in applied if new])
    return [Done(picture.id, status, replaced) for (picture, status, replaced), _ in applied]


def put_encodings(session: Session, generation_id: int, encodings: Sequence[tuple[Picture, NewEncoding]]) -> None:
    """Adds what another network made of pictures, leaving out those that were deleted or replaced meanwhile."""
    seq, _ = advance(session)
    ids = [picture.id for picture, _ in encodings]
    found = session.execute(select(Picture.id, Picture.sha256).where(Picture.id.in_(ids)))
    now = {row.id: row.sha256 for row in found}
    still = [(picture.id, new) for picture, new in encodings if now.get(picture.id) == picture.sha256]
    _save_encodings(session, generation_id, seq, still)


def delete_picture(session: Session, picture_id: int) -> str:
    """Deletes a picture as one change; returns the hash of its original.

    Raises:
        NotFoundError: there is no such picture.
    """
    seq, _ = advance(session)
    sha256 = session.execute(delete(Picture).where(Picture.id == picture_id).returning(Picture.sha256)).scalar()
    if sha256 is None:
        raise NotFoundError("picture", picture_id)
    # A backup that came back once gave the numbers of deleted pictures to others.
    gone = postgresql.insert(Deletion).values(image_id=picture_id, seq=seq)
    session.execute(gone.on_conflict_do_update(index_elements=[Deletion.image_id], set_={"seq": seq}))
    return sha256


def describe_picture(session: Session, picture_id: int, given: Given) -> Picture:
    """Changes what is said of a picture as one change; a field given as None goes, those not given stay.

    Raises:
        NotFoundError: there is no such picture.
    """
    seq, _ = advance(session)
    picture = session.get(Picture, picture_id)
    if picture is None:
        raise NotFoundError("picture", picture_id)
    if "metadata" in given:
        merged = picture.metadata_ | given["metadata"]
        given = given | {"metadata": {name: value for name, value in merged.items() if value is not None}}
    if _describe(picture, given):
        picture.seq = seq
    session.flush()
    session.refresh(picture)
    return picture


def hold(session: Session) -> None:
    """Locks the catalogue's row until the commit, without a change; nothing else can commit a change meanwhile."""
    session.execute(select(CatalogueState.seq).with_for_update()).one()


def require_no_switch(session: Session) -> None:
    """Keeps a switch to another network from beginning before the commit.

    Raises:
        SwitchUnderWayError: one is under way, and encodes the last pictures that its network lacks.
    """
    if not session.scalars(select(func.pg_try_advisory_xact_lock_shared(Lock.SWITCH.value))).one():
        raise SwitchUnderWayError


def _known(session: Session, keys: list[str]) -> dict[str, Picture]:
    return {picture.key: picture for picture in session.scalars(select(Picture).where(Picture.key.in_(keys)))}


def _apply(session: Session, known: dict[str, Picture], put: Put, seq: int) -> tuple[Picture, Status, str | None]:
    picture = known.get(put.key)
    if picture is None:
        if put.facts is None:
            raise CatalogueChangedError
        picture = Picture(key=put.key, label=None, metadata_={}, seq=seq, **vars(put.facts))
        _describe(picture, put.given)
        known[put.key] = picture
        session.add(picture)
        return picture, "created", None
    before = picture.sha256
    if put.facts is None and put.sha256 != before:
        raise CatalogueChangedError
    changed = _describe(picture, put.given)
    if put.facts is not None and put.facts.sha256 != before:
        for name, value in vars(put.facts).items():
            setattr(picture, name, value)
        picture.seq = seq
        return picture, "updated", before
    if not changed:
        return picture, "unchanged", None
    picture.seq = seq
    return picture, "updated", None


def _describe(picture: Picture, given: Given) -> bool:
    """Writes what is given over what is there; tells whether anything differs."""
    label, metadata = given.get("label", picture.label), given.get("metadata", picture.metadata_)
    # As JSON, where 1 and true differ; neither Python nor SQLAlchemy tells them apart.
    changed = label != picture.label or _json(metadata) != _json(picture.metadata_)
    picture.label, picture.metadata_ = label, metadata
    if changed:
        flag_modified(picture, "metadata_")
    return changed


def _json(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True)


def _forget_encodings(session: Session, picture_ids: Sequence[int]) -> None:
    if picture_ids:
        session.execute(delete(Encoding).where(Encoding.image_id.in_(picture_ids)))


def _save_encodings(
    session: Session, generation_id: int, seq: int, encodings: Sequence[tuple[int, NewEncoding]]
) -> None:
    # The last one wins where a key came twice: PostgreSQL refuses to update a row twice in one statement.
    rows = {
        picture_id: {
            "index_version_id": generation_id,
            "image_id": picture_id,
            "seq": seq,
            "slot": new.slot,
            "code": new.code,
            "checksum": new.checksum,
        }
        for picture_id, new in encodings
    }
    if not rows:
        return
    moment = max(new.moment for _, new in encodings)
    session.execute(
        update(CatalogueState).values(milvus_timestamp=func.greatest(CatalogueState.milvus_timestamp, moment))
    )
    upsert = postgresql.insert(Encoding).values(list(rows.values()))
    names = ("slot", "code", "checksum", "seq")
    session.execute(
        upsert.on_conflict_do_update(
            index_elements=["index_version_id", "image_id"],
            set_={name: upsert.excluded[name] for name in names},
        )
    )
