"""Check the consistency of rows, vectors, codes and files, and repair what can be repaired.

It may run beside the service: every finding is checked again before it is reported.
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

from app.catalogue.code_files.check import CodeFileCheck
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Image
from app.catalogue.encodings import put_encodings
from app.catalogue.file_owners import is_used
from app.catalogue.storage.local import content_hash
from app.catalogue.storage.orphan_cleanup import remove_unused
from app.catalogue.storage.protocol import ImageStorage
from app.errors import ImageRejectedError
from app.ingest.embedding_writer import EmbeddingWriter
from app.search.decode.retries import retry_while_unavailable
from app.search.index import Index

Kind = Literal["original", "encoding", "vector", "code", "file", "code file"]
DESCRIPTIONS = {
    "original": "the original is missing or damaged",
    "encoding": "the code is missing",
    "vector": "the vector is damaged",
    "code": "the code differs from the network's",
    "file": "no image uses this file",
    "code file": "the file of codes is damaged, or differs from the database",
}
_BATCH = 256
# Originals read in parallel: with S3 most of the time is latency.
_READERS = 16
# A file younger than this may belong to an addition in progress.
_YOUNG_S = 3600

Report = Callable[[int, int], None]
Row = tuple[Image, Encoding | None]


@dataclass(frozen=True)
class Finding:
    """An inconsistency of an image, of an original by its hash, or of the code file by its path."""

    kind: Kind
    name: str
    image_id: int | None = None

    def __str__(self) -> str:
        return f"{self.name}: {DESCRIPTIONS[self.kind]}"


class ConsistencyCheck:
    """Checks a catalogue against its active index version; `code_file` is None with Milvus, which needs none."""

    def __init__(
        self,
        database: Database,
        files: ImageStorage,
        index: Index,
        encodings: EmbeddingWriter,
        code_file: CodeFileCheck | None = None,
    ) -> None:
        self._database, self._files, self._index, self._encodings = database, files, index, encodings
        self._code_file = code_file

    def run(self, sample: int, report: Report) -> list[Finding]:
        """Check all images, and encode every nth again, n = total / `sample`; `report` is called with (done, total)."""
        total, done, known, found = self._count(), 0, set[str](), list[Finding]()
        every = max(total // sample, 1) if sample else total + 1
        for rows in self._pages():
            known.update(picture.sha256 for picture, _ in rows)
            found += [*self._originals(rows), *self._vectors_of(rows)]
            chosen = [row for at, row in enumerate(rows, done) if at % every == every - 1]
            found += self._codes(chosen)
            done += len(rows)
            report(done, total)
        persistent = [finding for finding in [*found, *self._unused(known)] if self._persists(finding)]
        return [*persistent, *self._code_file_finding()]

    def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        """Encode images again and delete unused files; return what cannot be repaired.

        Damaged originals are set aside, so that adding their images again stores intact ones.
        """
        lost = {finding.image_id for finding in findings if finding.kind == "original"}
        damaged = {finding.image_id for finding in findings if finding.kind in ("encoding", "vector", "code")} - lost
        ids = sorted(image_id for image_id in damaged if image_id is not None)
        for first in range(0, len(ids), _BATCH):
            self._encode_again(ids[first : first + _BATCH])
        unused = [finding.name for finding in findings if finding.kind == "file"]
        remove_unused(self._database, self._files, unused)
        if self._code_file is not None and any(finding.kind == "code file" for finding in findings):
            self._code_file.delete()
        for image_id in lost:
            self._set_aside(image_id)
        return [finding for finding in findings if finding.image_id in lost]

    def _pages(self) -> Iterator[list[Row]]:
        last = 0
        while rows := self._page(last):
            yield rows
            last = rows[-1][0].id

    def _page(self, after: int) -> list[Row]:
        with self._database.read_session() as session:
            encoded = (Encoding.image_id == Image.id) & (Encoding.index_version_id == self._encodings.index_version_id)
            page = select(Image, Encoding).outerjoin(Encoding, encoded).where(Image.id > after)
            return [(one, made) for one, made in session.execute(page.order_by(Image.id).limit(_BATCH))]

    def _encoding(self, session: Session, picture: Image) -> Encoding | None:
        return session.get(Encoding, (self._encodings.index_version_id, picture.id))

    def _count(self) -> int:
        with self._database.read_session() as session:
            return session.scalars(select(func.count(Image.id))).one()

    def _originals(self, rows: Sequence[Row]) -> Iterator[Finding]:
        with ThreadPoolExecutor(_READERS) as readers:
            results = readers.map(self._is_intact, [picture.sha256 for picture, _ in rows])
            for (picture, _), intact in zip(rows, results, strict=True):
                if not intact:
                    yield Finding("original", picture.key, picture.id)

    def _is_intact(self, sha256: str) -> bool:
        try:
            return content_hash(self._files.read(sha256)) == sha256
        except OSError:
            return False

    def _vectors_of(self, rows: Sequence[Row]) -> Iterator[Finding]:
        encoded = [(picture, encoding) for picture, encoding in rows if encoding is not None]
        yield from (Finding("encoding", picture.key, picture.id) for picture, encoding in rows if encoding is None)
        slots = np.array([encoding.slot for _, encoding in encoded], np.int64)
        sums = np.array([encoding.checksum for _, encoding in encoded], np.uint32)
        for (picture, _), intact in zip(encoded, self._index.verify(slots, sums), strict=True):
            if not intact:
                yield Finding("vector", picture.key, picture.id)

    def _codes(self, rows: Sequence[Row]) -> Iterator[Finding]:
        for picture, encoding in rows:
            try:
                code = retry_while_unavailable(partial(self._encodings.compute_code, self._files.read(picture.sha256)))
            except (OSError, ImageRejectedError):
                continue
            if encoding is not None and code != encoding.code:
                yield Finding("code", picture.key, picture.id)

    def _unused(self, known: set[str]) -> Iterator[Finding]:
        for sha256 in self._files.hashes(older_than=_YOUNG_S):
            if sha256 not in known:
                yield Finding("file", sha256)

    def _code_file_finding(self) -> list[Finding]:
        if self._code_file is None or not self._code_file.is_wrong():
            return []
        return [Finding("code file", str(self._code_file.path))]

    def _persists(self, finding: Finding) -> bool:
        """Check a finding again on the current catalogue."""
        with self._database.read_session() as session:
            if finding.image_id is None:
                return not is_used(session, finding.name)
            picture = session.get(Image, finding.image_id)
            row = (picture, self._encoding(session, picture)) if picture else None
        if row is None:
            return False
        check = {"original": self._originals, "code": self._codes}.get(finding.kind, self._vectors_of)
        return finding.kind in {one.kind for one in check([row])}

    def _set_aside(self, image_id: int | None) -> None:
        with self._database.read_session() as session:
            picture = session.get(Image, image_id)
        if picture is not None and not self._is_intact(picture.sha256):
            with suppress(FileNotFoundError):
                self._files.set_aside(picture.sha256)

    def _encode_again(self, ids: Sequence[int]) -> None:
        with self._database.read_session() as session:
            pictures = session.scalars(select(Image).where(Image.id.in_(ids))).all()
        encoded = retry_while_unavailable(lambda: self._encodings.encode_originals(self._files, pictures))
        with self._database.transaction() as session:
            put_encodings(session, self._encodings.index_version_id, encoded)
