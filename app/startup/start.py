"""Supervise the start of a process, as the settings say."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.settings import Settings
from app.startup import supervision as startup


@contextmanager
def supervised_start(settings: Settings) -> Iterator[None]:
    """Supervise the start of this process for the length of the block, unless it is supervised already."""
    outermost = begin_supervised_start(settings)
    try:
        yield
    finally:
        if outermost:
            startup.complete()


def begin_supervised_start(settings: Settings) -> bool:
    """Begin to supervise the start of this process, until `startup.complete`; returns False if it already was."""
    data_dir = settings.data_dir if settings.database_url is None else None
    return startup.begin(settings.startup_step_timeout_seconds, data_dir, settings.log_format)
