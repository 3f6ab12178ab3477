"""The active index version with its components, and proxies that always use the active one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app.catalogue.database.tables import Image, IndexVersion
from app.catalogue.duplicates.merge import Merged
from app.catalogue.duplicates.stored_pictures import StoredPictures
from app.catalogue.index_sync import IndexSync
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.queries import ImageSummary
from app.catalogue.selection import Selection
from app.catalogue.trash import TrashSelection
from app.errors import NotFoundError, SelectionChangedError
from app.ingest.embedding_writer import EmbeddingWriter
from app.ingest.jobs.stop import Stop
from app.ingest.pipeline import IngestPipeline
from app.ingest.trash import Deleted, Restored, Trash
from app.ingest.uploads import AddResult, OnDuplicate, Upload
from app.model_switch.switch import ModelSwitch
from app.search.decode.image import Crop
from app.search.decode.prepare import ImagePreparer, PreparedImage
from app.search.duplicates import DuplicateFinder, DuplicateKind, duplicate_distance
from app.search.encode.batching import Encoder
from app.search.examples import Example
from app.search.index import Index
from app.search.pipeline import Searcher, SearchResult
from app.search.types import SearchOptions
from models.checkpoint.info import CheckpointInfo


@dataclass(frozen=True)
class OpenIndexVersion:
    """An index version that can serve requests: its network and index, and the components bound to them.

    `network` describes the network as the version uses it: with the version's codes, pool and curve.
    """

    index_version: IndexVersion
    network: CheckpointInfo
    encoder: Encoder
    preparer: ImagePreparer
    interrupt: Callable[[], None]
    index: Index
    index_sync: IndexSync
    pictures: StoredPictures
    searcher: Searcher[ImageSummary]
    embedding_writer: EmbeddingWriter
    ingest: IngestPipeline
    trash: Trash

    @property
    def index_version_id(self) -> int:
        """Id of the index version."""
        return self.index_version.id

    def activate(self) -> None:
        """Called when this index version becomes the active one."""
        self.index_sync.activate()

    def duplicate_finder(self, kind: DuplicateKind, max_distance: float | None) -> DuplicateFinder:
        """Return a finder of duplicates in the catalogue as it is now.

        Args:
            kind: which duplicates to find.
            max_distance: maximum F7 distance; None for the calibrated one.

        Raises:
            InvalidInputError: neither is available.
        """
        limit, similarity = duplicate_distance(self.network.similarity, kind, max_distance), self.network.similarity
        return DuplicateFinder(
            self.index_sync.synced_index(),
            self.network.pool,
            self.pictures.same_as,
            self.pictures.distinct_from,
            kind,
            copies=limit if kind is DuplicateKind.EXACT or similarity is None else similarity.copies,
            near=limit,
        )


class ActiveSearcher:
    """Run searches on the active index version."""

    def __init__(self, model_switch: ModelSwitch[OpenIndexVersion]) -> None:
        self._model_switch = model_switch

    def by_image(self, data: bytes, options: SearchOptions) -> SearchResult[ImageSummary]:
        """Search with an uploaded image; see `Searcher.by_image`."""
        return self._model_switch.run(lambda active: _with_fingerprint(active, active.searcher.by_image(data, options)))

    def by_id(self, image_id: int, options: SearchOptions) -> SearchResult[ImageSummary]:
        """Search with an image of the catalogue; see `Searcher.by_id`."""
        return self._model_switch.run(
            lambda active: _with_fingerprint(active, active.searcher.by_id(image_id, options))
        )

    def by_examples(self, examples: Sequence[Example], options: SearchOptions) -> SearchResult[ImageSummary]:
        """Search with several examples together; see `Searcher.by_examples`."""
        return self._model_switch.run(
            lambda active: _with_fingerprint(active, active.searcher.by_examples(examples, options))
        )


class ActiveIngest:
    """Add, change and delete images through the active index version."""

    def __init__(self, model_switch: ModelSwitch[OpenIndexVersion]) -> None:
        self._model_switch = model_switch

    def add(
        self, uploads: Sequence[Upload], stop: Stop | None = None, on_duplicate: OnDuplicate = OnDuplicate.ADD
    ) -> list[AddResult]:
        """Add or replace images; see `IngestPipeline.add`."""
        return self._model_switch.run(lambda active: active.ingest.add(uploads, stop, on_duplicate))

    def update_metadata(self, image_id: int, given: MetadataPatch) -> Image:
        """Change an image's label and metadata; see `Ingest.describe`."""
        return self._model_switch.run(lambda active: active.ingest.update_metadata(image_id, given))

    def delete(self, image_id: int) -> None:
        """Delete an image; see `Trash.delete`.

        Raises:
            NotFoundError: there is no such image.
        """
        try:
            self._model_switch.run(lambda active: active.trash.delete(Selection(ids=(image_id,)), 1))
        except SelectionChangedError as error:
            raise NotFoundError("image", image_id) from error

    def update_many(self, selection: Selection, expected: int, given: MetadataPatch) -> int:
        """Change the label and metadata of images; see `IngestPipeline.update_many`."""
        return self._model_switch.run(lambda active: active.ingest.update_many(selection, expected, given))


class ActiveTrash:
    """Delete many images, restore and purge them, through the active index version."""

    def __init__(self, model_switch: ModelSwitch[OpenIndexVersion]) -> None:
        self._model_switch = model_switch

    def delete(self, selection: Selection, expected: int) -> Deleted:
        """Delete images; see `Trash.delete`."""
        return self._model_switch.run(lambda active: active.trash.delete(selection, expected))

    def merge(self, keep: int, others: Sequence[int]) -> Merged:
        """Merge duplicates; see `Trash.merge`."""
        return self._model_switch.run(lambda active: active.trash.merge(keep, others))

    def restore(self, which: TrashSelection, *, skip_used_keys: bool = False) -> Restored:
        """Restore images; see `Trash.restore`."""
        return self._model_switch.run(lambda active: active.trash.restore(which, skip_used_keys=skip_used_keys))

    def empty(self) -> int:
        """Empty the trash; see `Trash.empty`."""
        return self._model_switch.run(lambda active: active.trash.empty())

    def purge_batch(self) -> bool:
        """Purge some expired images; see `Trash.purge_batch`."""
        return self._model_switch.run(lambda active: active.trash.purge_batch())


class ActivePreparer:
    """Decode and resize images for the active network."""

    def __init__(self, model_switch: ModelSwitch[OpenIndexVersion]) -> None:
        self._model_switch = model_switch

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> PreparedImage:
        """Decode an image, or a crop of it."""
        return self._model_switch.run(lambda active: active.preparer(data, thumbnail=thumbnail, crop=crop))


def _with_fingerprint(active: OpenIndexVersion, answer: SearchResult[ImageSummary]) -> SearchResult[ImageSummary]:
    return replace(answer, model=active.network.fingerprint)
