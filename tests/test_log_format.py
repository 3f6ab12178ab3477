"""Log formats: text on a terminal, JSON elsewhere, both with the request id."""

import json
import logging
import logging.config
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.observability.log_format import (
    LOG_CONTEXT,
    REQUEST_ID,
    EscapingFormatter,
    JsonFormatter,
    LogFormat,
    TextFormatter,
    logging_config,
)


def record(message: str = "%d images", *args: object, **attributes: object) -> logging.LogRecord:
    created = logging.LogRecord("app.here", logging.WARNING, "here.py", 1, message, args, None)
    created.__dict__.update(attributes)
    return created


@pytest.fixture
def within_a_request() -> Iterator[None]:
    before = LOG_CONTEXT.set({REQUEST_ID: "abc"})
    yield
    LOG_CONTEXT.reset(before)


def test_json_line_is_an_object() -> None:
    line = json.loads(JsonFormatter().format(record("%d images", 3)))
    assert (line["level"], line["logger"], line["message"]) == ("warning", "app.here", "3 images")
    assert REQUEST_ID not in line


def test_json_message_with_newlines_is_one_line() -> None:
    formatted = JsonFormatter().format(record("one\ntwo \u2028 \x1b[31m"))
    assert "\n" not in formatted
    assert json.loads(formatted)["message"] == "one\ntwo \u2028 \x1b[31m"


def test_values_that_are_not_json_are_logged_as_text() -> None:
    assert json.loads(JsonFormatter().format(record("x", fields={"path": object})))["path"] == str(object)


@pytest.mark.usefixtures("within_a_request")
def test_both_formats_contain_the_request_id() -> None:
    assert json.loads(JsonFormatter().format(record("x")))[REQUEST_ID] == "abc"
    assert TextFormatter("%(levelprefix)s %(message)s", use_colors=False).format(record("x")) == "WARNING:  x [abc]"


def test_text_outside_of_requests_has_no_request_id() -> None:
    assert TextFormatter("%(levelprefix)s %(message)s", use_colors=False).format(record("x")) == "WARNING:  x"


@pytest.mark.parametrize(
    ("form", "terminal", "expected"),
    [
        ("auto", True, TextFormatter),
        ("auto", False, JsonFormatter),
        ("text", False, TextFormatter),
        ("json", True, JsonFormatter),
    ],
)
def test_auto_is_text_on_a_terminal_and_json_elsewhere(
    form: LogFormat, terminal: bool, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    created = logging_config(form)["formatters"]["default"]["()"]
    assert created == f"app.observability.log_format.{expected.__name__}"


LOGGING_PROGRAM = """
import logging, logging.config
from app.observability.log_format import logging_config
logging.config.dictConfig(logging_config("json"))
logging.getLogger("app.x").info("ours")
logging.getLogger("uvicorn.error").info("the server's")
logging.getLogger("sqlalchemy.pool").info("details")
logging.getLogger("sqlalchemy.pool").warning("a library's")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("app.x").exception("failed")
"""


def test_all_loggers_use_the_configured_format() -> None:
    done = subprocess.run([sys.executable, "-c", LOGGING_PROGRAM], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["ours", "the server's", "a library's", "failed"]
    assert "ZeroDivisionError" in lines[-1]["exception"]
    assert done.stdout == ""


HOSTILE = "one\nERROR:    forged\r\x1b[2J\u202e\x85two"


@pytest.mark.usefixtures("within_a_request")
@pytest.mark.parametrize("colours", [True, False])
def test_text_message_with_control_characters_is_one_line(colours: bool) -> None:
    created = record("%s of %s", HOSTILE, HOSTILE, color_message="\x1b[1m%s\x1b[0m of %s")
    line = TextFormatter("%(levelprefix)s %(message)s", use_colors=colours).format(created)
    shown = "one\\nERROR:    forged\\r\\x1b[2J\\u202e\\x85two"
    assert line.partition(" ")[2].lstrip() == f"{shown} of {shown} [abc]"
    assert created.getMessage() == f"{HOSTILE} of {HOSTILE}", "the record itself is unchanged for other handlers"


@pytest.mark.parametrize("form", [TextFormatter("%(message)s", use_colors=False), EscapingFormatter()])
def test_traceback_cannot_forge_a_log_line(form: logging.Formatter) -> None:
    created = record("failed")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        created.exc_info = sys.exc_info()
    first, *rest = form.format(created).split("\n")
    assert first == "failed"
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
    assert any("ERROR:    forged" in line for line in rest)
