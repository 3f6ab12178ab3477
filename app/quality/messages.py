"""Lists of names in messages."""

from collections.abc import Iterable
from difflib import get_close_matches

# Names that a message lists.
_MAX_LISTED = 8


def listed(words: Iterable[str]) -> str:
    """Join words, the first eight if there are more."""
    all_words = list(words)
    more = f" and {len(all_words) - _MAX_LISTED:,} more" if len(all_words) > _MAX_LISTED else ""
    return ", ".join(all_words[:_MAX_LISTED]) + more


def nearest_or_all(name: str, known: Iterable[str], introduction: str) -> str:
    """Return a sentence that names the nearest of the known names, or all of them.

    Args:
        name: a name that is unknown.
        known: the names that there are.
        introduction: what stands before the list of all names, as in "The columns are:".
    """
    names = sorted(known)
    if close := get_close_matches(name, names, n=1, cutoff=0.5):
        return f"Did you mean {close[0]}?"
    return f"{introduction} {listed(names) or 'none'}."
