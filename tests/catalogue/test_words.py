"""Text searches in SQL, compared with an implementation in Python."""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, text, update

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.filters.sql import filter_condition
from app.errors import InvalidInputError
from app.search.words import MAX_CHARACTERS, MAX_WORDS, parse_text

BASE = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
WORDS = (
    "red",
    "Red",
    "REDDISH",
    "boot",
    "boots",
    "Été",
    "ete",
    "ΣΊΣΥΦΟΣ",
    "赤い",
    "Ёлка",
    "sku",
    "104",
    "10",
    "x",
    "हिन्दी",
    "한국어",
)
SEPARATORS = (" ", "-", "/", "_", ".", "\\", '"', "\n", " — ", "'", "…", "\t\x01", "€", "🎈")
IMAGES, QUERIES = 150, 400


def words_of(image: dict[str, Any]) -> list[str]:
    """Return the words of an image, in order."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for name in sorted(value, key=lambda name: (len(name.encode()), name.encode())):
                yield from texts(value[name])
        elif isinstance(value, list):
            for child in value:
                yield from texts(child)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield str(value)

    words, word = list[str](), ""
    for character in " ".join((image["key"], image["label"] or "", *texts(image["metadata_"]), "")):
        if unicodedata.category(character)[0] in "LMN":
            word += character
        elif word:
            words, word = [*words, word], ""
    return [plain(word) for word in words]


def plain(word: str) -> str:
    """Return a word in lower case, without accents as in Latin and Greek."""
    decomposed = unicodedata.normalize("NFD", word)
    return "".join(character for character in decomposed if not 0x300 <= ord(character) <= 0x36F).lower()


@dataclass(frozen=True)
class Term:
    """A phrase, or its exclusion."""

    words: tuple[str, ...]
    excluded: bool

    def written(self, separator: str) -> str:
        text = f'"{" ".join(self.words)}"' if separator == '"' else separator.join(self.words)
        return f"{'-' if self.excluded else ''}{text}"

    def matches(self, words: list[str]) -> bool:
        wanted = [plain(word) for word in self.words]
        windows = (words[first : first + len(wanted)] for first in range(len(words)))
        found = any(len(window) == len(wanted) and all(map(str.startswith, window, wanted)) for window in windows)
        return found is not self.excluded


class Generator:
    """Random generator of images and queries."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def choice(self, of: Any) -> Any:
        return of[self.rng.integers(len(of))]

    def text(self) -> str:
        return "".join(self.choice(WORDS) + self.choice(SEPARATORS) for _ in range(self.rng.integers(1, 4)))

    def value(self, depth: int = 0) -> Any:
        match self.rng.integers(8):
            case 0 if depth < 3:
                return [self.value(depth + 1) for _ in range(self.rng.integers(3))]
            case 1 if depth < 3:
                return {self.choice(("a", "bb", 'odd "name" red')): self.value(depth + 1)}
            case 2:
                return self.choice((104, 10.5, -3, True, False, None))
        return self.text()

    def image(self, number: int) -> dict[str, Any]:
        metadata = {name: self.value() for name in ("title", "z", "tags") if self.rng.random() < 0.5}
        label = self.text() if self.rng.random() < 0.5 else None
        return {"key": f"{number}/{self.text()}", "label": label, "metadata_": metadata}

    def term(self) -> Term:
        words = [self.choice(WORDS) for _ in range(self.choice((1, 1, 1, 2, 3)))]
        if self.rng.random() < 0.5:
            words[-1] = words[-1][: max(1, len(words[-1]) - 1)]
        return Term(tuple(words), bool(self.rng.random() < 0.2))


def insert_images(database: Database, images: list[dict[str, Any]]) -> None:
    with database.transaction() as session:
        session.execute(insert(Image), [BASE | image for image in images])


def found(database: Database, query: str) -> set[str]:
    with database.read_session() as session:
        return set(session.scalars(select(Image.key).where(filter_condition(None, None, parse_text(query)))))


def test_random_texts_match_the_reference(database: Database) -> None:
    generator = Generator(0)
    images = [generator.image(number) for number in range(IMAGES)]
    insert_images(database, images)
    words = {image["key"]: words_of(image) for image in images}
    shares = []
    for _ in range(QUERIES):
        alternatives = [
            [generator.term() for _ in range(generator.choice((1, 1, 2)))] for _ in range(generator.choice((1, 1, 2)))
        ]
        query = " OR ".join(
            " ".join(term.written(generator.choice(("-", "_", '"', "/"))) for term in terms) for terms in alternatives
        )
        matching = {
            key for key, own in words.items() if any(all(term.matches(own) for term in terms) for terms in alternatives)
        }
        assert found(database, query) == matching, query
        shares.append(len(matching) / IMAGES)
    assert np.mean([0 < share < 1 for share in shares]) > 0.5


def test_parts_of_a_key_and_nested_values_are_found_but_names_are_not(database: Database) -> None:
    metadata = {
        "colour": "dark red",
        "sizes": [41, {"eu": "forty-two"}],
        "price": 89.5,
        "sale": True,
        "note": 'a"b\\n\nc',
    }
    insert_images(database, [{"key": "sku-104/red_boot.jpg", "label": "Bottes d'été", "metadata_": metadata}])
    for query in (
        "boot",
        "sku-104/red_boot.jpg",
        "bo",
        "ETE",
        "été",
        "d'ete",
        "dark",
        "41",
        "forty",
        "89.5",
        "n c",
        '"sku 104"',
    ):
        assert found(database, query), query
    for query in ("colour", "sizes", "true", "boot hat", "oot", '"104 sku"', "-boot", "sku -red"):
        assert not found(database, query), query


@pytest.mark.parametrize("query", ["", " ", "-", '"', '""""', "&|!():*<->", "\0", "€ 🎈", "\ud800"])
def test_text_without_a_word_is_rejected(query: str) -> None:
    with pytest.raises(InvalidInputError, match="no word"):
        parse_text(query)


@pytest.mark.parametrize("query", ["a" * 10_000, "a " * (MAX_WORDS + 1), "한" * MAX_CHARACTERS])
def test_text_that_is_too_long_is_rejected(query: str) -> None:
    with pytest.raises(InvalidInputError, match=r"characters|words|too long"):
        parse_text(query)


def test_every_text_with_a_word_is_a_valid_query(database: Database) -> None:
    operators = [
        "red &",
        "!red",
        "red:*",
        "red:A",
        "(red",
        "red <-> boot",
        "'red",
        "red''",
        "red\\",
        '-"red',
        "red or -",
    ]
    words = [
        "or",
        "or or or",
        "a\0b",
        "red\u200b",
        "\u0301red",
        "1e5x",
        "é" * 512,
        "http://x.example/?a=b",
        "a@b.example",
    ]
    for query in operators + words:
        found(database, query)


def test_words_follow_every_change_of_a_row(database: Database) -> None:
    insert_images(database, [{"key": "one", "label": "boots", "metadata_": {"colour": "red"}}])
    changes: list[tuple[dict[str, Any], str, str]] = [
        ({"label": "hats"}, "hats", "boots"),
        ({"metadata_": {"colour": "blue"}}, "blue", "red"),
        ({"key": "two"}, "two", "one"),
    ]
    for values, new, old in changes:
        with database.transaction() as session:
            session.execute(update(Image).values(values))
        assert found(database, new)
        assert not found(database, old)


def test_image_with_more_text_than_an_index_entry_holds_is_stored(database: Database) -> None:
    words = " ".join(f"{number:06}한" for number in range(300_000))
    insert_images(database, [{"key": "first", "label": "z" * 5000, "metadata_": {"all": words, "long": "y" * 5000}}])
    assert found(database, "000001한 009000한")
    with database.read_session() as session:
        assert json.dumps(session.scalars(text("SELECT metadata FROM images")).one()["all"][:8]) == json.dumps(
            words[:8]
        )
