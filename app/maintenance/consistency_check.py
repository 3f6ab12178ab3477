"""Looks whether rows, vectors, codes and files still belong together, and mends what can be mended.

It may run beside the service: what changes while it looks is looked at again before it is reported.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.catalogue import changes
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Picture
from app.catalogue.storage.local import content_hash
from app.catalogue.storage.orphan_cleanup import remove_unused
from app.catalogue.storage.protocol import PictureStore
from app.errors import PictureRefusedError
from app.ingest.embedding_writer import Encodings
from app.search.decode.retries import retried
from app.search.index import Index

Kind = Literal["original", "encoding", "vector", "code", "file"]
WHAT = {
    "original": "its original is missing or damaged",
    "encoding": "it has no code",
    "vector": "its vector is damaged",
    "code": "the network gives it another code",
    "file": "no picture uses this file",
}
_AT_A_TIME = 256
# Originals read at a time: of a bucket's each is mostly waited for.
_READERS = 16
# A file this young may belong to an addition that is under way.
_YOUNG_S = 3600

Report = Callable[[int, int], None]
Row = tuple[Picture, Encoding | None]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be; of a picture, or of a file by its hash."""

    kind: Kind
    name: str
    picture_id: int | None = None

    def __str__(self) -> str:
        return f"{self.name}: {WHAT[self.kind]}"


class Check:
    """Checks one catalogue, as its generation in use has it."""

    def __init__(self, database: Database, files: PictureStore, index: Index, encodings: Encodings) -> None:
        self._database, self._files, self._index, self._encodings = database, files, index, encodings

    def run(self, sample: int, report: Report) -> list[Finding]:
        """Looks at everything, and encodes a sample anew; `report` hears how many pictures of how many are done."""
        total, done, known, found = self._count(), 0, set[str](), list[Finding]()
        every = max(total // sample, 1) if sample else total + 1
        for rows in self._pages():
            known.update(picture.sha256 for picture, _ in rows)
            found += [*self._originals(rows), *self._vectors_of(rows)]
            chosen = [row for at, row in enumerate(rows, done) if at % every == every - 1]
            found += self._codes(chosen)
            done += len(rows)
            report(done, total)
        return [finding for finding in [*found, *self._unused(known)] if self._still(finding)]

    def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        """Encodes anew and deletes what nobody uses; returns what could not be mended.

        Originals that are damaged make room for good ones, which come when their pictures are added again.
        """
        lost = {finding.picture_id for finding in findings if finding.kind == "original"}
        again = {finding.picture_id for finding in findings if finding.kind in ("encoding", "vector", "code")} - lost
        ids = sorted(picture_id for picture_id in again if picture_id is not None)
        for first in range(0, len(ids), _AT_A_TIME):
            self._encode_anew(ids[first : first + _AT_A_TIME])
        unused = [finding.name for finding in findings if finding.kind == "file"]
        remove_unused(self._database, self._files, unused)
        for picture_id in lost:
            self._set_aside(picture_id)
        return [finding for finding in findings if finding.picture_id in lost]

    def _pages(self) -> Iterator[list[Row]]:
        last = 0
        while rows := self._page(last):
            yield rows
            last = rows[-1][0].id

    def _page(self, after: int) -> list[Row]:
        with self._database.asking() as session:
            encoded = (Encoding.image_id == Picture.id) & (Encoding.index_version_id == self._encodings.generation_id)
            page = select(Picture, Encoding).outerjoin(Encoding, encoded).where(Picture.id > after)
            return [(one, made) for one, made in session.execute(page.order_by(Picture.id).limit(_AT_A_TIME))]

    def _encoding(self, session: Session, picture: Picture) -> Encoding | None:
        return session.get(Encoding, (self._encodings.generation_id, picture.id))

    def _count(self) -> int:
        with self._database.asking() as session:
            return session.scalars(select(func.count(Picture.id))).one()

    def _originals(self, rows: Sequence[Row]) -> Iterator[Finding]:
        with ThreadPoolExecutor(_READERS) as readers:
            sound = readers.map(self._is_sound, [picture.sha256 for picture, _ in rows])
            for (picture, _), right in zip(rows, sound, strict=True):
                if not right:
                    yield Finding("original", picture.key, picture.id)

    def _is_sound(self, sha256: str) -> bool:
        try:
            return content_hash(self._files.read(sha256)) == sha256
        except OSError:
            return False

    def _vectors_of(self, rows: Sequence[Row]) -> Iterator[Finding]:
        encoded = [(picture, encoding) for picture, encoding in rows if encoding is not None]
        yield from (Finding("encoding", picture.key, picture.id) for picture, encoding in rows if encoding is None)
        slots = np.array([encoding.slot for _, encoding in encoded], np.int64)
        sums = np.array([encoding.checksum for _, encoding in encoded], np.uint32)
        for (picture, _), good in zip(encoded, self._index.intact(slots, sums), strict=True):
            if not good:
                yield Finding("vector", picture.key, picture.id)

    def _codes(self, rows: Sequence[Row]) -> Iterator[Finding]:
        for picture, encoding in rows:
            try:
                code = retried(partial(self._encodings.code, self._files.read(picture.sha256)))
            except (OSError, PictureRefusedError):
                continue
            if encoding is not None and code != encoding.code:
                yield Finding("code", picture.key, picture.id)

    def _unused(self, known: set[str]) -> Iterator[Finding]:
        for sha256 in self._files.hashes(older_than=_YOUNG_S):
            if sha256 not in known:
                yield Finding("file", sha256)

    def _still(self, finding: Finding) -> bool:
        """Looks again, with what the catalogue says by now."""
        with self._database.asking() as session:
            if finding.picture_id is None:
                return session.scalar(select(Picture.id).where(Picture.sha256 == finding.name).limit(1)) is None
            picture = session.get(Picture, finding.picture_id)
            row = (picture, self._encoding(session, picture)) if picture else None
        if row is None:
            return False
        again = {"original": self._originals, "code": self._codes}.get(finding.kind, self._vectors_of)
        return finding.kind in {one.kind for one in again([row])}

    def _set_aside(self, picture_id: int | None) -> None:
        with self._database.asking() as session:
            picture = session.get(Picture, picture_id)
        if picture is not None and not self._is_sound(picture.sha256):
            with suppress(FileNotFoundError):
                self._files.set_aside(picture.sha256)

    def _encode_anew(self, ids: Sequence[int]) -> None:
        with self._database.asking() as session:
            pictures = session.scalars(select(Picture).where(Picture.id.in_(ids))).all()
        again = retried(lambda: self._encodings.of_originals(self._files, pictures))
        with self._database.begin() as session:
            changes.put_encodings(session, self._encodings.generation_id, again)
