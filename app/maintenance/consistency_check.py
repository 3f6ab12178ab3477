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

from app.catalogue.code_files.check import CodeFileCheck
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Image, TrashedEncoding, TrashedImage
from app.catalogue.encodings import delete_encodings_of_features, encodings_of_features, put_encodings
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


@dataclass(frozen=True)
class Row:
    """An image of the catalogue or of its trash, with its encoding.

    In the trash, `encoding` may be of another index version of the same feature set, whose F7 a restore uses.
    """

    id: int
    key: str
    sha256: str
    encoding: Encoding | TrashedEncoding | None
    in_trash: bool = False


@dataclass(frozen=True)
class Finding:
    """An inconsistency of an image, of an original by its hash, or of the code file by its path."""

    kind: Kind
    name: str
    image_id: int | None = None
    in_trash: bool = False

    def __str__(self) -> str:
        return f"{self.name}{' (in the trash)' if self.in_trash else ''}: {DESCRIPTIONS[self.kind]}"


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
        """Check all images, also in the trash, and encode every nth again, n = total / `sample`.

        `report` is called with (done, total).
        """
        total, done, known, found = self._count(), 0, set[str](), list[Finding]()
        every = max(total // sample, 1) if sample else total + 1
        for rows in self._pages():
            known.update(row.sha256 for row in rows)
            found += [*self._originals(rows), *self._vectors_of(rows)]
            chosen = [row for at, row in enumerate(rows, done) if at % every == every - 1]
            found += self._codes(chosen)
            done += len(rows)
            report(done, total)
        persistent = [finding for finding in [*found, *self._unused(known)] if self._persists(finding)]
        return [*persistent, *self._code_file_finding()]

    def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        """Encode images again and delete unused files; return what cannot be repaired.

        Damaged originals are set aside, so that adding their images again stores intact ones. Images in the trash are
        encoded when they are restored.
        """
        lost = [finding for finding in findings if finding.kind == "original"]
        originals = {(finding.image_id, finding.in_trash) for finding in lost}
        damaged = {
            (finding.image_id, finding.in_trash)
            for finding in findings
            if finding.kind in ("encoding", "vector", "code")
        } - originals
        for encode_again, in_trash in ((self._encode_again, False), (self._encode_when_restored, True)):
            ids = sorted(image_id for image_id, trashed in damaged if image_id is not None and trashed is in_trash)
            for first in range(0, len(ids), _BATCH):
                encode_again(ids[first : first + _BATCH])
        unused = [finding.name for finding in findings if finding.kind == "file"]
        remove_unused(self._database, self._files, unused)
        if self._code_file is not None and any(finding.kind == "code file" for finding in findings):
            self._code_file.delete()
        for finding in lost:
            self._set_aside(finding)
        return [finding for finding in findings if (finding.image_id, finding.in_trash) in originals]

    def _pages(self) -> Iterator[list[Row]]:
        for page in (self._page, self._trash_page):
            last = 0
            while rows := page(last):
                yield rows
                last = rows[-1].id

    def _page(self, after: int, limit: int = _BATCH) -> list[Row]:
        with self._database.read_session() as session:
            encoded = (Encoding.image_id == Image.id) & (Encoding.index_version_id == self._encodings.index_version_id)
            page = select(Image, Encoding).outerjoin(Encoding, encoded).where(Image.id > after)
            rows = session.execute(page.order_by(Image.id).limit(limit))
            return [Row(image.id, image.key, image.sha256, encoding) for image, encoding in rows]

    def _trash_page(self, after: int, limit: int = _BATCH) -> list[Row]:
        with self._database.read_session() as session:
            page = select(TrashedImage).where(TrashedImage.image_id > after).order_by(TrashedImage.image_id)
            images = session.scalars(page.limit(limit)).all()
            ids = [image.image_id for image in images]
            encodings = encodings_of_features(session, self._encodings.index_version_id, ids)
        return [
            Row(image.image_id, image.key, image.sha256, encodings.get(image.image_id), in_trash=True)
            for image in images
        ]

    def _count(self) -> int:
        with self._database.read_session() as session:
            counts = (select(func.count(column)) for column in (Image.id, TrashedImage.image_id))
            return sum(session.scalars(count).one() for count in counts)

    def _originals(self, rows: Sequence[Row]) -> Iterator[Finding]:
        with ThreadPoolExecutor(_READERS) as readers:
            results = readers.map(self._is_intact, [row.sha256 for row in rows])
            for row, intact in zip(rows, results, strict=True):
                if not intact:
                    yield _finding("original", row)

    def _is_intact(self, sha256: str) -> bool:
        try:
            return content_hash(self._files.read(sha256)) == sha256
        except OSError:
            return False

    def _vectors_of(self, rows: Sequence[Row]) -> Iterator[Finding]:
        encoded = [(row, row.encoding) for row in rows if row.encoding is not None]
        # A restore encodes images that were deleted before the catalogue switched to another model.
        yield from (_finding("encoding", row) for row in rows if row.encoding is None and not row.in_trash)
        slots = np.array([encoding.slot for _, encoding in encoded], np.int64)
        sums = np.array([encoding.checksum for _, encoding in encoded], np.uint32)
        for (row, _), intact in zip(encoded, self._index.verify(slots, sums), strict=True):
            if not intact:
                yield _finding("vector", row)

    def _codes(self, rows: Sequence[Row]) -> Iterator[Finding]:
        for row in rows:
            if row.encoding is None or row.encoding.index_version_id != self._encodings.index_version_id:
                continue
            try:
                code = retry_while_unavailable(partial(self._encodings.compute_code, self._files.read(row.sha256)))
            except (OSError, ImageRejectedError):
                continue
            if code != row.encoding.code:
                yield _finding("code", row)

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
        if finding.image_id is None:
            with self._database.read_session() as session:
                return not is_used(session, finding.name)
        row = self._row(finding)
        if row is None:
            return False
        check = {"original": self._originals, "code": self._codes}.get(finding.kind, self._vectors_of)
        return finding.kind in {one.kind for one in check([row])}

    def _row(self, finding: Finding) -> Row | None:
        """Read the image of a finding again; None if it was deleted or restored."""
        if finding.image_id is None:
            return None
        page = self._trash_page if finding.in_trash else self._page
        rows = page(finding.image_id - 1, 1)
        return rows[0] if rows and rows[0].id == finding.image_id else None

    def _set_aside(self, finding: Finding) -> None:
        row = self._row(finding)
        if row is not None and not self._is_intact(row.sha256):
            with suppress(FileNotFoundError):
                self._files.set_aside(row.sha256)

    def _encode_again(self, ids: Sequence[int]) -> None:
        with self._database.read_session() as session:
            pictures = session.scalars(select(Image).where(Image.id.in_(ids))).all()
        encoded = retry_while_unavailable(lambda: self._encodings.encode_originals(self._files, pictures))
        with self._database.transaction() as session:
            put_encodings(session, self._encodings.index_version_id, encoded)

    def _encode_when_restored(self, ids: Sequence[int]) -> None:
        """Delete encodings in the trash: a restore makes those that are missing from the originals."""
        with self._database.transaction() as session:
            delete_encodings_of_features(session, self._encodings.index_version_id, ids)


def _finding(kind: Kind, row: Row) -> Finding:
    return Finding(kind, row.key, row.id, row.in_trash)
