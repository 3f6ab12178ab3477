"""Parse the words of a text search.

The syntax is that of web search engines, and of PostgreSQL's `websearch_to_tsquery`: all words must occur, `or` between
two terms separates alternatives, quotes enclose a phrase, and `-` before a term excludes it. Each word also matches
longer ones that begin with it. A word is a run of letters and digits: `red_boot.jpg` is the phrase `red boot jpg`.
`app/catalogue/filters/sql.py` runs the query, and a migration defines the words of an image in the same way.
"""

import re
import unicodedata
from dataclasses import dataclass, field

from app.common.unicode_names import nfc
from app.errors import InvalidInputError

MAX_CHARACTERS, MAX_WORDS = 512, 32
# PostgreSQL refuses words of more than 2,046 bytes.
MAX_WORD_BYTES = 2000

_TERM = re.compile(r'-?"[^"]*"?|\S+')
_ACCENT = re.compile("[\u0300-\u036f]")


@dataclass(frozen=True)
class TextQuery:
    """A parsed text search; compared by its text.

    Attributes:
        text: the text, in normalisation form C.
        query: the query in the syntax of PostgreSQL's `to_tsquery`.
        words: the words that are searched for, without those excluded.
    """

    text: str
    query: str = field(compare=False)
    words: tuple[str, ...] = field(compare=False)


def parse_text(text: str) -> TextQuery:
    """Parse a text search.

    Raises:
        InvalidInputError: the text is too long, has too many words, or none.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidInputError("text", f"has {len(text):,} characters; at most {MAX_CHARACTERS} are allowed")
    text = nfc(text)
    terms, alternatives, words = _TERM.findall(text), [list[str]()], list[str]()
    for position, term in enumerate(terms):
        if term.lower() == "or" and alternatives[-1] and position + 1 < len(terms):
            alternatives.append([])
        elif phrase := split_words(term):
            excluded = term.startswith("-")
            alternatives[-1].append(f"{'!' if excluded else ''}'{' '.join(phrase)}':*")
            words += [] if excluded else phrase
    _check([word for term in terms for word in split_words(term)])
    query = " | ".join(" & ".join(terms) for terms in alternatives if terms)
    return TextQuery(text, query, tuple(dict.fromkeys(words)))


def split_words(text: str) -> list[str]:
    """Split text into words without accents; punctuation, symbols and spaces separate them."""
    plain = text if text.isascii() else _ACCENT.sub("", unicodedata.normalize("NFD", text))
    return "".join(" " if _separates(character) else character for character in plain).split()


def _separates(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "PSZ" or category in ("Cc", "Cs")


def _check(words: list[str]) -> None:
    if not words:
        raise InvalidInputError("text", "has no word. Give a letter or a digit")
    if len(words) > MAX_WORDS:
        raise InvalidInputError("text", f"has {len(words)} words; at most {MAX_WORDS} are allowed")
    if any(len(word.encode()) > MAX_WORD_BYTES for word in words):
        raise InvalidInputError("text", "has a word that is too long. Leave out its end")
