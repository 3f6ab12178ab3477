"""What decodes pictures may crash, hang or eat memory: one request hears of it, and the next is served."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.errors import PictureRefusedError, UnavailableError
from app.search.decode import Crop, DecodeLimits
from app.search.prepare import InProcess
from app.search.sandbox import Job, Sandbox
from models.preprocess import Preprocess
from tests.crash.watch import family, resident
from tests.hostile import lies
from tests.pictures import corners, encoded

SIDE, SECONDS = 32, 2.0
PREPROCESS = Preprocess(SIDE, "stretch", (0, 0, 0), (1, 1, 1))
JOB = Job(PREPROCESS, DecodeLimits(max_bytes=1_000_000, max_pixels=4_000_000))
PLANTED = (sys.executable, "-m", "tests.search.planted")
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
    ("data", "code"), [(b"", "empty"), (bytes(1_000_001), "too_many_bytes"), (b"text", "unknown_format")]
)
def test_a_refusal_is_the_decoder_s_own(sandbox: Sandbox, data: bytes, code: str) -> None:
    with pytest.raises(PictureRefusedError) as refused:
        sandbox(data)
    assert refused.value.code == code


@pytest.mark.parametrize("harm", ["crash ", "abort ", "greedy"])
def test_a_picture_that_does_harm_costs_its_own_request_alone(sandbox: Sandbox, harm: str) -> None:
    with pytest.raises(PictureRefusedError) as refused:
        sandbox(harm.encode())
    assert refused.value.code == "damaged"
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


def test_a_picture_that_takes_too_long_is_given_up(sandbox: Sandbox) -> None:
    sandbox(PICTURE)
    began = time.monotonic()
    with pytest.raises(PictureRefusedError, match="longer than 2 s"):
        sandbox(b"hang  ")
    assert SECONDS <= time.monotonic() - began < SECONDS + 5
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
            with pytest.raises(UnavailableError, match="does not start"):
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
