"""Fill an empty catalogue with the demo images."""

import io
import logging
from collections.abc import Callable
from itertools import islice

from sqlalchemy import text

from app.bootstrap import Service
from app.catalogue import queries
from app.catalogue.database.locks import Lock
from app.demo.catalogue import IMAGES, DemoImage, demo_images
from app.errors import UnavailableError
from app.ingest.uploads import Upload

log = logging.getLogger(__name__)

_BATCH = 32

Report = Callable[[int, int], None]


def fill_at_start(service: Service) -> int:
    """Add the demo images if the catalogue is empty and the settings allow it; returns the number of images."""
    if service.settings.demo == "off":
        return 0
    try:
        return fill_if_empty(service)
    except UnavailableError as error:
        log.warning("adding demo images failed and is tried again at the next start: %s", error)
        return 0


def fill_if_empty(service: Service, report: Report = lambda *_: None) -> int:
    """Add the demo images if the catalogue is empty; returns the number of images.

    Args:
        service: the service.
        report: called with (done, total).

    Raises:
        UnavailableError: disk, index or database cannot be used.
    """
    # Other workers wait for this lock while one of them draws.
    with service.database.transaction(no_timeout=True) as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": Lock.DEMO.value})
        if not queries.is_empty(session):
            return 0
        log.info("the catalogue is empty: adding demo images (set LOOKALIKE_DEMO=off to leave it empty)")
        return _fill(service, report)


def _fill(service: Service, report: Report) -> int:
    """Add the demo images; returns their number."""
    images, added = demo_images(), 0
    report(added, IMAGES)
    while batch := list(islice(images, _BATCH)):
        service.ingest.add([_upload(image) for image in batch])
        added += len(batch)
        report(added, IMAGES)
    return added


def _upload(demo: DemoImage) -> Upload:
    data = io.BytesIO()
    demo.image.save(data, "PNG")
    return Upload(data.getvalue(), demo.key, {"label": demo.label, "metadata": dict(demo.metadata)})
