"""Parse, validate and normalise JSON values that PostgreSQL stores and responses contain."""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from app.common.unicode_names import nfc

# The largest id: PostgreSQL's bigint.
MAX_ID = 2**63 - 1
# Maximum nesting of lists and objects. The serialiser of responses fails at 255.
MAX_DEPTH = 64
# Longer whole numbers are too large for a float, and Python refuses to parse very long ones.
_MAX_DIGITS = sys.float_info.max_10_exp + 1
_TOO_LARGE = "a number is too large for a float"
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


def parse_json(text: str) -> Any:
    """Parse JSON; whole numbers are exact, others double precision, and names in an object are unique.

    Raises:
        RepeatedNameError: two fields of an object have the same name.
        ValueError: the text is not JSON, or `validate_json` refuses the value.
        RecursionError: it is nested far too deeply.
    """
    parsed = json.loads(text, parse_int=_parse_int, parse_constant=_refuse_constant, object_pairs_hook=unique_names)
    return validate_json(parsed)


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(_TOO_LARGE)
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


def has_surrogate(text: str) -> bool:
    """Return whether a text contains a lone surrogate, which UTF-8 cannot represent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store a text: it has no NUL character and no lone surrogate."""
    return "\0" not in text and not has_surrogate(text)


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


def normalise_number(value: float | Decimal) -> int | float:
    """Return the number as an integer if it is whole, else as a float, so that equal numbers have one form.

    A float stands for its shortest decimal form, as in JSON: 1e23 is 10 ** 23.
    """
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    whole = exact.is_finite() and exact == exact.to_integral_value()
    return int(exact) if whole else float(value)


def normalise_numbers(value: Any) -> Any:
    """Return a JSON value with every number in its one form; see `normalise_number`."""
    if isinstance(value, dict):
        return {name: normalise_numbers(child) for name, child in value.items()}
    if isinstance(value, list):
        return [normalise_numbers(child) for child in value]
    return normalise_number(value) if isinstance(value, float) else value


def normalise_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata as stored: equal numbers have one form, and fields that are null are omitted."""
    return {name: normalise_numbers(value) for name, value in metadata.items() if value is not None}


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
        raise ValueError(_TOO_LARGE)
    if isinstance(value, str) and not is_storable(value):
        raise ValueError("a string contains a NUL character or a lone surrogate")
    return ()
