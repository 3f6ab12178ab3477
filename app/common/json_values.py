"""Validate JSON values that PostgreSQL stores and responses contain."""

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from app.common.unicode_names import nfc

# Maximum nesting of lists and objects. The serialiser of responses fails at 255.
MAX_DEPTH = 64
Json = TypeVar("Json")


def validate_json(value: Json) -> Json:
    """Validate that PostgreSQL can store a JSON value and responses can contain it; returns the value.

    Raises:
        ValueError: a string contains a NUL character or a lone surrogate, a number is not finite or too large for a
            float, two fields of an object have the same name, or lists and objects are nested too deeply.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return value
    raise ValueError(f"lists and objects are nested more than {MAX_DEPTH} levels deep")


def _require_distinct(fields: Mapping[Any, Any]) -> None:
    """Check that no two names differ in their normalisation form alone."""
    names = set[Any]()
    for name in fields:
        same = nfc(name) if isinstance(name, str) else name
        if same in names:
            raise ValueError(f"two fields are named {same!r}")
        names.add(same)


def _children(value: Any) -> Iterable[Any]:
    """Return the children of a list or an object; validate any other value."""
    if isinstance(value, dict):
        _require_distinct(value)
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
