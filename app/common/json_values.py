"""Validate JSON values that PostgreSQL stores and responses contain."""

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

# Maximum nesting of lists and objects. The serialiser of responses fails at 255.
MAX_DEPTH = 64
Json = TypeVar("Json")


class RepeatedNameError(ValueError):
    """JSON object in which a name occurs twice.

    Attributes:
        name: the name, with lone surrogates replaced.
    """

    def __init__(self, name: str) -> None:
        name = name.encode(errors="replace").decode()
        super().__init__(f'the field "{name}" occurs twice in one object')
        self.name = name


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, rejecting repeated names; an `object_pairs_hook` for `json.loads`, which keeps the last.

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
    """Merge the top-level metadata fields of an image's description with those of its object `metadata`.

    Raises:
        ValueError: a field is in both.
    """
    if twice := fields.keys() & nested.keys():
        raise ValueError(f'the field "{min(twice)}" is given both in `metadata` and outside it. Send it once')
    return {**fields, **nested}


def validate_json(value: Json) -> Json:
    """Validate that PostgreSQL can store a JSON value and responses can contain it; returns the value.

    Raises:
        ValueError: a string contains a NUL character or a lone surrogate, a number is not finite or too large for a
            float, or lists and objects are nested too deeply.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return value
    raise ValueError(f"lists and objects are nested more than {MAX_DEPTH} levels deep")


def _children(value: Any) -> Iterable[Any]:
    """Return the children of a list or an object; validate any other value."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ValueError("a number is too large for a float")
    if isinstance(value, str) and ("\x00" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        raise ValueError("a string contains a NUL character or a lone surrogate")
    return ()
