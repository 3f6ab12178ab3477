"""`lookalike duplicates`, `distinct` and `merge`, in this process and through a service."""

from collections.abc import Iterator

import pytest
from lookalike_client import Lookalike, NewImage

from app.settings import Settings
from tests.api.server import serve
from tests.cli.commands import keys_of, run
from tests.cli.output import output_of
from tests.images import encoded, gradient

pytestmark = pytest.mark.usefixtures("fake_network")


@pytest.fixture
def client(settings: Settings) -> Iterator[Lookalike]:
    """A running service with three images; the first two show the same picture, and each has other metadata."""
    with serve(settings.model_copy(update={"trash_days": 1})) as server, Lookalike(server.url) as client:
        client.add(
            [
                NewImage(encoded(gradient(20, 20), "PNG"), "sku-0"),
                NewImage(encoded(gradient(20, 20), "BMP"), "sku-1", "boots", {"price": 5}),
                NewImage(encoded(gradient(40, 20), "PNG"), "sku-2", None, {"price": 6, "colour": "red"}),
            ]
        )
        yield client


def test_duplicates_are_listed_until_they_are_marked_as_distinct(settings: Settings, where: list[str]) -> None:
    command = ["duplicates", "--max-distance", "0", *where]
    assert run(settings, *command).stdout.splitlines() == ["sku-0: sku-1 (0.000)", "1 group of duplicates"]
    assert run(settings, "distinct", "sku-0", "sku-1", *where).exit_code == 0
    assert run(settings, *command).stdout.splitlines() == ["no groups of duplicates"]


def test_pairs_are_remembered_and_forgotten(settings: Settings, where: list[str]) -> None:
    result = run(settings, "distinct", "sku-0", "sku-1", "sku-2", "sku-0", *where)
    assert (result.exit_code, result.stdout.strip()) == (0, "3 pairs remembered.")
    assert run(settings, "distinct", "--undo", "sku-0", "sku-2", *where).stdout.strip() == "1 pair forgotten."
    assert run(settings, "distinct", "sku-0", "sku-1", "sku-2", *where).stdout.strip() == "1 pair remembered."


def test_duplicates_are_merged_and_restored(settings: Settings, client: Lookalike, where: list[str]) -> None:
    result = run(settings, "merge", "sku-0", "sku-2", "sku-1", *where)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "2 images merged into sku-0; added: label, price, colour."
    (image,) = client.list()
    assert (image.key, image.label, image.metadata) == ("sku-0", "boots", {"price": 6, "colour": "red"})
    (deletion,) = {one.deletion_id for one in client.trash()}
    assert f"lookalike trash restore --deletion {deletion}" in result.stderr
    assert run(settings, "trash", "restore", "--deletion", str(deletion), *where).exit_code == 0
    assert keys_of(client) == ["sku-0", "sku-1", "sku-2"]


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
    settings: Settings, client: Lookalike, where: list[str], words: tuple[str, ...], reason: str
) -> None:
    result = run(settings, *words, *where)
    assert result.exit_code == 1
    assert reason in output_of(result)
    assert len(keys_of(client)) == 3
