"""Starts on a busy machine, hanging starts and interrupted starts end in time.

`TORTURE_STARTS` sets the number of encoder starts, `TORTURE_SERVES` that of service starts, and `TORTURE_CUT_STARTS`
that of interrupted starts; `make torture` sets more.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.cli.test_serve import processes_of
from tests.conftest import free_port, running_server
from tests.upgrade.record import make_checkpoint

STARTS = int(os.environ.get("TORTURE_STARTS", "4"))
SERVES = int(os.environ.get("TORTURE_SERVES", "1"))
CUT_STARTS = int(os.environ.get("TORTURE_CUT_STARTS", "3"))
BUSY = 4
# Generous for two cores with six processes; only a hang takes longer.
START_S = 120
# Generous for a machine that runs other tests too.
END_S = 30
ENCODER = (
    "import sys; from pathlib import Path; from app.search.encode.batching import open_encoder\n"
    "open_encoder(sys.argv[1], 'cpu', 'f32', Path(sys.argv[2]))[0].close()"
)
# Run as sitecustomize.py. When the server, with its signal handlers set, opens the database, sleep holds the GIL: no
# other thread and no Python signal handler can run.
HOLDS_THE_GIL = """
import ctypes, fcntl, os, pathlib, sys, threading
flock = fcntl.flock
def stuck(*arguments):
    opening = sys._getframe(1).f_globals["__name__"] == "app.catalogue.embedded.postgres"
    if opening and threading.current_thread().name.startswith("AnyIO"):
        pathlib.Path(os.environ["STUCK"]).touch()
        ctypes.PyDLL(None).sleep(600)
    flock(*arguments)
fcntl.flock = stuck
"""
# Raises a signal once asyncio or uvicorn has set its handler, before the first step of a start.
RAISES_SIGNAL = """
import contextlib, os, signal, sys
if "serve" in sys.orig_argv:
    import uvicorn
    capture_signals = uvicorn.Server.capture_signals
    @contextlib.contextmanager
    def signalled(server):
        if os.environ["HANDLER"] == "asyncio":
            signal.raise_signal(int(os.environ["ENDING"]))
        with capture_signals(server):
            if os.environ["HANDLER"] == "uvicorn":
                signal.raise_signal(int(os.environ["ENDING"]))
            yield
    uvicorn.Server.capture_signals = signalled
"""


@pytest.fixture
def busy() -> Iterator[None]:
    """Processes that keep all cores busy."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    yield
    for process in processes:
        process.kill()
        process.wait()


@contextmanager
def starting(data: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start `lookalike serve` without waiting until it is ready; kill it at the end."""
    environment = {"LOOKALIKE_DATA_DIR": str(data), "LOOKALIKE_PORT": str(free_port()), "LOOKALIKE_DEMO": "off"}
    # A shell lets commands in the background ignore SIGINT, and what they start inherits that, unless it is handled.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with log_of(data).open("ab") as log:
        command = [sys.executable, "-m", "app.cli.main", "serve"]
        process = subprocess.Popen(command, env=os.environ | environment | variables, stdout=log, stderr=log)
    signal.signal(signal.SIGINT, inherited)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def log_of(data: Path) -> Path:
    return data.with_name("start.log")


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def nothing_runs(data: Path) -> bool:
    return not processes_of(data)


@pytest.mark.timeout(STARTS * START_S)
def test_encoder_starts_on_a_busy_machine(tmp_path: Path, busy: None) -> None:
    make_checkpoint(tmp_path / "own")
    for _ in range(STARTS):
        command = [sys.executable, "-c", ENCODER, str(tmp_path / "own"), str(tmp_path / "networks")]
        subprocess.run(command, timeout=START_S, check=True)


@pytest.mark.timeout(SERVES * 2 * START_S)
def test_service_starts_on_a_busy_machine(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with running_server(tmp_path / "data", LOOKALIKE_DEMO="off"):
        """Convert the network, which takes most of a first start."""
    request.getfixturevalue("busy")
    for _ in range(SERVES):
        with running_server(tmp_path / "data", LOOKALIKE_DEMO="off") as (_, process):
            assert process.poll() is None
        assert process.returncode == 0


@pytest.mark.timeout(CUT_STARTS * START_S)
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_start_at_any_point(tmp_path: Path, ending: signal.Signals) -> None:
    data, chance = tmp_path / "data", random.Random(20)
    for _ in range(CUT_STARTS):
        with starting(data) as process:
            time.sleep(chance.uniform(0, 8))
            process.send_signal(ending)
            assert process.wait(END_S) in (0, 128 + ending, -ending, -signal.SIGTERM)
        wait_until(partial(nothing_runs, data))
    with running_server(data, LOOKALIKE_DEMO="off"):
        """The interrupted starts do not prevent the next one."""


@pytest.mark.parametrize(
    ("handler", "ending"), [("asyncio", signal.SIGINT), ("uvicorn", signal.SIGINT), ("uvicorn", signal.SIGTERM)]
)
def test_signal_deferred_by_a_library_ends_a_start(tmp_path: Path, handler: str, ending: signal.Signals) -> None:
    data = tmp_path / "data"
    (tmp_path / "sitecustomize.py").write_text(RAISES_SIGNAL)
    with starting(data, PYTHONPATH=str(tmp_path), HANDLER=handler, ENDING=str(int(ending))) as process:
        # Ended by the signal itself if asyncio keeps its default action.
        assert process.wait(START_S) in (-signal.SIGTERM, -ending)
    wait_until(partial(nothing_runs, data))
    assert "the start was interrupted while" in log_of(data).read_text()


def test_signal_ends_a_start_that_hangs_holding_the_gil(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOLDS_THE_GIL)
    data = tmp_path / "data"
    stuck = tmp_path / "stuck"
    with starting(data, PYTHONPATH=str(tmp_path), STUCK=str(stuck)) as process:
        wait_until(stuck.exists)
        process.terminate()
        assert process.wait(END_S) == -signal.SIGTERM
    wait_until(partial(nothing_runs, data))
    assert "while opening the database" in log_of(data).read_text()


def test_hanging_start_ends_at_its_deadline_with_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOLDS_THE_GIL)
    data = tmp_path / "data"
    variables = {
        "PYTHONPATH": str(tmp_path),
        "STUCK": str(tmp_path / "stuck"),
        "LOOKALIKE_STARTUP_STEP_TIMEOUT_SECONDS": "30",
    }
    with starting(data, **variables) as process:
        assert process.wait(START_S) == 1
    wait_until(partial(nothing_runs, data))
    output = log_of(data).read_text()
    assert "opening the database" in output
    assert "LOOKALIKE_STARTUP_STEP_TIMEOUT_SECONDS" in output
    assert "in stuck" in output, "the stacks of all threads"
