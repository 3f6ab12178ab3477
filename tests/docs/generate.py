"""Writes the generated pages: docs/cli.md from the commands and docs/settings.md from the settings.

    python -m tests.docs.generate

Run it after a change to a command or a setting; a test compares the pages with what this makes.
"""

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

from app.cli.main import app
from tests.docs import settings_page
from tests.docs.table import cell

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
HEAD = """# Command line

Every command tells the same with `--help`. A command that fails says why in a sentence and ends with 1. This page is
made from the commands themselves by `python -m tests.docs.generate`.
"""
# Every command has it, and the head of the page says so.
NOT_SHOWN = "help"


def page() -> str:
    """Returns the page."""
    group = typer.main.get_command(app)
    return "\n".join([HEAD, *sections(group, typer.Context(group, info_name="lookalike"))])


def sections(group: object, context: typer.Context) -> Iterator[str]:
    """Yields a section for each command of a group, and of the groups in it."""
    assert isinstance(group, TyperGroup)
    for name in group.list_commands(context):
        command = group.commands[name]
        below = typer.Context(command, parent=context, info_name=name)
        if isinstance(command, TyperGroup):
            yield from sections(command, below)
        else:
            assert isinstance(command, TyperCommand)
            yield section(command, below)


def section(command: TyperCommand, context: typer.Context) -> str:
    """Returns what a command says of itself."""
    usage = command.get_usage(context).removeprefix("Usage: ")
    records = [param.get_help_record(context) for param in command.get_params(context) if param.name != NOT_SHOWN]
    rows = [f"| `{cell(words)}` | {cell(meaning)} |" for words, meaning in filter(None, records)]
    table = ["| argument or option | meaning |", "| --- | --- |", *rows, ""] if rows else []
    head = [f"## {context.command_path}", "", command.help or "", "", "```text", " ".join(usage.split()), "```", ""]
    return "\n".join([*head, *table])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    settings_page.PAGE.write_text(settings_page.settings_page(), encoding="utf-8")
