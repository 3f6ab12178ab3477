"""What decodes pictures may crash, hang or eat memory: one request hears of it, and the next is served."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.errors import DecodingUnavailableError, PictureRefusedError
from app.search.decode.image import Crop, DecodeLimits
from app.search.decode.prepare import InProcess
from app.search.decode.sandbox import Job, Sandbox
from models.network.preprocess import Preprocess
from tests.crash.watch import family, resident
from tests.hostile import lies
from tests.pictures import corners, encoded

SIDE, SECONDS = 32, 2.0
PREPROCESS = Preprocess(SIDE, "stretch", (0, 0, 0), (1, 1, 1))
JOB = Job(PREPROCESS, DecodeLimits(max_bytes=1_000_000, max_pixels=4_000_000))
PLANTED = (sys.executable, "-m", "tests.search.faulty_worker")
PICTURE = encoded(corners(300, 200), "JPEG", 6)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with closing(Sandbox(JOB, 1, SECONDS, PLANTED)) as opened:
        yield opened


def test_it_prepares_as_this_process_would() -> None:
    here = InProcess(SIDE, lambda image: Image.fromarray(PREPROCESS(image)), JOB.limits)
    with closing(Sandbox(JOB, 2, SECONDS)) as sandbox, ThreadPoolExecutor(6) as callers:
        pictures = [encoded(corners(90 + 10 * at, 80), "PNG") for at in range(20)]
        for data, there in zip(pictures, callers.map(sandbox, pictures), strict=True):
            expected = here(data)
            np.testing.assert_array_equal(np.asarray(there.image), np.asarray(expected.image))
            assert (there.width, there.height, there.media_type) == (expected.width, expected.height, "image/png")
            assert there.thumbnail == b""
        crop = Crop(100, 50, 120, 90)
        there, expected = sandbox(PICTURE, crop=crop), here(PICTURE, crop=crop)
        np.testing.assert_array_equal(np.asarray(there.image), np.asarray(expected.image))
        with pytest.raises(PictureRefusedError, match="does not lie within"):
            sandbox(PICTURE, crop=Crop(0, 0, 0, 0))
        assert sandbox(PICTURE, thumbnail=True).thumbnail == here(PICTURE, thumbnail=True).thumbnail != b""


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "image_empty"), (bytes(1_000_001), "image_too_large"), (b"text", "image_format_unsupported")],
)
def test_a_refusal_is_the_decoder_s_own(sandbox: Sandbox, data: bytes, code: str) -> None:
    with pytest.raises(PictureRefusedError) as refused:
        sandbox(data)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("harm", "code"),
    [("crash ", "image_damaged"), ("abort ", "image_damaged"), ("greedy", "image_decode_out_of_memory")],
)
def test_a_picture_that_does_harm_costs_its_own_request_alone(sandbox: Sandbox, harm: str, code: str) -> None:
    with pytest.raises(PictureRefusedError) as refused:
        sandbox(harm.encode())
    assert refused.value.code == code
    assert sandbox(PICTURE).media_type == "image/jpeg"


def test_decoder_that_the_system_kills_is_not_called_damage() -> None:
    """As the kernel does where memory runs short."""
    with closing(Sandbox(JOB, 1, SECONDS, (*PLANTED, "no-seccomp"))) as sandbox:
        with pytest.raises(PictureRefusedError, match="memory") as refused:
            sandbox(b"killed")
        assert refused.value.code == "image_decode_out_of_memory"
        assert sandbox(PICTURE).media_type == "image/jpeg"


def test_a_process_that_died_while_it_had_nothing_to_do_costs_no_picture(sandbox: Sandbox) -> None:
    sandbox(PICTURE)
    (process,) = sandbox._idle.queue
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert sandbox(PICTURE).media_type == "image/jpeg"


@pytest.mark.parametrize("harm", ["lies  ", "floods"])
def test_a_process_that_a_picture_took_over_is_not_believed(sandbox: Sandbox, harm: str) -> None:
    with pytest.raises(PictureRefusedError, match="not a picture"):
        sandbox(harm.encode())
    with pytest.raises(PictureRefusedError, match="damaged"):
        sandbox(PICTURE)
    assert sandbox(PICTURE).media_type == "image/jpeg"


@pytest.mark.parametrize("harm", [b"hang  ", b"spins 600"])
def test_picture_that_takes_too_much_of_its_process_s_own_time_is_refused(sandbox: Sandbox, harm: bytes) -> None:
    sandbox(PICTURE)
    began = time.monotonic()
    with pytest.raises(PictureRefusedError, match="more than 2 s of processor time") as refused:
        sandbox(harm)
    assert refused.value.code == "image_decode_timeout"
    assert SECONDS <= time.monotonic() - began < SECONDS + 30
    assert sandbox(PICTURE).media_type == "image/jpeg"


def test_picture_whose_process_seldom_gets_a_processor_is_decoded_all_the_same(sandbox: Sandbox) -> None:
    """Longer than the limit, because the process runs for a quarter of the time only."""
    sandbox(PICTURE)
    (process,) = sandbox._idle.queue
    began, ended = time.monotonic(), threading.Event()

    def starve() -> None:
        while not ended.is_set():
            process._process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            process._process.send_signal(signal.SIGCONT)
            time.sleep(0.1)

    with ThreadPoolExecutor(1) as machine:
        starving = machine.submit(starve)
        with pytest.raises(PictureRefusedError) as told:
            sandbox(b"spins 0.7")
        ended.set()
        starving.result()
    assert told.value.reason == "computed"
    assert time.monotonic() - began > SECONDS
    assert sandbox._idle.queue[0] is process


def test_machine_that_leaves_a_decoder_no_time_is_no_fault_of_the_picture() -> None:
    with closing(Sandbox(JOB, 1, SECONDS, wall_seconds=3)) as sandbox:
        sandbox(PICTURE)
        (process,) = sandbox._idle.queue
        process._process.send_signal(signal.SIGSTOP)
        with pytest.raises(DecodingUnavailableError, match=r"too busy.*got 0\.0 s"):
            sandbox(PICTURE)
        assert process._process.returncode == -signal.SIGKILL
        assert sandbox(PICTURE).media_type == "image/jpeg"


def test_what_a_large_picture_took_goes_back_to_the_system() -> None:
    others = set(family(os.getpid()))
    with closing(Sandbox(Job(PREPROCESS, DecodeLimits()), 1, 60)) as sandbox:
        sandbox(PICTURE)
        (process,) = set(family(os.getpid())) - others
        before = resident(process)
        for _, data in lies():
            with suppress(PictureRefusedError):
                sandbox(data)
        assert resident(process) < before + 50_000_000


def test_what_decodes_cannot_write_files(sandbox: Sandbox, tmp_path: Path) -> None:
    target = tmp_path / "written"
    with pytest.raises(PictureRefusedError):
        sandbox(b"writes" + os.fsencode(target))
    assert not target.exists() or target.stat().st_size == 0


def test_what_decodes_is_told_no_secrets(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_DATABASE_URL", "postgresql://secret")
    with closing(Sandbox(JOB, 1, SECONDS, PLANTED)) as fresh, pytest.raises(PictureRefusedError) as told:
        fresh(b"tells ")
    assert "LOOKALIKE" not in told.value.reason
    assert "PYTHONPATH" in told.value.reason


def test_a_process_that_does_not_start_is_no_fault_of_the_picture() -> None:
    with closing(Sandbox(JOB, 1, SECONDS, (sys.executable, "-c", "raise SystemExit(3)"))) as broken:
        for _ in range(2):
            with pytest.raises(DecodingUnavailableError, match="does not start"):
                broken(PICTURE)


def test_closing_ends_the_processes() -> None:
    sandbox = Sandbox(JOB, 2, SECONDS)
    sandbox(PICTURE)
    pids = [process._process.pid for process in sandbox._idle.queue]
    sandbox.close()
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
