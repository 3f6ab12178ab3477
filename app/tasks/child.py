"""Commands of this program as child processes, with the settings of the service.

A process of its own can have a lower priority than searches, and gives its memory back.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from app.common.setting_names import PREFIX
from app.settings import Settings

COMMAND = (sys.executable, "-P", "-m", "app.cli.main")
_POLL_S, _STOP_S = 0.5, 10.0
_LOWEST_PRIORITY = 19
# A process of the lowest priority may take many times as long to start on a busy machine.
_START_FACTOR = 10


@dataclass(frozen=True)
class ChildResult:
    """Result of a child process: its exit status, what it printed, and its last line on stderr."""

    status: int
    output: str
    error: str


def environment_of(settings: Settings) -> dict[str, str]:
    """Return this process's environment with the given settings, for a command that must work on the same catalogue."""
    values = settings.model_dump(mode="json") | {"data_dir": str(settings.data_dir.resolve())}
    given = {
        f"{PREFIX}{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | given


def run_child(
    command: Sequence[str],
    settings: Settings,
    stopped: Callable[[], bool],
    is_progress: Callable[[str], bool] = lambda _: False,
    *,
    lowest_priority: bool = True,
) -> ChildResult:
    """Run a command until it ends.

    Args:
        command: program and arguments.
        settings: the settings that it gets.
        stopped: polled twice a second; once it returns True, the process is ended.
        is_progress: called with each line on stderr, in another thread; returns whether it reports progress, so that it
            is not an error.
        lowest_priority: whether all other processes of the machine go first.
    """
    patient = {"startup_step_timeout_seconds": _START_FACTOR * settings.startup_step_timeout_seconds}
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(  # noqa: S603 - no shell; this Python runs our own command, and a model's name is one of those that the service lists
            command,
            env=environment_of(settings.model_copy(update=patient)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
    ):
        if lowest_priority:
            os.setpriority(os.PRIO_PROCESS, process.pid, _LOWEST_PRIORITY)
        errors = [""]
        reader = threading.Thread(target=_read_errors, args=(process.stderr, is_progress, errors), daemon=True)
        reader.start()
        _wait(process, stopped)
        reader.join(_STOP_S)
        output.seek(0)
        return ChildResult(process.returncode, output.read().strip(), errors[-1])


def _read_errors(lines: IO[str] | None, is_progress: Callable[[str], bool], errors: list[str]) -> None:
    """Keep the last line that is neither progress nor empty."""
    for line in map(str.strip, lines or ()):
        if line and not is_progress(line):
            errors[:] = [line]


def _wait(process: subprocess.Popen[str], stopped: Callable[[], bool]) -> None:
    while process.poll() is None and not stopped():
        _wait_at_most(process, _POLL_S)
    process.terminate()
    if not _wait_at_most(process, _STOP_S):
        process.kill()
        process.wait()


def _wait_at_most(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait for a process; return False if it has not ended in time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
