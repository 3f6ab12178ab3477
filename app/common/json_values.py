"""Which JSON can be kept: what PostgreSQL can store and an answer can carry."""

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

# Lists and objects in each other; what writes the answers gives up at 255.
MAX_DEPTH = 64
Json = TypeVar("Json")


class RepeatedNameError(ValueError):
    """JSON object in which a name occurs twice.

    Attributes:
        name: the name, with halves of surrogate pairs replaced.
    """

    def __init__(self, name: str) -> None:
        name = name.encode(errors="replace").decode()
        super().__init__(f'the field "{name}" occurs twice in one object')
        self.name = name


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object from its fields; for `object_pairs_hook` of `json.loads`, which would keep the last.

    Raises:
        RepeatedNameError: two fields have the same name.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise RepeatedNameError(name)
        found[name] = value
    return found


def merge_fields(fields: Mapping[str, Any], nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image's metadata from the fields beside its key, and from those in an object `metadata`.

    Raises:
        ValueError: a field is in both.
    """
    if twice := fields.keys() & nested.keys():
        raise ValueError(f'the field "{min(twice)}" is given both in `metadata` and beside it. Send it once')
    return {**fields, **nested}


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
