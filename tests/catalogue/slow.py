"""Questions that the database takes long for, and what it is at work on."""

import time
from collections.abc import Callable

import psycopg
from sqlalchemy import text

# Longer than any test waits.
FOREVER_S = 300
SLEEP = text(f"SELECT pg_sleep({FOREVER_S})")


def running(connection: "psycopg.Connection[tuple[int]]", words: str) -> int:
    """Counts the statements with some words in them that other connections to this database have running."""
    asked = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
        "AND datname = current_database() AND strpos(query, %s) > 0",
        [words],
    )
    row = asked.fetchone()
    assert row is not None
    return row[0]


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)
