"""What commands share: one console, errors as sentences, progress bars."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from app.errors import LookalikeError
from app.settings import misspelt


def console() -> Console:
    """Returns a console for results; plain text where it is not a terminal."""
    return Console(highlight=False)


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Ends the command with a sentence, and no traceback, where something went wrong that we foresaw."""
    # Only here, so that commands that need no network do not wait for torch.
    from models.errors import ModelError

    try:
        yield
    except (LookalikeError, ModelError) as error:
        fail(str(error))
    except ValidationError as error:
        fail("; ".join(_setting(item["loc"]) + item["msg"] for item in error.errors()))


def _setting(place: tuple[int | str, ...]) -> str:
    """Names the variable that a settings error is about; one that is about none in particular has no place."""
    return f"LOOKALIKE_{str(place[0]).upper()}: " if place else ""


def fail(sentence: str) -> None:
    """Prints what went wrong and ends the command."""
    Console(stderr=True, highlight=False).print(sentence, style="red", markup=False)
    raise typer.Exit(1)


def warn_of_misspelt_settings() -> None:
    """Says which LOOKALIKE_* variables are none of the settings, since a limit that nobody reads protects nobody."""
    for sentence in misspelt(os.environ):
        Console(stderr=True, highlight=False).print(sentence, style="yellow", markup=False)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar; yields what to tell how many of how many are done."""
    with progress_bar() as bar:
        task = bar.add_task(what, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextmanager
def step_by_step() -> Iterator[Callable[[str, int, int], None]]:
    """Shows a progress bar; yields what to tell which step is under way, and how much of how much of it is done."""
    with progress_bar() as bar:
        task = bar.add_task("reading", total=None)

        def report(what: str, done: int, total: int) -> None:
            if bar.tasks[task].description != what:
                bar.reset(task, description=what, total=total)
            bar.update(task, completed=done)

        yield report


def progress_bar() -> Progress:
    """Returns a progress bar with speed and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
