"""Starts beside busy processes, starts that hang, and starts that are cut off: each ends within its time.

`TORTURE_STARTS` says how many starts of the encoder there are, `TORTURE_SERVES` how many of the whole service, and
`TORTURE_CUT_STARTS` how many are cut off; `make torture` asks for more.
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

STARTS = int(os.environ.get("TORTURE_STARTS", "10"))
SERVES = int(os.environ.get("TORTURE_SERVES", "1"))
CUT_STARTS = int(os.environ.get("TORTURE_CUT_STARTS", "3"))
BUSY = 4
# What a start may take on two cores with six processes on them; a hang would take for ever.
START_S = 120
END_S = 5
ENCODER = (
    "import sys; from pathlib import Path; from app.search.encode.batching import open_encoder\n"
    "open_encoder(sys.argv[1], 'cpu', 'f32', Path(sys.argv[2]))[0].close()"
)
# Python imports a module of this name by itself. Where the server, which has its signal handlers by then, opens the
# database, sleep holds the interpreter: no other thread and no Python signal handler runs any more.
HOLDS_THE_INTERPRETER = """
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
# Sends itself a signal when asyncio has set its handler, or uvicorn has, before the first step of a start.
SIGNALS_ITSELF = """
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
    """Processes that take all the time of the cores that they can get."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    yield
    for process in processes:
        process.kill()
        process.wait()


@contextmanager
def starting(data: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """`lookalike serve`, which nothing waits for; killed at the end if it still runs."""
    environment = {"LOOKALIKE_DATA_DIR": str(data), "LOOKALIKE_PORT": str(free_port()), "LOOKALIKE_DEMO": "off"}
    with log_of(data).open("ab") as log:
        command = [sys.executable, "-m", "app.cli.main", "serve"]
        process = subprocess.Popen(command, env=os.environ | environment | variables, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def log_of(data: Path) -> Path:
    return data.with_name("start.log")


def wait_until(met: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def nothing_runs(data: Path) -> bool:
    return not processes_of(data)


@pytest.mark.timeout(STARTS * START_S)
def test_the_encoder_starts_beside_busy_processes(tmp_path: Path, busy: None) -> None:
    make_checkpoint(tmp_path / "own")
    for _ in range(STARTS):
        command = [sys.executable, "-c", ENCODER, str(tmp_path / "own"), str(tmp_path / "networks")]
        subprocess.run(command, timeout=START_S, check=True)


@pytest.mark.timeout(SERVES * 2 * START_S)
def test_the_service_starts_beside_busy_processes(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with running_server(tmp_path / "data", LOOKALIKE_DEMO="off"):
        """Has the network converted, which takes most of a first start."""
    request.getfixturevalue("busy")
    for _ in range(SERVES):
        with running_server(tmp_path / "data", LOOKALIKE_DEMO="off") as (_, process):
            assert process.poll() is None
        assert process.returncode == 0


@pytest.mark.timeout(CUT_STARTS * START_S)
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_start_at_any_point(tmp_path: Path, ending: signal.Signals) -> None:
    data, chance = tmp_path / "data", random.Random(20)
    for _ in range(CUT_STARTS):
        with starting(data) as process:
            time.sleep(chance.uniform(0, 8))
            process.send_signal(ending)
            assert process.wait(END_S) in (0, 128 + ending, -ending, -signal.SIGTERM)
        wait_until(partial(nothing_runs, data))
    with running_server(data, LOOKALIKE_DEMO="off"):
        """The starts that were cut off left nothing that keeps the next one from succeeding."""


@pytest.mark.parametrize(
    ("handler", "ending"), [("asyncio", signal.SIGINT), ("uvicorn", signal.SIGINT), ("uvicorn", signal.SIGTERM)]
)
def test_a_signal_that_a_library_only_notes_ends_a_start(tmp_path: Path, handler: str, ending: signal.Signals) -> None:
    data = tmp_path / "data"
    (tmp_path / "sitecustomize.py").write_text(SIGNALS_ITSELF)
    with starting(data, PYTHONPATH=str(tmp_path), HANDLER=handler, ENDING=str(int(ending))) as process:
        # By the signal itself where asyncio has left its default action in force.
        assert process.wait(START_S) in (-signal.SIGTERM, -ending)
    wait_until(partial(nothing_runs, data))
    assert "the start was interrupted while" in log_of(data).read_text()


def test_a_signal_ends_a_start_that_hangs_with_the_interpreter_held(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOLDS_THE_INTERPRETER)
    data = tmp_path / "data"
    stuck = tmp_path / "stuck"
    with starting(data, PYTHONPATH=str(tmp_path), STUCK=str(stuck)) as process:
        wait_until(stuck.exists)
        process.terminate()
        assert process.wait(END_S) == -signal.SIGTERM
    wait_until(partial(nothing_runs, data))
    assert "while opening the database" in log_of(data).read_text()


def test_a_start_that_hangs_ends_at_its_deadline_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOLDS_THE_INTERPRETER)
    data = tmp_path / "data"
    variables = {
        "PYTHONPATH": str(tmp_path),
        "STUCK": str(tmp_path / "stuck"),
        "LOOKALIKE_STARTUP_STEP_TIMEOUT_SECONDS": "30",
    }
    with starting(data, **variables) as process:
        assert process.wait(START_S) == 1
    wait_until(partial(nothing_runs, data))
    said = log_of(data).read_text()
    assert "opening the database" in said
    assert "LOOKALIKE_STARTUP_STEP_TIMEOUT_SECONDS" in said
    assert "in stuck" in said, "the stacks of all threads"
