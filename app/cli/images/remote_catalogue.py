"""The catalogue of a running service."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.catalogue.metadata_patch import MetadataPatch
from app.cli.images.catalogues import DuplicateKeys, Merged, Trashed
from app.cli.images.selection import Conditions, filter_object

if TYPE_CHECKING:
    from lookalike_client import Lookalike

# Images that a page compares.
_COMPARED = 200


@dataclass(frozen=True)
class RemoteCatalogue:
    """The catalogue of a running service."""

    client: "Lookalike"

    def total(self) -> int:
        """Return the number of images."""
        return self.client.stats().images

    def with_keys(self, keys: Iterable[str]) -> dict[str, int]:
        """Return ids by key; unknown keys are left out."""
        return {image.key: image.id for image in self.client.find(keys)}

    def matching(self, conditions: Conditions) -> list[int]:
        """Return the ids of the images that meet all conditions."""
        wanted = None if conditions.filter is None else filter_object(conditions.filter)
        return [image.id for image in self.client.list(label=conditions.label, filter=wanted, text=conditions.text)]

    def update(self, ids: Sequence[int], changes: MetadataPatch) -> int:
        """Set the label and metadata of images; return how many were not so already."""
        from lookalike_client import UNCHANGED

        label, metadata = changes.get("label", UNCHANGED), changes.get("metadata")
        return self.client.update_images(len(ids), ids=ids, set_label=label, metadata=metadata)

    def delete(self, ids: Sequence[int]) -> int | None:
        """Delete images; return the id by which the deletion can be undone, if it can."""
        return self.client.delete_images(len(ids), ids=ids).deletion_id

    def trash(self, deletion_id: int | None) -> Iterator[Trashed]:
        """Yield the deleted images, or those of one deletion, the last deleted first."""
        for image in self.client.trash(deletion_id=deletion_id):
            until = f"{image.expires_at:%Y-%m-%d %H:%M}"
            yield Trashed(image.id, image.key, image.label, image.deletion_id, until)

    def restore(self, ids: Sequence[int] | None, deletion_id: int | None, *, skip_used_keys: bool) -> tuple[int, int]:
        """Restore images; return the numbers of those restored and of those skipped."""
        restored = self.client.restore_images(ids=ids, deletion_id=deletion_id, skip_used_keys=skip_used_keys)
        return restored.restored, restored.skipped

    def empty_trash(self) -> int:
        """Delete all images in the trash for good; return their number."""
        return self.client.empty_trash()

    def duplicates(self, near: bool, max_distance: float | None) -> Iterator[tuple[int, list[DuplicateKeys]]]:
        """Compare the catalogue page by page; yield about the size of a page, and its groups of duplicates."""
        after, cursor, total = 0, None, self.client.stats().images
        while True:
            page = self.client.duplicate_page(
                kind="near" if near else "exact", cursor=cursor, max_distance=max_distance
            )
            groups = [
                DuplicateKeys(group.image.key, [(one.key, one.distance) for one in group.duplicates], group.complete)
                for group in page.groups
            ]
            before, after = after, total if page.next_cursor is None else min(after + _COMPARED, total)
            yield after - before, groups
            if (cursor := page.next_cursor) is None:
                return

    def mark_distinct(self, ids: Sequence[int], *, undo: bool) -> int:
        """Remember that no two of some images are duplicates, or forget it; return the number of pairs."""
        return self.client.unmark_distinct(ids) if undo else self.client.mark_distinct(ids)

    def merge(self, keep: int, others: Sequence[int]) -> Merged:
        """Keep one image, give it the label and metadata that only the others have, and delete the others."""
        merged = self.client.merge_duplicates(keep, others)
        return Merged(merged.added.label, merged.added.metadata, merged.deletion_id)
