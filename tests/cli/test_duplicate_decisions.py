"""`lookalike distinct` and `lookalike merge`."""

import pytest

from app.bootstrap import Service
from app.catalogue.metadata_patch import MetadataPatch
from app.ingest.uploads import Upload
from app.settings import Settings
from tests.cli.commands import run
from tests.cli.output import output_of
from tests.images import encoded, gradient

pytestmark = pytest.mark.usefixtures("fake_network")


@pytest.fixture(autouse=True)
def images(service: Service) -> None:
    """Three images with other metadata each."""
    files = [encoded(gradient(20 + at, 20), "PNG") for at in range(3)]
    patches: tuple[MetadataPatch, ...] = (
        {},
        {"label": "boots", "metadata": {"price": 5}},
        {"metadata": {"price": 6, "colour": "red"}},
    )
    service.ingest.add([Upload(data, f"sku-{at}", patches[at]) for at, data in enumerate(files)])


def test_pairs_are_remembered_and_forgotten(settings: Settings) -> None:
    result = run(settings, "distinct", "sku-0", "sku-1", "sku-2", "sku-0")
    assert (result.exit_code, result.stdout.strip()) == (0, "3 pairs remembered.")
    assert run(settings, "distinct", "--undo", "sku-0", "sku-2").stdout.strip() == "1 pair forgotten."
    assert run(settings, "distinct", "sku-0", "sku-1", "sku-2").stdout.strip() == "1 pair remembered."


def test_duplicates_are_merged(settings: Settings, service: Service) -> None:
    result = run(settings, "merge", "sku-0", "sku-2", "sku-1")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "2 images merged into sku-0; added: label, price, colour."
    (image,) = service.index_sync.summaries([1, 2, 3]).values()
    assert (image.key, image.label, image.metadata) == ("sku-0", "boots", {"price": 6, "colour": "red"})


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("distinct", "sku-0", "sku-9"), "Not in the catalogue: sku-9."),
        (("distinct", "sku-0", "sku-0"), "Name two or more images."),
        (("merge", "sku-0", "sku-0"), "Name an image to merge besides the one to keep."),
        (("merge", "sku-9", "sku-0"), "Not in the catalogue: sku-9."),
        (("merge", "sku-0", "a\0b"), "Not in the catalogue"),
    ],
)
def test_wrong_keys_are_refused_and_nothing_changes(
    settings: Settings, service: Service, words: tuple[str, ...], reason: str
) -> None:
    result = run(settings, *words)
    assert result.exit_code == 1
    assert reason in output_of(result)
    assert len(service.index_sync.summaries([1, 2, 3])) == 3
