"""The active index version with its components, and proxies that always use the active one."""

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
    """An index version that can serve requests: its network and index, and the components bound to them."""

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
        """Called when this index version becomes the active one."""
        self.follower.take_over()


class Searches:
    """Run searches on the active index version."""

    def __init__(self, handover: Handover[OpenGeneration]) -> None:
        self._handover = handover

    def by_picture(self, data: bytes, options: SearchOptions) -> Answer[Shown]:
        """Search with an uploaded image; see `Searcher.by_picture`."""
        return self._handover.do(lambda active: _with_fingerprint(active, active.searcher.by_picture(data, options)))

    def by_id(self, picture_id: int, options: SearchOptions) -> Answer[Shown]:
        """Search with an image of the catalogue; see `Searcher.by_id`."""
        return self._handover.do(lambda active: _with_fingerprint(active, active.searcher.by_id(picture_id, options)))


class Additions:
    """Add, change and delete images through the active index version."""

    def __init__(self, handover: Handover[OpenGeneration]) -> None:
        self._handover = handover

    def add(self, uploads: Sequence[Upload], stop: Stop | None = None) -> list[Added]:
        """Add or replace images; see `Ingest.add`."""
        return self._handover.do(lambda active: active.ingest.add(uploads, stop))

    def describe(self, picture_id: int, given: Given) -> Picture:
        """Change an image's label and metadata; see `Ingest.describe`."""
        return self._handover.do(lambda active: active.ingest.describe(picture_id, given))

    def delete(self, picture_id: int) -> None:
        """Delete an image; see `Ingest.delete`."""
        self._handover.do(lambda active: active.ingest.delete(picture_id))


class Pictures:
    """Decode and resize images for the active network."""

    def __init__(self, handover: Handover[OpenGeneration]) -> None:
        self._handover = handover

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        """Decode an image, or a crop of it."""
        return self._handover.do(lambda active: active.prepare(data, thumbnail=thumbnail, crop=crop))


def _with_fingerprint(active: OpenGeneration, answer: Answer[Shown]) -> Answer[Shown]:
    return replace(answer, model=active.network.fingerprint)
