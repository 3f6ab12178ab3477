"""Renew thumbnails of earlier versions, in the background of a service.

`catalogue.old_thumbnails_to` is the progress: images with larger ids have thumbnails of the current size. It is
recorded after each batch, so a kill repeats at most one, and no thumbnail is opened to learn its size.
"""

import logging
import threading
import time
from contextlib import suppress

from app.bootstrap import Service
from app.catalogue import queries
from app.catalogue.changes import set_old_thumbnails_to
from app.catalogue.database.locks import Lock, lock_if_free
from app.errors import ImageRejectedError, UnavailableError

log = logging.getLogger(__name__)

_BATCH = 16
# Seconds after which a process tries again: the storage was unavailable, or another process is at work.
_RETRY_S = 60.0


class ThumbnailRenewal:
    """Context manager with a thread that renews old thumbnails until there are none.

    It decodes one image at a time and rests as long as that took, so that it uses half a core at most.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._ending = service, threading.Event()
        self._thread = threading.Thread(target=self._run, name="thumbnails", daemon=True)

    def __enter__(self) -> "ThumbnailRenewal":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                if renew_thumbnails(self._service, self._ending):
                    return
            except UnavailableError as error:
                log.info("renewing thumbnails is postponed: %s", error)
            except (
                Exception
            ):  # any error: if this thread ended, old thumbnails would stay; it logs, and retries in a minute
                log.exception("renewing thumbnails failed")
            self._ending.wait(_RETRY_S)


def renew_thumbnails(service: Service, ending: threading.Event) -> bool:
    """Renew old thumbnails, those of the newest images first, until `ending` is set; return whether none are left.

    Raises:
        UnavailableError: the database or the storage is unavailable.
    """
    with service.database.read_session() as session:
        if not queries.old_thumbnails_to(session):
            return True
    with lock_if_free(service.database, Lock.THUMBNAILS) as free:
        while free and not ending.is_set():
            with service.database.read_session() as session:
                images = queries.images_with_old_thumbnails(session, _BATCH)
            for _, sha256 in images:
                begin = time.monotonic()
                try:
                    renew_thumbnail(service, sha256)
                except (FileNotFoundError, ImageRejectedError) as error:
                    log.warning("the thumbnail of the original %s cannot be renewed: %s", sha256, error)
                if ending.wait(time.monotonic() - begin):
                    return False
            with service.database.transaction() as session:
                set_old_thumbnails_to(session, images[-1][0] - 1 if images else 0)
            if not images:
                log.info("all thumbnails have the current size")
                return True
    return False


def read_thumbnail(service: Service, sha256: str) -> bytes:
    """Read an original's thumbnail; create it if it is missing, or empty after a power cut.

    Raises:
        FileNotFoundError: the original is missing too.
        ImageRejectedError: the original is damaged.
        UnavailableError: the storage is unavailable.
    """
    with suppress(FileNotFoundError):
        if data := service.storage.read_thumbnail(sha256):
            return data
    return renew_thumbnail(service, sha256)


def renew_thumbnail(service: Service, sha256: str) -> bytes:
    """Create and store an original's thumbnail; return it.

    Raises:
        FileNotFoundError: the original is missing.
        ImageRejectedError: the original is damaged.
        UnavailableError: the storage is unavailable.
    """
    thumbnail = service.prepare(service.storage.read(sha256), thumbnail=True).thumbnail
    with service.orphan_cleanup.track([sha256]):
        service.storage.store_thumbnails({sha256: thumbnail})
        # The image may have been deleted since it was looked up; then this thumbnail is deleted too.
        service.orphan_cleanup.delete_unused(sha256)
    return thumbnail
