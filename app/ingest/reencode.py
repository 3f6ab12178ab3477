"""Moves a catalogue to another network: its generation fills beside the one in use, then one transaction switches.

Searches go on meanwhile. Stopped, it goes on where it was; pictures that were added or replaced while it ran are
caught up with before the switch, which holds the catalogue and looks once more. The old generation stays, so moving
back encodes only what is new since.
"""

from collections.abc import Callable, Sequence

from PIL import Image
from sqlalchemy import Select, func, select

from app.catalogue import changes, generations
from app.catalogue.database import Database
from app.catalogue.pictures import PictureFiles
from app.catalogue.tables import Encoding, Picture
from app.errors import DamagedOriginalError, PictureRefusedError
from app.ingest.encodings import Encodings

_AT_A_TIME = 64

Report = Callable[[int, int], None]


class Reencode:
    """Fills one generation with one network, and switches to it."""

    def __init__(self, database: Database, files: PictureFiles, encodings: Encodings) -> None:
        self._database, self._files, self._encodings = database, files, encodings

    def run(self, report: Report) -> None:
        """Encodes what is missing, then switches; `report` hears how many of how many are done.

        Raises:
            DamagedOriginalError: an original is missing or cannot be read.
        """
        while not self._switched():
            while some := self._missing():
                self._encode(some)
                report(*self._progress())

    def _missing(self) -> Sequence[Picture]:
        with self._database.asking() as session:
            return session.scalars(_without_encoding(self._encodings.generation_id).limit(_AT_A_TIME)).all()

    def _encode(self, pictures: Sequence[Picture]) -> None:
        made = self._encodings.make([self._prepared(picture) for picture in pictures])
        with self._database.begin() as session:
            encoded = list(zip(pictures, made, strict=True))
            changes.put_encodings(session, self._encodings.generation_id, encoded)

    def _prepared(self, picture: Picture) -> Image.Image:
        try:
            data = self._files.original(picture.sha256).read_bytes()
            return self._encodings.prepare(data).image
        except (OSError, PictureRefusedError) as error:
            raise DamagedOriginalError(picture.id, picture.key) from error

    def _progress(self) -> tuple[int, int]:
        with self._database.asking() as session:
            done = select(func.count()).where(Encoding.generation_id == self._encodings.generation_id)
            return session.scalars(done).one(), session.scalars(select(func.count(Picture.id))).one()

    def _switched(self) -> bool:
        """Switches if nothing is missing, with the catalogue held so that nothing can come in between."""
        with self._database.begin() as session:
            changes.advance(session)
            if session.scalar(_without_encoding(self._encodings.generation_id).limit(1)) is not None:
                return False
            generations.switch(session, self._encodings.generation_id)
            return True


def _without_encoding(generation_id: int) -> Select[Picture]:
    encoded = select(Encoding.picture_id).where(Encoding.generation_id == generation_id)
    return select(Picture).where(Picture.id.not_in(encoded)).order_by(Picture.id)
