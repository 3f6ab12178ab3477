"""Fills an empty catalogue with the demo pictures, so that the first search shows something."""

import io
import logging
from itertools import islice

from sqlalchemy import text

from app.bootstrap import Service
from app.catalogue import queries
from app.catalogue.database.locks import Lock
from app.demo.catalogue import DemoPicture, demo_pictures
from app.errors import UnavailableError
from app.ingest.pipeline import Upload

log = logging.getLogger(__name__)

_BATCH = 32


def fill_if_empty(service: Service) -> int:
    """Draws the demo into a catalogue without pictures, unless the settings say no; returns how many were added."""
    if service.settings.demo == "off":
        return 0
    # Other workers wait here for as long as one draws.
    with service.database.begin(unlimited=True) as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": Lock.DEMO.value})
        if not queries.is_empty(session):
            return 0
        log.info("the catalogue is empty: drawing a demo into it, once (LOOKALIKE_DEMO=off leaves it empty)")
        try:
            return fill(service)
        except UnavailableError as error:
            log.warning("the demo is left out until the next start: %s", error)
            return 0


def fill(service: Service) -> int:
    """Adds the demo pictures; returns how many."""
    pictures, added = demo_pictures(), 0
    while some := list(islice(pictures, _BATCH)):
        service.ingest.add([_upload(picture) for picture in some])
        added += len(some)
    return added


def _upload(picture: DemoPicture) -> Upload:
    data = io.BytesIO()
    picture.image.save(data, "PNG")
    return Upload(data.getvalue(), picture.key, {"label": picture.label, "metadata": dict(picture.metadata)})
