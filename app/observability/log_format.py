"""Log formatters: text for terminals, or one JSON object per line.

Messages contain untrusted text such as file names, keys and addresses. In text format, control characters in messages
are escaped and tracebacks are indented, so that they can neither forge a log line nor send escape sequences to a
terminal. JSON escapes them by itself.

The context variable `ABOUT` holds attributes of the current request, such as its id. They are added to every line that
is logged while the request is handled, in any thread.
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

LogFormat = Literal["auto", "text", "json"]

REQUEST_ID = "request_id"
LOG_CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


class EscapingFormatter(logging.Formatter):
    """Formatter that escapes control characters in messages and tracebacks."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        return super().formatMessage(_escaped(record))

    def formatException(self, ei: Any) -> str:
        """Format a traceback, indented."""
        return _indented(super().formatException(ei))


class TextFormatter(DefaultFormatter):
    """uvicorn's text format with control characters escaped and the request id appended."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        line = super().formatMessage(_escaped(record))
        request_id = LOG_CONTEXT.get().get(REQUEST_ID)
        return line if request_id is None else f"{line} [{request_id}]"

    def formatException(self, ei: Any) -> str:
        """Format a traceback, indented."""
        return _indented(super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """JSON Lines format: time, level, logger, message, process, request attributes, extra fields and exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **LOG_CONTEXT.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _escaped(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of the record with control characters in the message escaped."""
    escaped = copy(record)
    escaped.message = escape_controls(record.getMessage())
    # uvicorn's colours within a message cannot be distinguished from injected ones; the level keeps its colour.
    escaped.__dict__.pop("color_message", None)
    return escaped


def _indented(traceback: str) -> str:
    return "\n".join(f"  {escape_controls(line)}" for line in traceback.split("\n"))


def logging_config(form: LogFormat) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`; `auto` is text on a terminal, else JSON."""
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    formatters = {
        "text": {"()": f"{__name__}.TextFormatter", "fmt": "%(levelprefix)s %(message)s"},
        "json": {"()": f"{__name__}.JsonFormatter"},
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
