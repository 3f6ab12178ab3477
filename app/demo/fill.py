"""Fill an empty catalogue with the demo images."""

import io
import logging
from itertools import islice

from sqlalchemy import text

from app.bootstrap import Service
from app.catalogue import queries
from app.catalogue.database.locks import Lock
from app.demo.catalogue import DemoImage, demo_images
from app.errors import UnavailableError
from app.ingest.uploads import Upload

log = logging.getLogger(__name__)

_BATCH = 32


def fill_if_empty(service: Service) -> int:
    """Add the demo images if the catalogue is empty and the settings allow it; returns the number of images."""
    if service.settings.demo == "off":
        return 0
    # Other workers wait for this lock while one of them draws.
    with service.database.transaction(no_timeout=True) as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": Lock.DEMO.value})
        if not queries.is_empty(session):
            return 0
        log.info("the catalogue is empty: adding demo images (set LOOKALIKE_DEMO=off to leave it empty)")
        try:
            return fill(service)
        except UnavailableError as error:
            log.warning("adding demo images failed and is tried again at the next start: %s", error)
            return 0


def fill(service: Service) -> int:
    """Add the demo images; returns their number."""
    images, added = demo_images(), 0
    while batch := list(islice(images, _BATCH)):
        service.ingest.add([_upload(image) for image in batch])
        added += len(batch)
    return added


def _upload(demo: DemoImage) -> Upload:
    data = io.BytesIO()
    demo.image.save(data, "PNG")
    return Upload(data.getvalue(), demo.key, {"label": demo.label, "metadata": dict(demo.metadata)})
