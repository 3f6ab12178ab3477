"""What commands share: one console, errors as sentences, progress bars.

Commands print through `console`, `fail` and the progress bars of this module, and in no other way: keys, labels, names
of files and sentences of a service are written by others, and only here is every string printed as it is, without
markup and with its control characters escaped. Files for programs (`--rejections`) hold the same values unchanged.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from app.common.escaping import escape_controls
from app.common.setting_names import misspelt, require_current_names, variable
from app.errors import LookalikeError
from app.observability.log_format import Plain
from app.settings import Settings, variables


class PlainConsole(Console):
    """Console that prints every string as it is: no markup, no emoji codes, control characters escaped.

    Line breaks within a string are escaped too: a text of several lines is printed line by line.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns a string as rich text: those that are printed, and those in cells of tables."""
        return super().render_str(escape_controls(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yields the pieces that are written, with control characters escaped also where no string was rendered."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=self._printable(segment.text))

    def _printable(self, text: str) -> str:
        escaped = "\n".join(map(escape_controls, text.split("\n")))
        # A terminal of a narrower encoding cannot show all letters.
        return escaped.encode(self.encoding, "backslashreplace").decode(self.encoding)


def console() -> Console:
    """Returns a console for results; plain text where it is not a terminal."""
    return PlainConsole()


def prepare_terminal() -> None:
    """Prepares any command: escapes warnings of libraries, refuses renamed settings, and reports unknown ones."""
    # Commands configure no log, so warnings go through Python's handler of last resort.
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Plain())
    given = set(variables())
    try:
        require_current_names(given)
    except LookalikeError as error:
        fail(str(error))
    for sentence in misspelt(given, Settings.model_fields):
        PlainConsole(stderr=True).print(sentence, style="yellow", soft_wrap=True)


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
    except SettingsError as error:
        fail(str(error))


def _setting(place: tuple[int | str, ...]) -> str:
    """Names the variable that a settings error is about; one that is about none in particular has no place."""
    return f"{variable(str(place[0]))}: " if place else ""


def fail(sentence: str) -> None:
    """Prints what went wrong and ends the command; lines are not broken, so that a path in them can be copied."""
    PlainConsole(stderr=True).print(sentence, style="red", soft_wrap=True)
    raise typer.Exit(1)


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


class _Description(ProgressColumn):
    """What is under way; rich's own column would read markup and break lines in it."""

    def render(self, task: Task) -> Text:
        """Shows the description."""
        return Text(escape_controls(task.description))


def progress_bar(*more: ProgressColumn) -> Progress:
    """Returns a progress bar with time spent and time left; `more` columns stand after the number of steps."""
    return Progress(
        _Description(),
        BarColumn(),
        MofNCompleteColumn(),
        *more,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=PlainConsole(stderr=True),
    )
