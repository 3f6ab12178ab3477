"""How the log looks: sentences on a terminal, JSON elsewhere, and both say to which request a line belongs."""

import json
import logging
import logging.config
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.observability.log_format import ABOUT, REQUEST_ID, Form, Json, Plain, Text, configuration


def record(message: str = "%d pictures", *given: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("app.here", logging.WARNING, "here.py", 1, message, given, None)
    made.__dict__.update(more)
    return made


@pytest.fixture
def within_a_request() -> Iterator[None]:
    before = ABOUT.set({REQUEST_ID: "abc"})
    yield
    ABOUT.reset(before)


def test_a_line_of_json_is_an_object() -> None:
    line = json.loads(Json().format(record("%d pictures", 3)))
    assert (line["level"], line["logger"], line["message"]) == ("warning", "app.here", "3 pictures")
    assert REQUEST_ID not in line


def test_a_line_of_json_is_one_line_whatever_it_says() -> None:
    formatted = Json().format(record("one\ntwo \u2028 \x1b[31m"))
    assert "\n" not in formatted
    assert json.loads(formatted)["message"] == "one\ntwo \u2028 \x1b[31m"


def test_what_cannot_be_json_is_text() -> None:
    assert json.loads(Json().format(record("x", fields={"path": object})))["path"] == str(object)


@pytest.mark.usefixtures("within_a_request")
def test_both_forms_say_to_which_request_a_line_belongs() -> None:
    assert json.loads(Json().format(record("x")))[REQUEST_ID] == "abc"
    assert Text("%(levelprefix)s %(message)s", use_colors=False).format(record("x")) == "WARNING:  x [abc]"


def test_outside_of_requests_text_is_as_ever() -> None:
    assert Text("%(levelprefix)s %(message)s", use_colors=False).format(record("x")) == "WARNING:  x"


@pytest.mark.parametrize(
    ("form", "terminal", "expected"),
    [
        ("auto", True, Text),
        ("auto", False, Json),
        ("text", False, Text),
        ("json", True, Json),
    ],
)
def test_a_terminal_gets_sentences_unless_somebody_says_otherwise(
    form: Form, terminal: bool, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    made = configuration(form)["formatters"]["default"]["()"]
    assert made == f"app.observability.log_format.{expected.__name__}"


SAYING = """
import logging, logging.config
from app.observability.log_format import configuration
logging.config.dictConfig(configuration("json"))
logging.getLogger("app.x").info("ours")
logging.getLogger("uvicorn.error").info("the server's")
logging.getLogger("sqlalchemy.pool").info("chatter")
logging.getLogger("sqlalchemy.pool").warning("somebody else's")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("app.x").exception("failed")
"""


def test_everything_that_is_logged_is_of_the_form() -> None:
    done = subprocess.run([sys.executable, "-c", SAYING], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["ours", "the server's", "somebody else's", "failed"]
    assert "ZeroDivisionError" in lines[-1]["exception"]
    assert done.stdout == ""


HOSTILE = "one\nERROR:    forged\r\x1b[2J\u202e\x85two"


@pytest.mark.usefixtures("within_a_request")
@pytest.mark.parametrize("colours", [True, False])
def test_a_line_of_text_is_one_line_whatever_it_says(colours: bool) -> None:
    made = record("%s of %s", HOSTILE, HOSTILE, color_message="\x1b[1m%s\x1b[0m of %s")
    line = Text("%(levelprefix)s %(message)s", use_colors=colours).format(made)
    shown = "one\\nERROR:    forged\\r\\x1b[2J\\u202e\\x85two"
    assert line.partition(" ")[2].lstrip() == f"{shown} of {shown} [abc]"
    assert made.getMessage() == f"{HOSTILE} of {HOSTILE}", "others that format the same record are not affected"


@pytest.mark.parametrize("form", [Text("%(message)s", use_colors=False), Plain()])
def test_a_traceback_cannot_forge_a_line(form: logging.Formatter) -> None:
    made = record("failed")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        made.exc_info = sys.exc_info()
    first, *rest = form.format(made).split("\n")
    assert first == "failed"
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
    assert any("ERROR:    forged" in line for line in rest)
