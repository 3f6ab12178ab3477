"""Terminal output of commands: console, error messages and progress bars.

Commands print only through `console`, `fail` and the progress bars of this module. Keys, labels, file names and error
messages of a service are untrusted text; here every string is printed literally, without markup and with control
characters escaped. Machine-readable files (`--rejections`) hold the same values unchanged.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Annotated, Any, NoReturn

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
from app.common.setting_names import reject_renamed_variables, unknown_variable_warnings, variable
from app.errors import LookalikeError
from app.observability.log_format import EscapingFormatter
from app.settings import Settings, variables

# Whether the service runs the command and reads its progress.
_JSON_PROGRESS = ContextVar("json_progress", default=False)


class PlainConsole(Console):
    """Console that prints every string literally: no markup, no emoji codes, control characters escaped.

    Line breaks within a string are escaped too, so print a text of several lines line by line.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a printed string, or one in a table cell, as rich text with control characters escaped."""
        return super().render_str(escape_controls(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield output segments, with control characters escaped even if they do not come from `render_str`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=self._printable(segment.text))

    def _printable(self, text: str) -> str:
        escaped = "\n".join(map(escape_controls, text.split("\n")))
        # The terminal's encoding may not have all characters.
        return escaped.encode(self.encoding, "backslashreplace").decode(self.encoding)


def console() -> Console:
    """Return a console for results on stdout; plain text if that is not a terminal."""
    return PlainConsole()


def prepare_terminal(
    json_progress: Annotated[
        bool, typer.Option("--json-progress", hidden=True, help="Write progress to stderr as lines of JSON.")
    ] = False,
) -> None:
    """Prepare every command: escape library warnings, reject renamed settings, and warn about unknown ones."""
    _JSON_PROGRESS.set(json_progress)
    # Commands do not configure logging, so warnings go through Python's last-resort handler.
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(EscapingFormatter())
    names = set(variables())
    try:
        reject_renamed_variables(names)
    except LookalikeError as error:
        fail(str(error))
    for warning in unknown_variable_warnings(names, Settings.model_fields):
        notice(warning)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Exit with status 1 and an error message, without a traceback, on an expected error."""
    # Imported here, so that commands that need no model do not wait for torch.
    from models.errors import ModelError

    try:
        yield
    except (LookalikeError, ModelError) as error:
        fail(str(error))
    except ValidationError as error:
        fail("; ".join(_variable_prefix(item["loc"]) + item["msg"] for item in error.errors()))
    except SettingsError as error:
        fail(str(error))


def _variable_prefix(location: tuple[int | str, ...]) -> str:
    """Return the name of the variable that a validation error is about, with a colon; empty without a location."""
    return f"{variable(str(location[0]))}: " if location else ""


def fail(message: str) -> NoReturn:
    """Print an error message and exit with status 1. Lines are not wrapped, so that paths can be copied."""
    PlainConsole(stderr=True).print(message, style="red", soft_wrap=True)
    raise typer.Exit(1)


def notice(message: str) -> None:
    """Print a message about the command's progress to stderr, so that stdout holds results only."""
    PlainConsole(stderr=True).print(message, style="yellow", soft_wrap=True)


def confirmed(question: str) -> bool:
    """Ask a yes-no question on the terminal; no without an answer, as in scripts. The question is printed unchanged."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


@contextmanager
def progress_counter(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; yields a callback that takes the number of finished items and the total."""
    if _JSON_PROGRESS.get():
        yield partial(_print_progress, description)
        return
    with progress_bar() as bar:
        task = bar.add_task(description, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextmanager
def progress_steps() -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar for several steps; yields a callback that takes step name, finished items and total."""
    if _JSON_PROGRESS.get():
        yield _print_progress
        return
    with progress_bar() as bar:
        task = bar.add_task("reading", total=None)

        def report(step: str, done: int, total: int) -> None:
            if bar.tasks[task].description != step:
                bar.reset(task, description=step, total=total)
            bar.update(task, completed=done)

        yield report


def _print_progress(step: str, processed: int, total: int) -> None:
    line = json.dumps({"step": step, "processed": processed, "total": total})
    PlainConsole(stderr=True).print(line, soft_wrap=True)


class _Description(ProgressColumn):
    """Progress column for the task's description; rich's own interprets markup and line breaks in it."""

    def render(self, task: Task) -> Text:
        """Return the description as text."""
        return Text(escape_controls(task.description))


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar with elapsed and remaining time; extra `columns` follow the number of items."""
    return Progress(
        _Description(),
        BarColumn(),
        MofNCompleteColumn(),
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=PlainConsole(stderr=True),
    )
