"""Which JSON can be kept: what PostgreSQL can store and an answer can carry."""

import math
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

# Lists and objects in each other; what writes the answers gives up at 255.
MAX_DEPTH = 64
Json = TypeVar("Json")


def check_json(value: Json) -> Json:
    """Refuses what PostgreSQL cannot store or an answer cannot carry; returns the value.

    Raises:
        ValueError: a text in it holds a NUL character or half of a surrogate pair, a number is not finite or too
            large for a float, or lists and objects lie too deep in each other.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise ValueError(f"lists and objects lie more than {MAX_DEPTH} deep in each other")


def _inside(value: Any) -> Iterable[Any]:
    """Returns what a list or an object holds; looks at anything else."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ValueError("a number is too large for a float")
    if isinstance(value, str) and ("\x00" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        raise ValueError("a text holds a NUL character or half of a surrogate pair")
    return ()
