"""Slow statements, and helpers that wait for running statements."""

import time
from collections.abc import Callable

import psycopg
from sqlalchemy import text

# Longer than any test waits.
FOREVER_S = 300
SLEEP = text(f"SELECT pg_sleep({FOREVER_S})")


def running_statements(connection: "psycopg.Connection[tuple[int]]", words: str) -> int:
    """Count the running statements of other connections to this database that contain some text."""
    asked = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
        "AND datname = current_database() AND strpos(query, %s) > 0",
        [words],
    )
    row = asked.fetchone()
    assert row is not None
    return row[0]


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Poll until a condition is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)
