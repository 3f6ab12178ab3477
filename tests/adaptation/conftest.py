"""Fixtures of the tests of adapting."""

import pytest

from app.adaptation import adapt as adapting
from app.bootstrap import Service
from tests.adaptation.catalogue import COUNT, uploads


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "MIN_IMAGES", 60)


@pytest.fixture
def filled(service: Service) -> Service:
    service.ingest.add(uploads(0, COUNT))
    return service
