"""Fine-tuning on a catalogue: selection of labels, held-out images, and the comparison of two models."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from app.bootstrap import Service
from app.catalogue import index_versions
from app.catalogue.metadata_patch import MetadataPatch
from app.errors import LookalikeError
from app.ingest.uploads import Upload
from app.model_switch.networks import decode_limits
from app.quality.compare import ModelEncodings, Verdict, compare, encode
from app.quality.content import NO_LABEL, read_content
from app.quality.fine_tune import compare_with_current, current_encodings, training_options, training_splits
from app.quality.labelled import (
    MIN_IMAGES_PER_LABEL,
    Labelled,
    drop_rare_labels,
    load_selection,
    read_labelled,
    save_selection,
)
from app.search.decode.prepare import InProcessPreparer
from models.data.folders import TRAIN
from tests.crash.ledger import numbered_image
from tests.fakes import FAKE_NETWORK, FakeEncoder
from tests.vector_files import vector_file


def add(service: Service, label: str | None, numbers: range) -> None:
    service.ingest.add([Upload(numbered_image(at), f"{label}-{at}", MetadataPatch(label=label)) for at in numbers])


def labelled(service: Service) -> Labelled:
    with service.database.read_session() as session:
        return read_labelled(session)


def test_labels_with_too_few_images_are_dropped_and_listed(service: Service) -> None:
    add(service, "boots", range(30))
    add(service, "hats", range(30, 60))
    add(service, "scarves", range(60, 65))
    add(service, None, range(70, 80))
    found, warnings = drop_rare_labels(labelled(service))
    assert found.names == ("boots", "hats")
    assert len(found) == 60
    assert warnings == [f"Labels with fewer than {MIN_IMAGES_PER_LABEL} images are left out: scarves (5)."]


def test_error_for_too_few_labels_lists_the_labels(service: Service) -> None:
    with pytest.raises(LookalikeError, match="The catalogue has no labels"):
        drop_rare_labels(labelled(service))
    add(service, "boots", range(30))
    add(service, "hats", range(30, 35))
    with pytest.raises(LookalikeError, match=r"at least 2 labels .* has boots \(30\), hats \(5\)"):
        drop_rare_labels(labelled(service))


def test_image_with_two_labels_is_left_out(service: Service) -> None:
    add(service, "boots", range(5))
    add(service, "hats", range(3, 9))
    assert [label for _, label in labelled(service).pairs].count("boots") == 3
    assert len(labelled(service)) == 7


def test_held_out_images_do_not_change_when_images_are_added(service: Service) -> None:
    add(service, "boots", range(100))
    before = set(labelled(service).held_out().pairs)
    assert 3 <= len(before) <= 20
    add(service, "hats", range(100, 200))
    found = labelled(service)
    assert before <= set(found.held_out().pairs)
    assert not set(found.held_out().pairs) & set(found.trained_on().pairs)
    files = training_splits(found, service.storage.read)[TRAIN]
    assert not {path.name for path in files.paths} & {sha256 for sha256, _ in found.held_out().pairs}
    assert files.classes == ("boots", "hats")
    assert [files.classes[label] for label in files.labels] == [label for _, label in found.trained_on().pairs]


def test_selection_is_saved_and_loaded_and_damage_is_reported(tmp_path: Path) -> None:
    found = Labelled((("00ff", "boots"), ("aa00", "hats & <caps>")))
    save_selection(found, tmp_path / "new" / "run.data.json")
    assert load_selection(tmp_path / "new" / "run.data.json") == found
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(LookalikeError, match="is damaged"):
        load_selection(tmp_path / "bad.json")


def test_training_starts_from_the_model_in_use_by_default() -> None:
    unlabelled = training_options(FAKE_NETWORK, "fake", {})
    assert unlabelled == {"backbone": "none", "bits": 64, "size": 32}
    trained = replace(FAKE_NETWORK, classes=("a", "b"))
    options = training_options(trained, "fake", {"bits": 128})
    assert options == {"backbone": "none", "bits": 128, "size": 32, "start": "fake"}
    assert training_options(trained, "fake", {"backbone": "alexnet"}) == {"backbone": "alexnet"}
    assert "start" not in training_options(trained, "fake", {"imagenet": False})


def encodings(features: np.typing.NDArray[np.float32], pool: int = 1000) -> ModelEncodings:
    return ModelEncodings(np.zeros((len(features), 8), np.uint8), features, pool)


def test_model_that_separates_labels_is_better_than_random_features() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100)
    is_query = rng.random(300) < 0.2
    random, separating = rng.normal(size=(300, 8)), rng.normal(size=(300, 8)) + 9 * np.eye(8)[labels]
    before, after = encodings(random.astype(np.float32)), encodings(separating.astype(np.float32))
    verdict = compare(before, after, labels, is_query)
    assert verdict.better
    assert verdict.after == 1
    assert verdict.before == pytest.approx(1 / 3, abs=0.1)
    assert verdict.queries == is_query.sum()
    assert "is better by" in str(verdict)
    reverse = compare(after, before, labels, is_query)
    assert not reverse.better
    assert "is worse by" in str(reverse)
    same = compare(after, after, labels, is_query)
    assert not same.better
    assert "no clear difference, only 0.0 points" in str(same)


def test_difference_within_two_standard_errors_is_not_better() -> None:
    assert not Verdict(0.7, 0.72, 0.02, 30).better
    assert Verdict(0.7, 0.75, 0.02, 30).better


def test_model_in_use_is_compared_by_the_catalogues_encodings(service: Service) -> None:
    add(service, "boots", range(60))
    add(service, "hats", range(60, 120))
    found, _ = drop_rare_labels(labelled(service))
    encoder = FakeEncoder()
    prepare = InProcessPreparer(FAKE_NETWORK.preprocess, decode_limits(service.settings))
    index_version_id = service.model_switch.active.index_version_id
    with service.database.snapshot() as session:
        content = read_content(session, index_versions.get_index_version(session, index_version_id))
        current = current_encodings(session, found, content, vector_file(service), FAKE_NETWORK, 50)
    assert (content.labels != NO_LABEL).all()
    hashes = [sha256 for sha256, _ in current.images.pairs]
    again, rows = encode(hashes, service.storage.read, prepare, encoder, 50, lambda *_: None)
    assert rows.tolist() == list(range(120))
    np.testing.assert_array_equal(current.encodings.codes, again.codes)
    np.testing.assert_array_equal(current.encodings.features, again.features)
    verdict = compare_with_current(current, FAKE_NETWORK, prepare, encoder, service.storage.read, 50, lambda *_: None)
    assert verdict.before == verdict.after
    assert verdict.queries == len(found.held_out())


def test_images_of_one_product_are_held_out_together(service: Service) -> None:
    for label, numbers in (("boots", range(60)), ("hats", range(60, 120))):
        service.ingest.add(
            [
                Upload(
                    numbered_image(at),
                    f"{label}-{at}",
                    MetadataPatch(label=label, metadata={"sku": f"{label}{at // 3}"}),
                )
                for at in numbers
            ]
        )
    with service.database.read_session() as session:
        found = read_labelled(session, "sku")
    held, trained = found.held_out(), found.trained_on()
    assert len(held)
    assert len(held) + len(trained) == 120

    def products(part: Labelled) -> set[str]:
        return {found.products[sha256] for sha256, _ in part.pairs}

    assert not products(held) & products(trained)
    files = trained.files(service.storage.read, found.names)
    assert files.products is not None
    assert len(set(files.products.tolist())) == len(products(trained))
    assert load_products(found) == found


def load_products(labelled: Labelled) -> Labelled:
    """Save a selection with products, and load it."""
    with TemporaryDirectory() as folder:
        save_selection(labelled, Path(folder) / "run.data.json")
        return load_selection(Path(folder) / "run.data.json")


def test_field_that_no_image_has_names_the_nearest(service: Service) -> None:
    service.ingest.add([Upload(numbered_image(0), "a", MetadataPatch(label="boots", metadata={"sku": "1"}))])
    with service.database.read_session() as session, pytest.raises(LookalikeError, match="Did you mean sku"):
        read_labelled(session, "skus")
