"""Searches with several examples, compared with brute force on both indexes, and the rules for examples."""

from dataclasses import replace

import numpy as np
import pytest

from app.errors import ImageRejectedError, InvalidExamplesError, InvalidInputError
from app.search.decode.image import Crop
from app.search.examples import Field, Source, Upload, parse_reference
from app.search.local.fine import l2_distances
from app.search.types import Mode, SearchOptions
from models.checkpoint.similarity import LogisticCurve
from tests.search.example_images import examples, upload
from tests.search.test_pipeline import FIRST_ID, IMAGES, SIMILARITY, World, adapted, fake, png

__all__ = ["adapted", "fake"]


# ----------------------------------------------------------------------------------------------- brute force


# -------------------------------------------------------------------------------------- one example alone


@pytest.mark.parametrize("mode", Mode)
def test_one_example_equals_the_search_by_it_to_the_bit(fake: World, adapted: World, mode: Mode) -> None:
    options = SearchOptions(k=20, mode=mode, explain=True)
    for world in (fake, adapted):
        for at in (0, 17, 59):
            by_image, by_id = world.searcher.by_image(png(at), options), world.searcher.by_id(FIRST_ID + at, options)
            for asked, alone in (
                (upload(at), by_image),
                (FIRST_ID + at, by_id),
                (str(world.catalogue.keys[FIRST_ID + at]), by_id),
            ):
                answer = world.searcher.by_examples(examples([asked]), options)
                assert answer.matches == alone.matches
                assert answer.asymmetric == alone.asymmetric
                assert answer.pool_size == alone.pool_size
                np.testing.assert_array_equal(answer.code, alone.code)
                assert [one.coarse_rank for one in answer.explanations] == [
                    one.coarse_rank for one in alone.explanations
                ]


@pytest.mark.parametrize("mode", Mode)
def test_uploads_ids_and_keys_are_interchangeable(fake: World, adapted: World, mode: Mode) -> None:
    options = SearchOptions(k=15, mode=mode)
    for world in (fake, adapted):
        keys = world.catalogue.keys
        by_id = world.searcher.by_examples(examples([FIRST_ID + 3, FIRST_ID + 40], [FIRST_ID + 20]), options)
        others: list[tuple[list[Source], list[Source]]] = [
            ([upload(3), upload(40)], [upload(20)]),
            ([upload(3), str(keys[FIRST_ID + 40])], [FIRST_ID + 20]),
        ]
        for like, unlike in others:
            answer = world.searcher.by_examples(examples(like, unlike), options)
            assert answer.matches == by_id.matches
            np.testing.assert_array_equal(answer.code, by_id.code)


def test_order_of_examples_does_not_matter(fake: World) -> None:
    ids = [FIRST_ID + at for at in (3, 40, 17, 58, 29)]
    answers = [
        fake.searcher.by_examples(examples(order[:3], order[3:]), SearchOptions(k=30))
        for order in (ids, [*ids[2::-1], *ids[:2:-1]])
    ]
    assert [match.id for match, _ in answers[0].matches] == [match.id for match, _ in answers[1].matches]


def test_label_and_explanations_apply_to_the_combined_query(fake: World) -> None:
    asked = examples([FIRST_ID + 3, FIRST_ID + 40], [FIRST_ID + 20])
    answer = fake.searcher.by_examples(asked, SearchOptions(k=60, pool=60, explain=True, label="boot"))
    labels = {FIRST_ID + at: drawing.label for at, drawing in enumerate(IMAGES)}
    assert answer.matches
    assert {labels[match.id] for match, _ in answer.matches} == {"boot"}
    for (match, _), explanation in zip(answer.matches, answer.explanations, strict=True):
        different = np.flatnonzero(np.unpackbits(answer.code ^ explanation.code))
        assert explanation.bits == different.tolist()
        assert len(explanation.bits) == match.hamming
    assert sorted(one.coarse_rank or 0 for one in answer.explanations) == list(range(1, len(answer.matches) + 1))


# ---------------------------------------------------------------------------------------------- combination


def test_unlike_moves_results_away(fake: World) -> None:
    like, unlike = FIRST_ID + 3, FIRST_ID + 40
    features = fake.encoded.features

    def distance_to_unlike(answer_ids: list[int]) -> float:
        vectors = features[np.array(answer_ids) - FIRST_ID]
        return float(l2_distances(features[40], vectors, np.arange(len(vectors))).mean())

    options = SearchOptions(k=10, mode=Mode.ES)
    alone = fake.searcher.by_examples(examples([like]), options).matches
    away = fake.searcher.by_examples(examples([like], [unlike]), options).matches
    assert distance_to_unlike([match.id for match, _ in away]) > distance_to_unlike([match.id for match, _ in alone])


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("17", 17),
        ("key:17", "17"),
        ("sku-4", "sku-4"),
        ("key:key:a", "key:a"),
        ("-3", "-3"),
        ("1" * 30, "1" * 30),
        ("²", "²"),
    ],
)
def test_references_are_ids_or_keys(text: str, reference: int | str) -> None:
    assert parse_reference(text) == reference


def test_invalid_examples_are_all_listed(fake: World) -> None:
    broken = Upload("broken.png", lambda: b"not an image")
    asked = examples([upload(1), broken, 7, FIRST_ID, "no such key"], [2**70, FIRST_ID, upload(1), "a\0b"])
    with pytest.raises(InvalidExamplesError) as invalid:
        fake.searcher.by_examples(asked, SearchOptions())
    reasons = invalid.value.reasons
    assert set(reasons) == {"image.1", "like.0", "like.2", "unlike.0", "unlike.1", "unlike.2", "unlike_image.0"}
    assert reasons["image.1"].startswith('"broken.png": ')
    assert "there is no image 7" in reasons["like.0"]
    assert "write key:7" in reasons["like.0"]
    assert 'key "no such key"' in reasons["like.2"]
    assert reasons["unlike.1"] == "is the same image as like.1. Leave out one of the two."
    assert reasons["unlike_image.0"] == "is the same image as image.0. Leave out one of the two."


def test_only_example_is_rejected_as_in_a_search_by_it(fake: World) -> None:
    with pytest.raises(ImageRejectedError):
        fake.searcher.by_examples(examples([Upload("", lambda: b"not an image")]), SearchOptions())


WRONG: dict[str, tuple[list[Source], list[Source], dict[Field, list[float]], str]] = {
    "nothing to find": ([], [1], {}, "is missing"),
    "seventeen": (list(range(9)), list(range(20, 28)), {}, "17 examples are given"),
    "too few weights": ([1, 2], [], {"like": [1]}, "numbers: 1, images: 2"),
    "weights of no images": ([1, 2], [], {"image": [1]}, "numbers: 1, images: 0"),
    "not a number": ([1, 2], [], {"like": [1, float("nan")]}, "like.1: nan is not a weight"),
    "negative": ([1, 2], [3], {"unlike": [-1]}, "unlike.0: -1 is not a weight"),
    "infinite": ([1, 2], [], {"like": [float("inf"), 1]}, "inf is not a weight"),
    "all zero": ([1, 2], [], {"like": [0, 0]}, "are 0 for all images to be found"),
    "all zero to avoid": ([1, 2], [3], {"unlike": [0]}, "are 0 for all images to be avoided"),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_examples_raise(case: str) -> None:
    like, unlike, weights, message = WRONG[case]
    with pytest.raises((InvalidInputError, InvalidExamplesError), match=message):
        examples(like, unlike, weights)


def test_sixteen_examples_are_accepted(fake: World) -> None:
    asked = examples([FIRST_ID + at for at in range(12)], [FIRST_ID + at for at in range(20, 24)])
    assert len(fake.searcher.by_examples(asked, SearchOptions(k=7)).matches) == 7


def test_crop_needs_exactly_one_upload(fake: World) -> None:
    options = SearchOptions(crop=Crop(0, 0, 20, 20))
    for asked in ([FIRST_ID, FIRST_ID + 1], [upload(1), upload(2)]):
        with pytest.raises(InvalidInputError, match="crop"):
            fake.searcher.by_examples(examples(asked), options)
    cropped = fake.searcher.by_examples(examples([upload(1), FIRST_ID + 2]), options)
    whole = fake.searcher.by_examples(examples([upload(1), FIRST_ID + 2]), replace(options, crop=None))
    assert not np.array_equal(cropped.code, whole.code)


def test_similarity_is_that_of_the_distance_to_the_combined_query(fake: World) -> None:
    fake.searcher._similarity = SIMILARITY
    try:
        asked = examples([FIRST_ID + 3, FIRST_ID + 40], [FIRST_ID + 20])
        every = fake.searcher.by_examples(asked, SearchOptions(k=40, mode=Mode.ES)).matches
        assert isinstance(SIMILARITY.features, LogisticCurve)
        assert [match.similarity for match, _ in every] == [SIMILARITY.features(match.distance) for match, _ in every]
        least = every[10][0].similarity
        cut = fake.searcher.by_examples(asked, SearchOptions(k=40, mode=Mode.ES, min_similarity=least)).matches
        assert cut == [(match, key) for match, key in every if (match.similarity or 0) >= (least or 0)]
        assert 10 < len(cut) < 40
    finally:
        fake.searcher._similarity = None
