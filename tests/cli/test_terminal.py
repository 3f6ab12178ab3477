"""What commands share: what ends in a sentence, and that text is printed as it is."""

import ast
import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from rich.table import Table
from rich.text import Text
from typer import Exit

from app.cli.terminal import PlainConsole, counting, errors_as_sentences, fail, prepare_terminal, step_by_step


class Set(BaseModel):
    port: int = Field(gt=0)
    rate: int


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_setting_is_named_by_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), errors_as_sentences():
        Set.model_validate({"port": 0, "rate": "fast"})
    sentence = said(capsys)
    assert "LOOKALIKE_PORT: Input should be greater than 0; LOOKALIKE_RATE: Input should be" in sentence


def test_what_is_wrong_with_no_setting_in_particular_is_said_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), errors_as_sentences():
        TypeAdapter(int).validate_json("<html>")
    assert said(capsys).startswith("Invalid JSON")


HOSTILE = "[/x][red]:boom:\x1b[2J\u202e\r\nFAKE\x9b1m\udce9"
SHOWN = "[/x][red]:boom:\\x1b[2J\\u202e\\r\\nFAKE\\x9b1m\\udce9"
STEERING = set("\x1b\u202e\r\x9b\udce9")


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
def test_text_is_printed_as_it_is(show: Callable[[PlainConsole], object], times: int) -> None:
    said = printed(show)
    assert said.count(SHOWN) == times
    assert STEERING.isdisjoint(said)


def test_text_that_is_no_string_steers_nothing_either() -> None:
    assert STEERING.isdisjoint(printed(lambda console: console.print(Text(HOSTILE))))


def test_a_terminal_of_few_letters_shows_the_others_escaped() -> None:
    assert printed(lambda console: console.print("写 é", HOSTILE), "latin-1").startswith("\\u5199 é")
    assert printed(lambda console: console.print("é"), "ascii") == "\\xe9\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rich takes for a terminal of 200 columns, where it colours text and moves the cursor."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_colours_of_our_own_stay(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit):
        fail(HOSTILE)
    assert capsys.readouterr().err == f"\x1b[31m{SHOWN}\x1b[0m\n"


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_progress_bars_show_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with counting(HOSTILE) as counted:
        counted(1, 2)
    with step_by_step() as step:
        step(HOSTILE, 1, 2)
    said = capsys.readouterr().err
    assert said.count(SHOWN) > 1
    assert "\x1b[2J" not in said
    assert STEERING.intersection(said) <= set("\x1b\r"), "those with which rich draws the bar"


def test_progress_bars_show_text_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with counting(HOSTILE) as counted:
        counted(1, 2)
    with step_by_step() as step:
        step(HOSTILE, 1, 2)
    said = capsys.readouterr().err
    assert said.count(SHOWN) == 2
    assert STEERING.isdisjoint(said)


def test_a_failure_is_a_line_of_plain_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(Exit):
        fail(HOSTILE)
    assert capsys.readouterr().err == f"{SHOWN}\n"


def test_warnings_of_a_command_are_lines_of_plain_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "lastResort", logging._StderrHandler(logging.WARNING))  # type: ignore[attr-defined]
    prepare_terminal()
    log = logging.Logger("alone")
    log.warning("a file %s", HOSTILE)
    assert capsys.readouterr().err == f"a file {SHOWN}\n"


def test_commands_print_in_no_other_way() -> None:
    other = {"print", "Console", "Progress", "TextColumn", "echo", "secho"}
    found = {
        (path.name, name)
        for path in (Path(__file__).parents[2] / "app" / "cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for name in [node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")]
        if name in other and not (name == "print" and isinstance(node.func, ast.Attribute))
    }
    assert found == {("terminal.py", "Progress")}
