"""Say what a command waits for when a service does not answer."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

# Seconds to wait for a response before a notice is printed.
NOTICE_S = 3.0
# The same after the first response, because a request with many images may take long.
LONG_NOTICE_S = 30.0
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass
class _Wait:
    """A request's wait; `failed` is whether an attempt has failed since the last answer."""

    reason: str = ""
    timer: threading.Timer | None = None
    failed: bool = False


class _Waits(threading.local):
    """The wait of each thread."""

    def __init__(self) -> None:
        self.current = _Wait()


class WaitNotice:
    """Trace of a client's requests that reports long waits; see `trace` of `lookalike_client.Lookalike`.

    A wait lasts over failed attempts until an answer other than 429 and 503, and is reported once. The time in which a
    request's body is sent does not count.

    Args:
        url: the service's address.
        show: prints a sentence; called from another thread.
        delay_s: seconds of waiting after which `show` is called.
    """

    def __init__(self, url: str, show: Callable[[str], None], delay_s: float = NOTICE_S) -> None:
        self._url, self._show, self._delay_s = url, show, delay_s
        self._waits, self._lock = _Waits(), threading.Lock()
        self._answered = self._shown = self._closed = False

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Handle an event of httpcore, such as `connection.connect_tcp.started`."""
        step, _, state = event.rpartition(".")
        if state == "failed":
            self._fail(str(info.get("exception") or step))
        elif event == "connection.connect_tcp.started":
            self._start("it does not accept the connection", self._delay_s)
        elif event in ("connection.connect_tcp.complete", "http11.send_request_headers.started"):
            self._stop()
        elif event == "http11.receive_response_headers.started":
            self._start("it has the request and has not answered yet", self._answer_delay_s)
        elif event == "http11.receive_response_headers.complete":
            self._on_answer(info.get("return_value"))

    def close(self) -> None:
        """Report nothing more."""
        with self._lock:
            self._closed = True

    @property
    def _answer_delay_s(self) -> float:
        return LONG_NOTICE_S if self._answered else self._delay_s

    def _on_answer(self, head: Any) -> None:
        """Handle the head of a response: HTTP version, status, reason phrase, headers."""
        status = head[1] if isinstance(head, tuple) and len(head) > 1 else HTTPStatus.OK
        if status in _BUSY:
            self._fail(f"it answered {status} {HTTPStatus(status).phrase}")
            return
        self._waits.current.failed = False
        self._stop()
        with self._lock:
            self._answered, self._shown = True, False

    def _fail(self, reason: str) -> None:
        self._waits.current.failed = False
        self._start(f"{reason.rstrip('.')}; trying again", self._delay_s)
        self._waits.current.failed = True

    def _start(self, reason: str, delay_s: float) -> None:
        """Set the reason, unless an attempt has failed for another, and start the timer, unless it runs."""
        wait = self._waits.current
        if not wait.failed:
            wait.reason = reason
        if wait.timer is None:
            wait.timer = threading.Timer(delay_s, self._notify, (wait,))
            wait.timer.daemon = True
            wait.timer.start()

    def _stop(self) -> None:
        """Stop the timer, unless it runs since a failed attempt."""
        wait = self._waits.current
        if wait.timer is not None and not wait.failed:
            wait.timer.cancel()
            wait.timer = None

    def _notify(self, wait: _Wait) -> None:
        with self._lock:
            silent, self._shown = self._closed or self._shown, True
        if not silent:
            self._show(f"Waiting for {self._url}: {wait.reason}. Ctrl-C stops.")
