"""The catalogue of a data folder, opened by this process."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.catalogue.metadata_patch import MetadataPatch
from app.cli.images.catalogues import DuplicateKeys, Merged, Trashed
from app.cli.images.selection import Conditions, batches

if TYPE_CHECKING:
    from app.bootstrap import Service
    from app.search.duplicates import DuplicateFinder

# Ids or keys looked up at a time; images compared at a time.
_BATCH, _COMPARED = 1000, 200


@dataclass(frozen=True)
class LocalCatalogue:
    """A catalogue that this process opened."""

    service: "Service"

    def total(self) -> int:
        """Return the number of images."""
        from app.catalogue import queries

        with self.service.database.read_session() as session:
            return queries.totals(session).images

    def with_keys(self, keys: Iterable[str]) -> dict[str, int]:
        """Return ids by key; unknown keys are left out."""
        from app.catalogue import queries

        found: dict[str, int] = {}
        for batch in batches(keys, _BATCH):
            with self.service.database.read_session() as session:
                found |= queries.ids_by_key(session, batch)
        return found

    def matching(self, conditions: Conditions) -> list[int]:
        """Return the ids of the images that meet all conditions."""
        from app.catalogue import queries
        from app.catalogue.filters.sql import filter_condition
        from app.search.filter import parse_filter
        from app.search.words import parse_text

        wanted = None if conditions.filter is None else parse_filter(conditions.filter)
        words = None if conditions.text is None else parse_text(conditions.text)
        passing = filter_condition(conditions.label, wanted, words)
        ids: list[int] = []
        while True:
            with self.service.database.scan_session() as session:
                more = queries.ids_after(session, ids[-1] if ids else 0, _BATCH, passing)
            ids += more
            if len(more) < _BATCH:
                return ids

    def update(self, ids: Sequence[int], changes: MetadataPatch) -> int:
        """Set the label and metadata of images; return how many were not so already."""
        from app.catalogue.selection import Selection

        return self.service.ingest.update_many(Selection(ids=ids), len(ids), changes)

    def delete(self, ids: Sequence[int]) -> int | None:
        """Delete images; return the id by which the deletion can be undone, if it can."""
        from app.catalogue.selection import Selection

        return self.service.trash.delete(Selection(ids=ids), len(ids)).deletion_id

    def trash(self, deletion_id: int | None) -> Iterator[Trashed]:
        """Yield the deleted images, or those of one deletion, the last deleted first."""
        from app.catalogue import trash

        days, after, rows = self.service.settings.trash_days, None, [(0, 0, 0)]
        which = trash.TrashSelection(days, deletion_id=deletion_id)
        while rows:
            with self.service.database.read_session() as session:
                rows = trash.sizes_after(session, which, after, _BATCH)
                found = trash.trashed_images(session, [image_id for _, image_id, _ in rows])
            for image in found:
                until = f"{trash.expires_at(image, days):%Y-%m-%d %H:%M}"
                yield Trashed(image.image_id, image.key, image.label, image.deletion_id, until)
            after = rows[-1][:2] if rows else None

    def restore(self, ids: Sequence[int] | None, deletion_id: int | None, *, skip_used_keys: bool) -> tuple[int, int]:
        """Restore images; return the numbers of those restored and of those skipped."""
        from app.catalogue.trash import TrashSelection

        which = TrashSelection(self.service.settings.trash_days, ids, deletion_id)
        restored = self.service.trash.restore(which, skip_used_keys=skip_used_keys)
        return restored.images, restored.skipped

    def empty_trash(self) -> int:
        """Delete all images in the trash for good; return their number."""
        return self.service.trash.empty()

    def duplicates(self, near: bool, max_distance: float | None) -> Iterator[tuple[int, list[DuplicateKeys]]]:
        """Compare the catalogue batch by batch; yield the number of images of a batch, and its groups of duplicates."""
        from app.catalogue import queries
        from app.search.duplicates import DuplicateKind

        kind, after = DuplicateKind.NEAR if near else DuplicateKind.EXACT, 0
        self.service.index_sync.synced_index()
        while True:
            # A new one for each batch: vectors of images that are deleted meanwhile are freed minutes later.
            finder = self.service.model_switch.active.duplicate_finder(kind, max_distance)
            with self.service.database.read_session() as session:
                ids = queries.ids_after(session, after, _COMPARED)
            if not ids:
                return
            yield len(ids), list(self._groups(finder, ids))
            after = ids[-1]

    def mark_distinct(self, ids: Sequence[int], *, undo: bool) -> int:
        """Remember that no two of some images are duplicates, or forget it; return the number of pairs."""
        from app.catalogue.duplicates import distinct_pairs

        with self.service.database.transaction() as session:
            return (distinct_pairs.unmark_distinct if undo else distinct_pairs.mark_distinct)(session, list(ids))

    def merge(self, keep: int, others: Sequence[int]) -> Merged:
        """Keep one image, give it the label and metadata that only the others have, and delete the others."""
        merged = self.service.trash.merge(keep, list(others))
        return Merged(merged.added.get("label"), merged.added.get("metadata", {}), merged.deletion_id)

    def _groups(self, finder: "DuplicateFinder", ids: list[int]) -> Iterator[DuplicateKeys]:
        for group in finder.groups(ids):
            rows = self.service.index_sync.summaries([group.oldest, *(match.id for match in group.duplicates)])
            others = [(rows[one.id].key, one.distance) for one in group.duplicates if one.id in rows]
            if group.oldest in rows and others:
                yield DuplicateKeys(rows[group.oldest].key, others, group.complete)
