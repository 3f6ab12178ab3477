"""Decode processes that crash, hang or exhaust memory fail one request, and the next succeeds."""

import errno
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

from app.errors import DecodingUnavailableError, ImageRejectedError
from app.search.decode.image import Crop, DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from app.search.decode.sandbox import DecodeConfig, Sandbox
from app.search.decode.shared_memory import MIN_BYTES, shared_memory
from models.network.preprocess import Preprocess
from tests.crash.process_usage import process_tree, resident
from tests.images import corners, encoded
from tests.malicious_images import wrong_sizes

SIDE, SECONDS = 32, 2.0
PREPROCESS = Preprocess(SIDE, "stretch", (0, 0, 0), (1, 1, 1))
JOB = DecodeConfig(PREPROCESS, DecodeLimits(max_bytes=1_000_000, max_pixels=4_000_000))
FAULTY = (sys.executable, "-m", "tests.search.faulty_worker")
IMAGE = encoded(corners(300, 200), "JPEG", 6)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with closing(Sandbox(JOB, 1, SECONDS, FAULTY)) as opened:
        yield opened


def test_sandbox_equals_in_process_decoding() -> None:
    here = InProcessPreparer(PREPROCESS, JOB.limits)
    with closing(Sandbox(JOB, 2, SECONDS)) as sandbox, ThreadPoolExecutor(6) as callers:
        images = [encoded(corners(90 + 10 * at, 80), "PNG") for at in range(20)]
        for data, there in zip(images, callers.map(sandbox, images), strict=True):
            expected = here(data)
            np.testing.assert_array_equal(np.asarray(there.image), np.asarray(expected.image))
            assert (there.width, there.height, there.media_type) == (expected.width, expected.height, "image/png")
            assert there.thumbnail == b""
        crop = Crop(100, 50, 120, 90)
        there, expected = sandbox(IMAGE, crop=crop), here(IMAGE, crop=crop)
        np.testing.assert_array_equal(np.asarray(there.image), np.asarray(expected.image))
        with pytest.raises(ImageRejectedError, match="is not within"):
            sandbox(IMAGE, crop=Crop(0, 0, 0, 0))
        assert sandbox(IMAGE, thumbnail=True).thumbnail == here(IMAGE, thumbnail=True).thumbnail != b""


def test_image_larger_than_the_shared_memory_goes_through_the_socket() -> None:
    large = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (900, 900, 3), np.uint8)), "PNG")
    assert len(large) > MIN_BYTES
    job = DecodeConfig(PREPROCESS, DecodeLimits())
    with closing(Sandbox(job, 1, SECONDS)) as sandbox:
        expected = InProcessPreparer(PREPROCESS, job.limits)(large)
        np.testing.assert_array_equal(sandbox(large).pixels, expected.pixels)
        assert sandbox(IMAGE).media_type == "image/jpeg"


def test_without_shared_memory_images_go_through_the_socket(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(*_: object) -> int:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "posix_fallocate", forbidden)
    with closing(Sandbox(JOB, 2, SECONDS)) as sandbox:
        expected = InProcessPreparer(PREPROCESS, JOB.limits)(IMAGE, thumbnail=True)
        found = sandbox(IMAGE, thumbnail=True)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.thumbnail == expected.thumbnail
    assert "memory" in caplog.text


def test_pixels_do_not_change_while_the_next_image_is_decoded() -> None:
    with closing(Sandbox(JOB, 1, SECONDS)) as sandbox:
        first = sandbox(IMAGE).pixels
        before = first.copy()
        sandbox(encoded(corners(80, 90), "PNG"))
        np.testing.assert_array_equal(first, before)


def test_size_of_shared_memory_cannot_be_changed() -> None:
    with shared_memory(8192) as (memory, descriptor):
        for size in (0, 4096, 16_384):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, size)
    assert len(memory) == 8192
    memory.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "image_empty"), (bytes(1_000_001), "image_too_large"), (b"text", "image_format_unsupported")],
)
def test_refusal_keeps_the_decoders_code(sandbox: Sandbox, data: bytes, code: str) -> None:
    with pytest.raises(ImageRejectedError) as refused:
        sandbox(data)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("fault", "code"),
    [("crash ", "image_damaged"), ("abort ", "image_damaged"), ("greedy", "image_decode_out_of_memory")],
)
def test_image_that_kills_its_decoder_fails_only_its_own_request(sandbox: Sandbox, fault: str, code: str) -> None:
    with pytest.raises(ImageRejectedError) as refused:
        sandbox(fault.encode())
    assert refused.value.code == code
    assert sandbox(IMAGE).media_type == "image/jpeg"


def test_decoder_killed_by_the_system_is_reported_as_out_of_memory() -> None:
    """As by the kernel's OOM killer."""
    with closing(Sandbox(JOB, 1, SECONDS, (*FAULTY, "no-seccomp"))) as sandbox:
        with pytest.raises(ImageRejectedError, match="memory") as refused:
            sandbox(b"killed")
        assert refused.value.code == "image_decode_out_of_memory"
        assert sandbox(IMAGE).media_type == "image/jpeg"


def test_process_that_died_while_idle_is_replaced_without_an_error(sandbox: Sandbox) -> None:
    sandbox(IMAGE)
    (process,) = sandbox._idle.queue
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert sandbox(IMAGE).media_type == "image/jpeg"


@pytest.mark.parametrize("fault", ["lies  ", "floods", "chats "])
def test_invalid_replies_of_an_exploited_process_are_refused(sandbox: Sandbox, fault: str) -> None:
    with pytest.raises(ImageRejectedError, match="not in a supported image format"):
        sandbox(fault.encode())
    with pytest.raises(ImageRejectedError, match="damaged"):
        sandbox(IMAGE)
    assert sandbox(IMAGE).media_type == "image/jpeg"


@pytest.mark.parametrize("fault", [b"hang  ", b"spins 600"])
def test_image_that_exceeds_the_process_time_limit_is_refused(sandbox: Sandbox, fault: bytes) -> None:
    sandbox(IMAGE)
    started = time.monotonic()
    with pytest.raises(ImageRejectedError, match="more than 2 s of CPU time") as refused:
        sandbox(fault)
    assert refused.value.code == "image_decode_timeout"
    assert SECONDS <= time.monotonic() - started < SECONDS + 30
    assert sandbox(IMAGE).media_type == "image/jpeg"


def test_process_that_rarely_gets_a_cpu_still_decodes(sandbox: Sandbox) -> None:
    """Takes longer than the limit in wall time, because the process only runs a quarter of the time."""
    sandbox(IMAGE)
    (process,) = sandbox._idle.queue
    started, ended = time.monotonic(), threading.Event()

    def starve() -> None:
        while not ended.is_set():
            process._process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            process._process.send_signal(signal.SIGCONT)
            time.sleep(0.1)

    with ThreadPoolExecutor(1) as threads:
        starving = threads.submit(starve)
        with pytest.raises(ImageRejectedError) as reported:
            sandbox(b"spins 0.7")
        ended.set()
        starving.result()
    assert reported.value.reason == "computed"
    assert time.monotonic() - started > SECONDS
    assert sandbox._idle.queue[0] is process


def test_busy_machine_raises_decoding_unavailable() -> None:
    with closing(Sandbox(JOB, 1, SECONDS, wall_seconds=3)) as sandbox:
        sandbox(IMAGE)
        (process,) = sandbox._idle.queue
        process._process.send_signal(signal.SIGSTOP)
        with pytest.raises(DecodingUnavailableError, match=r"too busy.*got 0\.0 s"):
            sandbox(IMAGE)
        assert process._process.returncode == -signal.SIGKILL
        assert sandbox(IMAGE).media_type == "image/jpeg"


def test_memory_of_large_images_is_returned_to_the_system() -> None:
    others = set(process_tree(os.getpid()))
    with closing(Sandbox(DecodeConfig(PREPROCESS, DecodeLimits()), 1, 60)) as sandbox:
        sandbox(IMAGE)
        (process,) = set(process_tree(os.getpid())) - others
        before = resident(process)
        for _, data in wrong_sizes():
            with suppress(ImageRejectedError):
                sandbox(data)
        assert resident(process) < before + 50_000_000


def test_decode_process_cannot_write_files(sandbox: Sandbox, tmp_path: Path) -> None:
    target = tmp_path / "written"
    with pytest.raises(ImageRejectedError):
        sandbox(b"writes" + os.fsencode(target))
    assert not target.exists() or target.stat().st_size == 0


def test_decode_process_gets_no_secrets(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_DATABASE_URL", "postgresql://secret")
    with closing(Sandbox(JOB, 1, SECONDS, FAULTY)) as fresh, pytest.raises(ImageRejectedError) as reported:
        fresh(b"report")
    assert "LOOKALIKE" not in reported.value.reason
    assert "PYTHONPATH" in reported.value.reason


def test_process_that_does_not_start_raises_decoding_unavailable() -> None:
    with closing(Sandbox(JOB, 1, SECONDS, (sys.executable, "-c", "raise SystemExit(3)"))) as broken:
        for _ in range(2):
            with pytest.raises(DecodingUnavailableError, match="does not start"):
                broken(IMAGE)


def test_closing_ends_the_processes() -> None:
    sandbox = Sandbox(JOB, 2, SECONDS)
    sandbox(IMAGE)
    pids = [process._process.pid for process in sandbox._idle.queue]
    sandbox.close()
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
