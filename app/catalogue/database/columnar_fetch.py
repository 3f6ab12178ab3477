"""Fetch many rows as a NumPy structured array; a million rows one by one would take seconds.

PostgreSQL packs blocks of rows into fixed-width binary records, which NumPy reads without conversion.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, LargeBinary, cast, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute, Session

_BLOCK = 65_536


def fetch_columns(
    session: Session,
    key: InstrumentedAttribute[int],
    *conditions: ColumnElement[bool],
    integers: Mapping[str, InstrumentedAttribute[int]] | None = None,
    binary: tuple[str, InstrumentedAttribute[bytes], int] | None = None,
) -> NDArray[Any]:
    """Fetch columns of a table as a structured array.

    Args:
        session: a database session.
        key: an integer column; rows are sorted by it.
        conditions: which rows to fetch.
        integers: further integer columns by name.
        binary: name and column of fixed-width bytes, and their width.

    Returns:
        A structured array `(rows,)` with the field `key` and those named above.
    """
    fields = {"key": key, **(integers or {})}
    packed: list[ColumnElement[bytes]] = [func.int8send(column, type_=LargeBinary) for column in fields.values()]
    layout: list[tuple[str, str]] = [(name, ">i8") for name in fields]
    if binary is not None:
        name, column, width = binary
        packed.append(cast(column, LargeBinary))
        layout.append((name, f"V{width}"))
    row = packed[0]
    for part in packed[1:]:
        row = row.op("||")(part)
    block = key // _BLOCK
    blocks = session.scalars(
        select(func.string_agg(row, aggregate_order_by(literal(b"", LargeBinary), key)))
        .where(*conditions)
        .group_by(block)
        .order_by(block)
    )
    return np.frombuffer(b"".join(blocks), np.dtype(layout))
