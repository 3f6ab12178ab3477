"""What a search's `filter` says, as a condition in SQL.

Where a field holds a list, it passes if any of its elements does. `$ne`, `$nin` and `$not` are the opposite of what
they deny, so pictures without the field pass them.
"""

from sqlalchemy import ColumnElement, and_, cast, false, func, not_, or_, true
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH

from app.catalogue.database.tables import Picture
from app.search.filter import AllOf, AnyOf, Compares, Exists, Filter, Not, Test

Condition = ColumnElement[bool]

COLUMNS = ("label", "key")


def passes(label: str | None, filter_: Filter | None) -> Condition:
    """Returns which pictures have a label and pass a filter, each where it is given."""
    labelled = true() if label is None else Picture.label == label
    return and_(labelled, true() if filter_ is None else _condition(filter_.test))


def has_field(name: str, pictures: type[Picture] = Picture) -> Condition:
    """Returns which pictures have a field; `pictures` may be an alias."""
    there: Condition = getattr(pictures, name).is_not(None) if name in COLUMNS else pictures.metadata_.has_key(name)
    return there


def _condition(test: Test) -> Condition:
    """Returns which pictures pass a test; never NULL, so that it can be denied."""
    match test:
        case Compares():
            return _compares(test)
        case Exists():
            return has_field(test.field)
        case Not():
            return not_(_condition(test.test))
        case AllOf():
            return and_(true(), *map(_condition, test.tests))
        case AnyOf():
            return or_(false(), *map(_condition, test.tests))


def _compares(test: Compares) -> Condition:
    """Returns where a field, or one of the elements of its list, compares so with one of the values.

    Values of different types never do: a text is neither more nor less than a number. However many values there are,
    this is one test, because every further one would cost another look at every picture.
    """
    found = func.to_jsonb(getattr(Picture, test.field)) if test.field in COLUMNS else Picture.metadata_[test.field]
    path = cast(f"$[*] ? (@ {test.sign} $values[*])", JSONPATH)
    values = cast({"values": list(test.values)}, JSONB)
    return func.coalesce(func.jsonb_path_exists(found, path, values), false())
