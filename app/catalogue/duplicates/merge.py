"""Merge duplicates: keep one image, with the fields that only the others have."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.catalogue import changes, queries, trash
from app.catalogue.database.tables import Image
from app.catalogue.duplicates.distinct_pairs import inherit_pairs
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.selection import Selection
from app.catalogue.sequence import lock_catalogue
from app.errors import SelectionChangedError


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes:
        image: the image that was kept.
        added: label and metadata that it took over from the others.
        deletion_id: by which the others can be restored; None if they are deleted for good.
    """

    image: Image
    added: MetadataPatch
    deletion_id: int | None


def merge_images(session: Session, keep: int, others: Sequence[int]) -> Merged:
    """Add to an image the label and fields that it lacks, from the first of the others that has each; delete those.

    Raises:
        SelectionChangedError: an image does not exist.
    """
    lock_catalogue(session)
    wanted = [keep, *others]
    images = {image.id: image for image in queries.images_by_id(session, wanted)}
    if missing := [str(image_id) for image_id in wanted if image_id not in images]:
        raise SelectionChangedError(len(wanted), len(images), missing)
    added = missing_fields(images[keep], [images[image_id] for image_id in others])
    image = changes.patch_metadata(session, keep, added) if added else images[keep]
    inherit_pairs(session, keep, others)
    deletion_id, _ = trash.delete_images(session, Selection(ids=others), len(others))
    return Merged(image, added, deletion_id)


def missing_fields(image: Image, others: Sequence[Image]) -> MetadataPatch:
    """Return the label and metadata fields that an image lacks, from the first of the others that has each."""
    added: MetadataPatch = {}
    if image.label is None and (label := next((one.label for one in others if one.label is not None), None)):
        added["label"] = label
    fields = {name: value for one in reversed(others) for name, value in one.metadata_.items()}
    if metadata := {name: value for name, value in fields.items() if name not in image.metadata_}:
        added["metadata"] = metadata
    return added
