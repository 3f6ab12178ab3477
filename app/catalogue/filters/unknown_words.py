"""Words of a text search that no image has, with similar words of the catalogue."""

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from app.catalogue.filters.sql import has_words

# Words with one typo are looked for among those of the latest images. Of shorter words, too many would be similar.
_SIMILAR = text(
    "SELECT word FROM ts_stat('SELECT words FROM images ORDER BY id DESC LIMIT 20000') "
    "WHERE word ~ lower(:pattern) ORDER BY ndoc DESC, word LIMIT 100"
)
_MIN_CHARACTERS, _MAX_CHARACTERS, _MAX_SIMILAR = 4, 32, 3


def unknown_word_warnings(session: Session, words: Sequence[str]) -> list[str]:
    """Return a warning for each word with which no word of an image begins; it names words that differ by one typo."""
    found = session.execute(select(*(exists().where(has_words(f"'{word}':*")) for word in words))).one()
    unknown = [word for word, present in zip(words, found, strict=True) if not present]
    patterns = {word: typo_pattern(word) for word in unknown if _MIN_CHARACTERS <= len(word) <= _MAX_CHARACTERS}
    similar = list(session.scalars(_SIMILAR, {"pattern": "|".join(patterns.values())})) if patterns else []
    return [_warning(word, _matching(patterns.get(word), similar)) for word in unknown]


def typo_pattern(word: str) -> str:
    """Return a regular expression of the words in which one letter of `word` is missing, added, changed or swapped."""
    cuts = [(word[:position], word[position:]) for position in range(len(word) + 1)]
    variants = [before + after[1:] for before, after in cuts]
    variants += [f"{before}.{after}" for before, after in cuts]
    variants += [f"{before}.{after[1:]}" for before, after in cuts]
    variants += [before + after[1::-1] + after[2:] for before, after in cuts]
    return f"^({'|'.join(dict.fromkeys(variants))})$"


def _matching(pattern: str | None, words: Iterable[str]) -> list[str]:
    return [] if pattern is None else [word for word in words if re.search(pattern.lower(), word)][:_MAX_SIMILAR]


def _warning(word: str, similar: Sequence[str]) -> str:
    return f"No image has the word {word!r}." + (f" Similar words: {', '.join(similar)}." if similar else "")
