"""Generate docs/cli.md from the commands and docs/settings.md from the settings.

    python -m tests.docs.generate

Run it after a change to a command or a setting; a test checks that the pages are up to date.
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

Every command shows this help with `--help`. A command that fails prints an error message and exits with 1. This page is
generated from the commands by `python -m tests.docs.generate`.
"""
# `--help`, which every command has; the head of the page describes it.
NOT_SHOWN = "help"


def page() -> str:
    """Return the page of the command line."""
    group = typer.main.get_command(app)
    return "\n".join([HEAD, *sections(group, typer.Context(group, info_name="lookalike"))])


def sections(group: object, context: typer.Context) -> Iterator[str]:
    """Yield a section for each command of a group, recursively."""
    assert isinstance(group, TyperGroup)
    for name in group.list_commands(context):
        command = group.commands[name]
        child = typer.Context(command, parent=context, info_name=name)
        if isinstance(command, TyperGroup):
            yield from sections(command, child)
        else:
            assert isinstance(command, TyperCommand)
            yield section(command, child)


def section(command: TyperCommand, context: typer.Context) -> str:
    """Return a command's help as a section."""
    usage = command.get_usage(context).removeprefix("Usage: ")
    records = [param.get_help_record(context) for param in command.get_params(context) if param.name != NOT_SHOWN]
    rows = [f"| `{cell(words)}` | {cell(meaning)} |" for words, meaning in filter(None, records)]
    table = ["| argument or option | meaning |", "| --- | --- |", *rows, ""] if rows else []
    head = [f"## {context.command_path}", "", command.help or "", "", "```text", " ".join(usage.split()), "```", ""]
    return "\n".join([*head, *table])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    settings_page.PAGE.write_text(settings_page.settings_page(), encoding="utf-8")
