"""Moves a catalogue to another network: its generation fills beside the one in use, then one transaction switches.

Searches and changes go on meanwhile. Pictures that were added or replaced while it ran are caught up with. When
little is missing, every process that serves is asked to open the new generation; once all have, the switch keeps
additions waiting, encodes the last few and is done: searches and all other changes go on even then. Stopped, it goes on
where it was. The old generation stays, so moving back encodes only what is new since.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from PIL import Image
from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from app.catalogue import changes, generations
from app.catalogue.advisory_registry import Presence, Role, held_by, presence
from app.catalogue.changes import NewEncoding
from app.catalogue.database.locks import Lock, exclusively
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Picture
from app.catalogue.storage.protocol import PictureStore
from app.errors import DamagedOriginalError, DecodingUnavailableError, LookalikeError, PictureRefusedError
from app.ingest.embedding_writer import Encodings
from app.search.decode.retries import retried

_AT_A_TIME = 64
# So long the others may take to open the network; converting a large one is the longest part of it.
PATIENCE_S = 180.0
_LOOK_AGAIN_S = 0.5
# By the code of a refusal: originals that were accepted under other limits are not damaged.
_REMEDIES = {
    "image_too_large": "Raise LOOKALIKE_MAX_IMAGE_BYTES",
    "image_too_many_pixels": "Raise LOOKALIKE_MAX_IMAGE_PIXELS",
    "image_decode_timeout": "Raise LOOKALIKE_MAX_DECODE_CPU_SECONDS",
    "image_decode_out_of_memory": "Give the command more memory",
}

Report = Callable[[int, int], None]


class Reencode:
    """Fills one generation with one network, and switches to it."""

    def __init__(self, database: Database, files: PictureStore, encodings: Encodings) -> None:
        self._database, self._files, self._encodings = database, files, encodings
        self._generation_id = encodings.generation_id

    def run(self, report: Report, patience: float = PATIENCE_S) -> None:
        """Encodes what is missing, then switches; `report` hears how many of how many are done.

        Raises:
            DamagedOriginalError: an original is missing or cannot be read.
            DecodingUnavailableError: the machine is too busy to decode pictures, for minutes.
            LookalikeError: an original is past a limit of the settings; or a process that serves cannot open the
                network, or takes longer than `patience` seconds.
        """
        with presence(self._database) as present:
            present.hold_only(Role.FILLING, {self._generation_id})
            self._fill(report)
            present.hold_only(Role.WANTED, {self._generation_id})
            self._wait_for_others(present, report, patience)
            while not self._switched():
                self._fill(report)

    def _fill(self, report: Report) -> None:
        """Encodes what this generation lacks, in the order of ids; what comes meanwhile may be left for later."""
        with self._database.asking() as session:
            done, total = generations.progress(session, self._generation_id)
        last, more = 0, True
        while more:
            with self._database.asking() as session:
                some = self._missing(session, last)
            self._keep(retried(partial(self._encodings.of, some, self._prepared)))
            # Fewer are all: whoever adds all the time must not keep this from ending.
            more = len(some) == _AT_A_TIME
            done, last = done + len(some), max([last, *(picture.id for picture in some)])
            report(done, max(done, total))

    def _missing(self, session: Session, after: int) -> Sequence[Picture]:
        missing = _without_encoding(self._generation_id).where(Picture.id > after)
        return session.scalars(missing.order_by(Picture.id).limit(_AT_A_TIME)).all()

    def _keep(self, encoded: list[tuple[Picture, NewEncoding]]) -> None:
        if encoded:
            with self._database.begin() as session:
                changes.put_encodings(session, self._generation_id, encoded)

    def _prepared(self, picture: Picture) -> Image.Image | None:
        """Returns what the network reads of a picture; None if it was deleted or replaced meanwhile."""
        try:
            return self._encodings.prepare(self._files.read(picture.sha256)).image
        except (OSError, PictureRefusedError) as error:
            if not self._still_there(picture):
                return None
            if isinstance(error, PictureRefusedError) and (remedy := _REMEDIES.get(error.code)):
                raise LookalikeError(
                    f"Picture {picture.id} ({picture.key}): {error.reason} {remedy}, or delete the picture, and repeat "
                    "the command: what was encoded is kept."
                ) from error
            raise DamagedOriginalError(picture.id, picture.key) from error

    def _still_there(self, picture: Picture) -> bool:
        with self._database.asking() as session:
            return session.scalar(select(Picture.sha256).where(Picture.id == picture.id)) == picture.sha256

    def _wait_for_others(self, present: Presence, report: Report, patience: float) -> None:
        """Waits until every process that serves can answer with this generation, and keeps it filled meanwhile."""
        until = time.monotonic() + patience
        while waiting := _without(self._generation_id, held_by(present.connection, Role.OPEN)):
            if time.monotonic() > until:
                raise LookalikeError(
                    f"{waiting} of the running services cannot open the network yet, so the catalogue stays with the "
                    "one that it uses. Their logs say why. What was encoded is kept: repeat the command when they "
                    "can, or after stopping them."
                )
            time.sleep(_LOOK_AGAIN_S)
            self._fill(report)

    def _switched(self) -> bool:
        """Switches if little is missing; until it is done no picture can be added, so nothing more can be missing."""
        with suppress(DecodingUnavailableError), exclusively(self._database, Lock.SWITCH):
            with self._database.asking() as session:
                missing = self._missing(session, 0)
            if len(missing) == _AT_A_TIME:
                return False
            self._keep(self._encodings.of(missing, self._prepared))
            with self._database.begin() as session:
                changes.advance(session)
                if self._missing(session, 0):
                    return False
                generations.switch(session, self._generation_id)
                return True
        # A machine that is too busy to decode: additions must not wait for another try.
        return False


def _without_encoding(generation_id: int) -> Select[Picture]:
    encoded = exists().where(Encoding.index_version_id == generation_id, Encoding.image_id == Picture.id)
    return select(Picture).where(~encoded)


def _without(generation_id: int, openers: dict[int, set[int]]) -> int:
    """Counts the processes that serve and have not opened a generation."""
    return len(set[int]().union(*openers.values()) - openers.get(generation_id, set()))
