"""Open the catalogue that a command works on: that of the data folder, or that of a running service."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.cli.images.catalogues import Catalogue
from app.cli.images.local_catalogue import LocalCatalogue
from app.cli.images.remote_catalogue import RemoteCatalogue
from app.settings import Settings


@contextmanager
def open_catalogue(settings: Settings, url: str | None, key: str | None) -> Iterator[Catalogue]:
    """Open the catalogue of the data folder, or that of a service if there is an address."""
    from app.cli.images.connection import connect, require_url

    url, key = url or settings.url, key or settings.api_key
    require_url(url)
    if url is not None:
        with connect(url, key) as client:
            yield RemoteCatalogue(client)
        return
    from app.bootstrap import open_service

    with open_service(settings) as service:
        yield LocalCatalogue(service)
