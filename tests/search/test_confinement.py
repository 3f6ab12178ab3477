"""Decode processes cannot access files, the network or other processes; attacks run inside the process."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from app.errors import ImageRejectedError
from app.search.decode.confinement import Confinement, probe_confinement
from app.search.decode.formats import MEDIA_TYPES
from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from app.search.decode.sandbox import DecodeConfig, Sandbox
from models.network.preprocess import Preprocess
from tests.images import corners, encoded, every_format
from tests.search.faulty_worker import attacks

SIDE = 32
PREPROCESS = Preprocess(SIDE, "stretch", (0, 0, 0), (1, 1, 1))
JOB = DecodeConfig(PREPROCESS, DecodeLimits())
FAULTY = (sys.executable, "-m", "tests.search.faulty_worker")
# Attacks that end the process; the others fail with an error.
FATAL = (
    "open a socket",
    "open a datagram socket",
    "open a local socket",
    "connect an open descriptor",
    "run a program",
    "fork",
    "signal the parent",
    "trace the parent",
    "copy the parent's memory",
    "set up io_uring",
)
IMAGES = every_format(corners(300, 200))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with closing(Sandbox(JOB, 1, 60, FAULTY)) as opened:
        yield opened


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("the password")
    return path


def attempt(sandbox: Sandbox, name: str, path: Path) -> ImageRejectedError:
    with pytest.raises(ImageRejectedError) as refused:
        sandbox(f"tries {name}|{path}".encode())
    return refused.value


def test_this_kernel_supports_seccomp() -> None:
    assert probe_confinement().seccomp


@pytest.mark.parametrize("name", [name for name in attacks(Path()) if name not in FATAL])
def test_exploited_decoder_cannot_access_files_or_memory(sandbox: Sandbox, secret: Path, name: str) -> None:
    before = secret.stat()
    assert attempt(sandbox, name, secret).reason == "EPERM, EPERM"
    assert secret.stat() == before
    assert list(secret.parent.iterdir()) == [secret]
    assert sandbox(IMAGES["JPEG"]).media_type == "image/jpeg"


@pytest.mark.parametrize("name", FATAL)
def test_decoder_that_accesses_the_network_or_other_processes_is_killed(
    sandbox: Sandbox, secret: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    assert attempt(sandbox, name, secret).code == "image_damaged"
    assert "forbidden system call" in caplog.text
    assert sandbox(IMAGES["JPEG"]).media_type == "image/jpeg"


def test_without_confinement_the_same_attacks_succeed(secret: Path) -> None:
    """Without this, the tests above might not be able to fail."""
    with closing(Sandbox(JOB, 1, 60, (*FAULTY, "no-landlock", "no-seccomp"))) as bare:
        for name in ("read a file", "list a folder", "stat a file", "read the parent's environment", *FATAL[:3]):
            assert attempt(bare, name, secret).reason == "done, done"


def test_every_format_decodes_to_the_same_pixels(sandbox: Sandbox) -> None:
    here = InProcessPreparer(PREPROCESS, JOB.limits)
    seen = set()
    for data in IMAGES.values():
        there, expected = sandbox(data, thumbnail=True), here(data, thumbnail=True)
        np.testing.assert_array_equal(np.asarray(there.image), np.asarray(expected.image))
        assert there.thumbnail == expected.thumbnail
        with pytest.raises(ImageRejectedError, match="damaged or incomplete"):
            sandbox(data[: len(data) // 2])
        seen.add(there.media_type)
    assert seen == MEDIA_TYPES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_orientation_is_read_as_without_confinement(sandbox: Sandbox, kind: str) -> None:
    """Pillow imports a module to read EXIF; a confined process cannot."""
    here = InProcessPreparer(PREPROCESS, JOB.limits)
    for orientation in (3, 6):
        data = encoded(corners(), kind, orientation)
        there, expected = sandbox(data), here(data)
        assert (there.width, there.height) == (64, 48)
        np.testing.assert_array_equal(np.asarray(there.image), np.asarray(expected.image))


@pytest.mark.parametrize(
    ("disabled", "confinement"),
    [
        (("no-landlock",), Confinement(0, seccomp=True)),
        (("no-seccomp",), Confinement(probe_confinement().landlock, seccomp=False)),
        (("no-landlock", "no-seccomp"), Confinement(0, seccomp=False)),
    ],
)
def test_kernel_without_some_mechanisms_still_decodes_and_logs_a_warning(
    disabled: tuple[str, ...], confinement: Confinement, secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Sandbox(JOB, 1, 60, (*FAULTY, *disabled))) as sandbox:
        for _ in range(2):
            assert sandbox(IMAGES["PNG"]).media_type == "image/png"
        assert [record.getMessage() for record in caplog.records] == [confinement.summary]
        assert caplog.records[0].levelno == logging.WARNING
        confined = confinement.seccomp or confinement.landlock
        assert ("done" in attempt(sandbox, "read a file", secret).reason) == (not confined)


def test_confined_process_uses_open_descriptors_and_ends_at_its_cpu_limit(secret: Path) -> None:
    program = (
        "import os, sys\n"
        "from app.search.decode.confinement import confine\n"
        "file = os.open(sys.argv[1], os.O_RDONLY)\n"
        "confine(10**9, cpu_seconds=1)\n"
        "os.write(1, os.pread(file, 100, 4))\n"
        "while True: pass\n"
    )
    run = subprocess.run([sys.executable, "-c", program, secret], capture_output=True, timeout=120, check=False)
    assert run.stdout == b"password"
    assert run.returncode < 0


def test_process_with_other_threads_reports_no_landlock() -> None:
    program = (
        "import json, sys, threading\n"
        "from dataclasses import asdict\n"
        "from app.search.decode.confinement import confine\n"
        "def attempt():\n"
        "    go.wait()\n"
        "    try: open('/etc/passwd'); outcomes.append('read')\n"
        "    except OSError: outcomes.append('refused')\n"
        "go, outcomes = threading.Event(), []\n"
        "other = threading.Thread(target=attempt); other.start()\n"
        "result = confine(10**9); go.set(); other.join()\n"
        "sys.stdout.write(f'{result.landlock} {result.seccomp} {outcomes[0]}')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120, check=True, text=True)
    assert run.stdout == "0 True refused"


def test_sandbox_and_check_report_the_same_confinement(sandbox: Sandbox) -> None:
    sandbox(IMAGES["JPEG"])
    (process,) = sandbox._idle.queue
    assert process.wait_until_ready() == probe_confinement()
