"""What is learnt from a catalogue's labels, what is not, and when a network counts as better."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.bootstrap import Service
from app.catalogue import generations
from app.catalogue.changes import Given
from app.errors import LookalikeError
from app.ingest.pipeline import Upload
from app.model_switch.networks import limits_of
from app.quality.compare import Side, Verdict, compare, encode
from app.quality.content import NO_LABEL, read_content
from app.quality.improve import in_use, judge, recipe_for, splits
from app.quality.labelled import FEWEST_PICTURES, Labelled, enough, keep, kept, read_labelled
from app.search.decode.prepare import InProcess
from models.data.dataset import TRAIN
from tests.crash.ledger import drawing
from tests.fakes import FAKE_NETWORK, FakeEncoder
from tests.vectors import vector_file


def add(service: Service, label: str | None, numbers: range) -> None:
    service.ingest.add([Upload(drawing(at), f"{label}-{at}", Given(label=label)) for at in numbers])


def labelled(service: Service) -> Labelled:
    with service.database.asking() as session:
        return read_labelled(session)


def test_labels_with_too_few_pictures_are_left_out_and_named(service: Service) -> None:
    add(service, "boots", range(30))
    add(service, "hats", range(30, 60))
    add(service, "scarves", range(60, 65))
    add(service, None, range(70, 80))
    found, said = enough(labelled(service))
    assert found.names == ("boots", "hats")
    assert len(found) == 60
    assert said == [f"Fewer than {FEWEST_PICTURES} pictures, so not learnt from: scarves (5)."]


def test_too_little_to_learn_from_says_what_there_is(service: Service) -> None:
    with pytest.raises(LookalikeError, match="The catalogue has no labels"):
        enough(labelled(service))
    add(service, "boots", range(30))
    add(service, "hats", range(30, 35))
    with pytest.raises(LookalikeError, match=r"two|2 labels or more .* has boots \(30\), hats \(5\)"):
        enough(labelled(service))


def test_the_same_picture_under_two_labels_teaches_neither(service: Service) -> None:
    add(service, "boots", range(5))
    add(service, "hats", range(3, 9))
    assert [label for _, label in labelled(service).pairs].count("boots") == 3
    assert len(labelled(service)) == 7


def test_the_same_pictures_are_held_out_whatever_is_added(service: Service) -> None:
    add(service, "boots", range(100))
    before = set(labelled(service).held_out().pairs)
    assert 3 <= len(before) <= 20
    add(service, "hats", range(100, 200))
    found = labelled(service)
    assert before <= set(found.held_out().pairs)
    assert not set(found.held_out().pairs) & set(found.learnt_from().pairs)
    files = splits(found, service.files.read)[TRAIN]
    assert not {path.name for path in files.paths} & {sha256 for sha256, _ in found.held_out().pairs}
    assert files.classes == ("boots", "hats")
    assert [files.classes[label] for label in files.labels] == [label for _, label in found.learnt_from().pairs]


def test_what_was_begun_with_is_kept(tmp_path: Path) -> None:
    found = Labelled((("00ff", "boots"), ("aa00", "hats & <caps>")))
    keep(found, tmp_path / "new" / "run.data.json")
    assert kept(tmp_path / "new" / "run.data.json") == found
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(LookalikeError, match="is damaged"):
        kept(tmp_path / "bad.json")


def test_training_goes_on_from_the_network_in_use_unless_told_otherwise() -> None:
    learnt = FAKE_NETWORK
    untaught = recipe_for(learnt, "fake", {})
    assert untaught == {"backbone": "none", "bits": 64, "size": 32}
    taught = replace(learnt, classes=("a", "b"))
    assert recipe_for(taught, "fake", {"bits": 128}) == {"backbone": "none", "bits": 128, "size": 32, "start": "fake"}
    assert recipe_for(taught, "fake", {"backbone": "alexnet"}) == {"backbone": "alexnet"}
    assert "start" not in recipe_for(taught, "fake", {"imagenet": False})


def side(features: np.typing.NDArray[np.float32], pool: int = 1000) -> Side:
    return Side(np.zeros((len(features), 8), np.uint8), features, pool)


def test_a_network_that_tells_labels_apart_is_better_than_one_that_does_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100)
    asking = rng.random(300) < 0.2
    blind, knowing = rng.normal(size=(300, 8)), rng.normal(size=(300, 8)) + 9 * np.eye(8)[labels]
    before, after = side(blind.astype(np.float32)), side(knowing.astype(np.float32))
    verdict = compare(before, after, labels, asking)
    assert verdict.better
    assert verdict.after == 1
    assert verdict.before == pytest.approx(1 / 3, abs=0.1)
    assert verdict.queries == asking.sum()
    assert "is better by" in str(verdict)
    backwards = compare(after, before, labels, asking)
    assert not backwards.better
    assert "is worse by" in str(backwards)
    same = compare(after, after, labels, asking)
    assert not same.better
    assert "no clear difference, only 0.0 points" in str(same)


def test_chance_is_no_difference() -> None:
    assert not Verdict(0.7, 0.72, 0.02, 30).better
    assert Verdict(0.7, 0.75, 0.02, 30).better


def test_the_network_in_use_is_judged_by_what_the_catalogue_has_of_it(service: Service) -> None:
    add(service, "boots", range(60))
    add(service, "hats", range(60, 120))
    found, _ = enough(labelled(service))
    encoder = FakeEncoder()
    prepare = InProcess(encoder.size, encoder.prepare, limits_of(service.settings))
    generation_id = service.handover.current.generation_id
    with service.database.snapshot() as session:
        content = read_content(session, generations.by_id(session, generation_id))
        before = in_use(session, found, content, vector_file(service), FAKE_NETWORK, 50)
    assert (content.labels != NO_LABEL).all()
    hashes = [sha256 for sha256, _ in before.pictures.pairs]
    again, rows = encode(hashes, service.files.read, prepare, encoder, 50, lambda *_: None)
    assert rows.tolist() == list(range(120))
    np.testing.assert_array_equal(before.side.codes, again.codes)
    np.testing.assert_array_equal(before.side.features, again.features)
    verdict = judge(before, FAKE_NETWORK, prepare, encoder, service.files.read, 50, lambda *_: None)
    assert verdict.before == verdict.after
    assert verdict.queries == len(found.held_out())
