"""How the log looks: sentences for people, or one JSON object a line for programs.

Messages hold what others wrote: names of files, keys, addresses. As text a message is one line with its control
characters escaped, and a traceback is indented, so that neither can be taken for a line of the log or steer a terminal;
as JSON the same holds by itself.

What is known of the request that a line belongs to stands in `ABOUT`, and goes with every line that is written
meanwhile, in whatever thread the request is worked on.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from copy import copy
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from uvicorn.logging import DefaultFormatter

from app.common.escaping import escape_controls

Form = Literal["auto", "text", "json"]

REQUEST_ID = "request_id"
ABOUT: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


class Plain(logging.Formatter):
    """Messages and tracebacks with control characters escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns a line."""
        return super().formatMessage(_escaped(record))

    def formatException(self, ei: Any) -> str:
        """Returns a traceback, indented."""
        return _indented(super().formatException(ei))


class Text(DefaultFormatter):
    """Sentences, as uvicorn writes them, and the id of the request where there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns a line."""
        line = super().formatMessage(_escaped(record))
        request_id = ABOUT.get().get(REQUEST_ID)
        return line if request_id is None else f"{line} [{request_id}]"

    def formatException(self, ei: Any) -> str:
        """Returns a traceback, indented."""
        return _indented(super().formatException(ei))


class Json(logging.Formatter):
    """An object a line: time, level, logger and message, what is known of the request, and what went wrong."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns a line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **ABOUT.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _escaped(record: logging.LogRecord) -> logging.LogRecord:
    """Returns a record whose message has its control characters escaped."""
    shown = copy(record)
    shown.message = escape_controls(record.getMessage())
    # uvicorn's own colours within a message could not be told from those of others; the level keeps its colour.
    shown.__dict__.pop("color_message", None)
    return shown


def _indented(traceback: str) -> str:
    return "\n".join(f"  {escape_controls(line)}" for line in traceback.split("\n"))


def configuration(form: Form) -> dict[str, Any]:
    """Returns what `logging.config.dictConfig` makes such a log of; `auto` is text on a terminal, else JSON."""
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    formatters = {
        "text": {"()": f"{__name__}.Text", "fmt": "%(levelprefix)s %(message)s"},
        "json": {"()": f"{__name__}.Json"},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"default": formatters[form]},
        "handlers": {
            "default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"}
        },
        "root": {"handlers": ["default"], "level": "WARNING"},
        "loggers": {name: {"level": "INFO"} for name in ("app", "uvicorn")},
    }
