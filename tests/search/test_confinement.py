"""What decodes pictures can reach nothing: no file, no network, no other process; tried in the process itself."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.errors import PictureRefusedError
from app.search.decode.confinement import Confinement, offered
from app.search.decode.image import MEDIA_TYPES, DecodeLimits
from app.search.decode.prepare import InProcess
from app.search.decode.sandbox import Job, Sandbox
from models.network.preprocess import Preprocess
from tests.pictures import corners, every_format
from tests.search.planted import attempts

SIDE = 32
PREPROCESS = Preprocess(SIDE, "stretch", (0, 0, 0), (1, 1, 1))
JOB = Job(PREPROCESS, DecodeLimits())
PLANTED = (sys.executable, "-m", "tests.search.planted")
# What ends the process; the rest fails with an error.
FATAL = (
    "open a socket",
    "open a datagram socket",
    "open a local socket",
    "connect a descriptor that it has",
    "run a program",
    "make a process",
    "signal the parent",
    "trace the parent",
    "copy the parent's memory",
    "ask for asynchronous calls",
)
PICTURES = every_format(corners(300, 200))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with closing(Sandbox(JOB, 1, 60, PLANTED)) as opened:
        yield opened


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("the password")
    return path


def told(sandbox: Sandbox, what: str, path: Path) -> PictureRefusedError:
    with pytest.raises(PictureRefusedError) as refused:
        sandbox(f"tries {what}|{path}".encode())
    return refused.value


def test_this_kernel_offers_what_the_tests_are_about() -> None:
    assert offered().seccomp


@pytest.mark.parametrize("what", [what for what in attempts(Path()) if what not in FATAL])
def test_decoder_that_is_taken_over_cannot_touch_files_or_memory(sandbox: Sandbox, secret: Path, what: str) -> None:
    before = secret.stat()
    assert told(sandbox, what, secret).reason == "EPERM, EPERM"
    assert secret.stat() == before
    assert list(secret.parent.iterdir()) == [secret]
    assert sandbox(PICTURES["JPEG"]).media_type == "image/jpeg"


@pytest.mark.parametrize("what", FATAL)
def test_decoder_that_reaches_for_the_network_or_other_processes_is_ended(
    sandbox: Sandbox, secret: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    assert told(sandbox, what, secret).code == "image_damaged"
    assert "forbidden system call" in caplog.text
    assert sandbox(PICTURES["JPEG"]).media_type == "image/jpeg"


def test_without_confinement_the_same_attempts_succeed(secret: Path) -> None:
    """Else the tests above could not fail."""
    with closing(Sandbox(JOB, 1, 60, (*PLANTED, "no-landlock", "no-seccomp"))) as bare:
        for what in ("read a file", "list a folder", "look at a file", "read the parent's environment", *FATAL[:3]):
            assert told(bare, what, secret).reason == "done, done"


def test_every_format_decodes_to_the_same_pixels(sandbox: Sandbox) -> None:
    here = InProcess(SIDE, lambda image: Image.fromarray(PREPROCESS(image)), JOB.limits)
    seen = set()
    for data in PICTURES.values():
        there, expected = sandbox(data, thumbnail=True), here(data, thumbnail=True)
        np.testing.assert_array_equal(np.asarray(there.image), np.asarray(expected.image))
        assert there.thumbnail == expected.thumbnail
        with pytest.raises(PictureRefusedError, match="damaged or incomplete"):
            sandbox(data[: len(data) // 2])
        seen.add(there.media_type)
    assert seen == MEDIA_TYPES


@pytest.mark.parametrize(
    ("lacks", "confinement"),
    [
        (("no-landlock",), Confinement(0, seccomp=True)),
        (("no-seccomp",), Confinement(offered().landlock, seccomp=False)),
        (("no-landlock", "no-seccomp"), Confinement(0, seccomp=False)),
    ],
)
def test_kernel_that_lacks_something_still_decodes_and_the_log_says_what_holds(
    lacks: tuple[str, ...], confinement: Confinement, secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Sandbox(JOB, 1, 60, (*PLANTED, *lacks))) as sandbox:
        for _ in range(2):
            assert sandbox(PICTURES["PNG"]).media_type == "image/png"
        assert [record.getMessage() for record in caplog.records] == [confinement.sentence]
        assert caplog.records[0].levelno == logging.WARNING
        holds = confinement.seccomp or confinement.landlock
        assert ("done" in told(sandbox, "read a file", secret).reason) == (not holds)


def test_confined_process_uses_descriptors_that_are_open_and_ends_at_its_processor_time(secret: Path) -> None:
    program = (
        "import os, sys\n"
        "from app.search.decode.confinement import confine\n"
        "kept = os.open(sys.argv[1], os.O_RDONLY)\n"
        "confine(10**9, cpu_seconds=1)\n"
        "os.write(1, os.pread(kept, 100, 4))\n"
        "while True: pass\n"
    )
    run = subprocess.run([sys.executable, "-c", program, secret], capture_output=True, timeout=120, check=False)
    assert run.stdout == b"password"
    assert run.returncode < 0


def test_process_with_other_threads_does_not_count_landlock_as_in_force() -> None:
    program = (
        "import json, sys, threading\n"
        "from dataclasses import asdict\n"
        "from app.search.decode.confinement import confine\n"
        "def attempt():\n"
        "    go.wait()\n"
        "    try: open('/etc/passwd'); tried.append('read')\n"
        "    except OSError: tried.append('refused')\n"
        "go, tried = threading.Event(), []\n"
        "other = threading.Thread(target=attempt); other.start()\n"
        "said = confine(10**9); go.set(); other.join()\n"
        "sys.stdout.write(f'{said.landlock} {said.seccomp} {tried[0]}')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120, check=True, text=True)
    assert run.stdout == "0 True refused"


def test_sandbox_and_check_agree_on_what_is_in_force(sandbox: Sandbox) -> None:
    sandbox(PICTURES["JPEG"])
    (process,) = sandbox._idle.queue
    assert process.wait_until_ready() == offered()
