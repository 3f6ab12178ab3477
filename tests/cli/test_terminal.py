"""Terminal output: error messages, literal text and progress bars."""

import ast
import io
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from rich.table import Table
from rich.text import Text
from typer import Exit

from app.cli.terminal import PlainConsole, exit_on_error, fail, prepare_terminal, progress_counter, progress_steps
from app.tasks.rows import Progress
from app.tasks.runner import parse_progress


class Model(BaseModel):
    port: int = Field(gt=0)
    rate: int


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_validation_error_contains_the_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), exit_on_error():
        Model.model_validate({"port": 0, "rate": "fast"})
    expected = "LOOKALIKE_PORT: Input should be greater than 0; LOOKALIKE_RATE: Input should be"
    assert expected in error_of(capsys)


def test_validation_error_without_a_location_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), exit_on_error():
        TypeAdapter(int).validate_json("<html>")
    assert error_of(capsys).startswith("Invalid JSON")


HOSTILE = "[/x][red]:boom:\x1b[2J\u202e\r\nFAKE\x9b1m\udce9"
SHOWN = "[/x][red]:boom:\\x1b[2J\\u202e\\r\\nFAKE\\x9b1m\\udce9"
CONTROLS = set("\x1b\u202e\r\x9b\udce9")


def printed(show: Callable[[PlainConsole], object], encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    console = PlainConsole()
    console.width, console.file = 200, io.TextIOWrapper(raw, encoding, write_through=True)
    show(console)
    return raw.getvalue().decode(encoding)


def in_table(console: PlainConsole) -> None:
    table = Table("key", HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row("one", HOSTILE)
    console.print(table)


@pytest.mark.parametrize(
    ("show", "times"),
    [
        (lambda console: console.print(HOSTILE), 1),
        (lambda console: console.print(HOSTILE, HOSTILE, style="red", soft_wrap=True), 2),
        (lambda console: console.print(f"a {HOSTILE}", end="!\n"), 1),
        (in_table, 4),
    ],
)
def test_strings_are_printed_literally(show: Callable[[PlainConsole], object], times: int) -> None:
    output = printed(show)
    assert output.count(SHOWN) == times
    assert CONTROLS.isdisjoint(output)


def test_rich_text_is_printed_without_control_characters() -> None:
    assert CONTROLS.isdisjoint(printed(lambda console: console.print(Text(HOSTILE))))


def test_characters_outside_the_terminals_encoding_are_escaped() -> None:
    assert printed(lambda console: console.print("写 é", HOSTILE), "latin-1").startswith("\\u5199 é")
    assert printed(lambda console: console.print("é"), "ascii") == "\\xe9\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich assume a terminal with 200 columns, colours and cursor movement."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("terminal")
def test_own_colours_are_printed_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit):
        fail(HOSTILE)
    assert capsys.readouterr().err == f"\x1b[31m{SHOWN}\x1b[0m\n"


@pytest.mark.usefixtures("terminal")
def test_progress_bars_on_a_terminal_show_text_literally(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_counter(HOSTILE) as report:
        report(1, 2)
    with progress_steps() as report_step:
        report_step(HOSTILE, 1, 2)
    output = capsys.readouterr().err
    assert output.count(SHOWN) > 1
    assert "\x1b[2J" not in output
    assert CONTROLS.intersection(output) <= set("\x1b\r"), "rich uses these to draw the bar"


def test_progress_bars_show_text_literally(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with progress_counter(HOSTILE) as report:
        report(1, 2)
    with progress_steps() as report_step:
        report_step(HOSTILE, 1, 2)
    output = capsys.readouterr().err
    assert output.count(SHOWN) == 2
    assert CONTROLS.isdisjoint(output)


def test_progress_is_written_as_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    prepare_terminal(json_progress=True)
    with progress_counter(HOSTILE) as report, progress_steps() as report_step:
        report(1, 2)
        report_step("fitting codes", 0, 500)
    lines = capsys.readouterr().err.splitlines()
    prepare_terminal()
    assert list(map(json.loads, lines)) == [
        {"step": HOSTILE, "processed": 1, "total": 2},
        {"step": "fitting codes", "processed": 0, "total": 500},
    ]
    assert [parse_progress(line) for line in lines] == [Progress(HOSTILE, 1, 2), Progress("fitting codes", 0, 500)]


def test_error_is_one_line_of_plain_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(Exit):
        fail(HOSTILE)
    assert capsys.readouterr().err == f"{SHOWN}\n"


def test_logged_warning_is_one_line_of_plain_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(sys.stderr))
    prepare_terminal()
    log = logging.Logger("alone")
    log.warning("a file %s", HOSTILE)
    assert capsys.readouterr().err == f"a file {SHOWN}\n"


def test_commands_print_only_through_the_terminal_module() -> None:
    other = {"print", "Console", "Progress", "TextColumn", "echo", "secho"}
    found = {
        (path.name, name)
        for path in (Path(__file__).parents[2] / "app" / "cli").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for name in [node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")]
        if name in other and not (name == "print" and isinstance(node.func, ast.Attribute))
    }
    assert found == {("terminal.py", "Progress")}
