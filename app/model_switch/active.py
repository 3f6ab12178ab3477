"""What answers: a generation with all that works with it, and the ways to it that stay when another takes its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app.catalogue.changes import Given
from app.catalogue.database.tables import Picture
from app.catalogue.index_sync import Follower
from app.catalogue.queries import Shown
from app.ingest.embedding_writer import Encodings
from app.ingest.jobs.stop import Stop
from app.ingest.pipeline import Added, Ingest, Upload
from app.model_switch.switch import Handover
from app.search.decode.image import Crop
from app.search.decode.prepare import Prepared, Preparer
from app.search.encode.batching import Encoder
from app.search.index import Index
from app.search.pipeline import Answer, Searcher
from app.search.types import SearchOptions
from models.checkpoint.info import CheckpointInfo


@dataclass(frozen=True)
class OpenGeneration:
    """A generation that can answer: its network and index, and what works with them."""

    generation_id: int
    network: CheckpointInfo
    encoder: Encoder
    prepare: Preparer
    interrupt: Callable[[], None]
    index: Index
    follower: Follower
    searcher: Searcher[Shown]
    encodings: Encodings
    ingest: Ingest

    def take_over(self) -> None:
        """Hears that from now on it is the one that answers."""
        self.follower.take_over()


class Searches:
    """Searches with whichever network the catalogue uses."""

    def __init__(self, handover: Handover[OpenGeneration]) -> None:
        self._handover = handover

    def by_picture(self, data: bytes, options: SearchOptions) -> Answer[Shown]:
        """Finds what looks like an uploaded picture; see `Searcher.by_picture`."""
        return self._handover.do(lambda now: _signed(now, now.searcher.by_picture(data, options)))

    def by_id(self, picture_id: int, options: SearchOptions) -> Answer[Shown]:
        """Finds what looks like a picture of the catalogue; see `Searcher.by_id`."""
        return self._handover.do(lambda now: _signed(now, now.searcher.by_id(picture_id, options)))


class Additions:
    """Adds, describes and deletes with whichever network the catalogue uses."""

    def __init__(self, handover: Handover[OpenGeneration]) -> None:
        self._handover = handover

    def add(self, uploads: Sequence[Upload], stop: Stop | None = None) -> list[Added]:
        """Puts pictures into the catalogue; see `Ingest.add`."""
        return self._handover.do(lambda now: now.ingest.add(uploads, stop))

    def describe(self, picture_id: int, given: Given) -> Picture:
        """Changes what is said of a picture; see `Ingest.describe`."""
        return self._handover.do(lambda now: now.ingest.describe(picture_id, given))

    def delete(self, picture_id: int) -> None:
        """Deletes a picture; see `Ingest.delete`."""
        self._handover.do(lambda now: now.ingest.delete(picture_id))


class Pictures:
    """Prepares pictures as whichever network the catalogue uses reads them."""

    def __init__(self, handover: Handover[OpenGeneration]) -> None:
        self._handover = handover

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        """Decodes a picture, or a crop of it."""
        return self._handover.do(lambda now: now.prepare(data, thumbnail=thumbnail, crop=crop))


def _signed(now: OpenGeneration, answer: Answer[Shown]) -> Answer[Shown]:
    return replace(answer, model=now.network.fingerprint)
