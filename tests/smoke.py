"""Smoke test: follow the README's instructions for new users in a fresh checkout.

    python3 tests/smoke.py CHECKOUT

`make serve` installs into the checkout; the data goes into a new folder beside it. The test starts the service,
searches (also with the Python client, installed alone into an empty environment), adds images, deletes one, stops the
service with Ctrl-C and starts it again. Requires curl, make, and Python's standard library with pip.
"""

import json
import logging
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INSTALL_S = 1800
SECOND_START_S = 60
# Runs in an environment with the client and pytest, but without the service.
CLIENT_SEARCH = """
import sys
from lookalike_client import Lookalike
with Lookalike(sys.argv[1]) as catalogue:
    print(catalogue.search(sys.argv[2], k=1).matches[0].id)
assert not {"app", "models", "torch"} & {name.partition(".")[0] for name in sys.modules}
"""
STOP_S = 60
CLOSE = 1e-3

log = logging.getLogger("smoke")


def main(checkout: Path) -> None:
    """Run the smoke test."""
    with tempfile.TemporaryDirectory(dir=checkout.parent) as folder:
        work = Path(folder)
        # If run as root, PostgreSQL runs under another account, which needs access to its data.
        work.chmod(0o755)
        with serving(checkout, work, INSTALL_S) as url:
            check_search(url, work)
            check_client_alone(url, checkout, work)
            kept, deleted = check_add_and_delete(url, work)
            images = request(f"{url}/stats")["images"]
            assert b"<html" in curl(f"{url}/"), "no page at /"
        with serving(checkout, work, SECOND_START_S) as url:
            assert request(f"{url}/stats")["images"] == images, "the number of images changed in the restart"
            assert nearest(url, kept)["key"] == "kept", "an indexed image was lost in the restart"
            assert nearest(url, deleted)["key"] != "deleted", "a deleted image was found after the restart"
    log.info("passed")


@contextmanager
def serving(checkout: Path, work: Path, timeout: float) -> Iterator[str]:
    """Run `make serve`, yield its URL once it is ready, end it with Ctrl-C."""
    port, started = free_port(), time.monotonic()
    variables = {"LOOKALIKE_DATA_DIR": str(work / "data"), "LOOKALIKE_PORT": str(port)}
    process = subprocess.Popen(["make", "serve"], cwd=checkout, env=os.environ | variables, start_new_session=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, started + timeout)
        log.info("ready after %.1f s", time.monotonic() - started)
        yield f"http://127.0.0.1:{port}"
        press_ctrl_c(process, checkout, work)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_S)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], deadline: float) -> None:
    probe = ["curl", "--silent", "--fail", "--output", os.devnull, f"{url}/readyz"]
    while subprocess.run(probe, check=False).returncode != 0:
        assert process.poll() is None, f"make serve exited with {process.returncode}"
        assert time.monotonic() < deadline, "the service was not ready in time"
        time.sleep(0.5)


def press_ctrl_c(process: subprocess.Popen[bytes], checkout: Path, work: Path) -> None:
    """Send SIGINT to the process group, as a terminal does, and check that no process is left."""
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(STOP_S)
    left = processes_in(checkout) + processes_in(work)
    assert not left, f"still running: {left}"
    assert not (work / "data" / "postgres" / "postmaster.pid").exists(), "PostgreSQL was not stopped"
    log.info("stopped after %.1f s", time.monotonic() - started)


def processes_in(folder: Path) -> list[str]:
    """List processes with their working directory in a folder: make and the service, or PostgreSQL in its data."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(f"{process.name} {(process / 'comm').read_text().strip()}")
        except OSError:
            continue
    return found


def check_search(url: str, work: Path) -> None:
    """Search with an image of the demo catalogue."""
    first = request(f"{url}/images?limit=1")["items"][0]
    image = work / "demo"
    image.write_bytes(curl(f"{url}{first['image_url']}"))
    answer = search(url, image)
    distances = [match["distance"] for match in answer["results"]]
    assert len(distances) == 10, f"{len(distances)} neighbours"
    assert distances == sorted(distances), f"not sorted: {distances}"
    assert answer["results"][0]["id"] == first["id"], "an image of the catalogue is not its own first match"
    log.info("%d images, searched in %.1f ms", answer["catalogue_size"], answer["timings_ms"]["total"])


def check_client_alone(url: str, checkout: Path, work: Path) -> None:
    """Install the client alone, run its tests, and search with an image of the demo catalogue."""
    python = work / "client" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", work / "client"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{checkout / 'clients' / 'python'}[test]"], check=True)
    # Copied away from the sources, so that the installed package is tested.
    shutil.copytree(checkout / "clients" / "python" / "tests", work / "tests")
    subprocess.run([python, "-m", "pytest", "-q", "-W", "error"], cwd=work / "tests", check=True)
    command = [str(python), "-I", "-c", CLIENT_SEARCH, url, str(work / "demo")]
    found = subprocess.run(command, cwd=work, check=True, stdout=subprocess.PIPE).stdout
    first = request(f"{url}/images?limit=1")["items"][0]
    assert int(found) == first["id"], "the client does not find an image of the catalogue"


def check_add_and_delete(url: str, work: Path) -> tuple[Path, Path]:
    """Add two images and delete one; return their files."""
    kept, deleted = stripes(work / "kept.png", 7), stripes(work / "deleted.png", 31)
    metadata = json.dumps([{"key": "kept", "label": "stripes"}, {"key": "deleted"}])
    added = request(f"{url}/index", "-F", f"images=@{kept}", "-F", f"images=@{deleted}", "-F", f"metadata={metadata}")
    assert [item["status"] for item in added["items"]] == ["created", "created"], added
    for image in (kept, deleted):
        found = nearest(url, image)
        assert found["key"] == image.stem, f"{image.name} found {found}"
        assert found["distance"] < CLOSE, f"{image.name} is not at distance 0 from itself: {found}"
    curl(f"{url}/images/{added['items'][1]['id']}", "--request", "DELETE")
    assert nearest(url, deleted)["key"] != "deleted", "a deleted image was found"
    return kept, deleted


def nearest(url: str, image: Path) -> dict[str, Any]:
    match: dict[str, Any] = search(url, image)["results"][0]
    return match


def search(url: str, image: Path) -> dict[str, Any]:
    return request(f"{url}/search?k=10", "-F", f"image=@{image}")


def request(url: str, *options: str) -> dict[str, Any]:
    response: dict[str, Any] = json.loads(curl(url, *options))
    return response


def curl(url: str, *options: str) -> bytes:
    return subprocess.run(["curl", "-sS", "--fail-with-body", *options, url], check=True, stdout=subprocess.PIPE).stdout


def stripes(path: Path, width: int) -> Path:
    """Write a PNG of 96×96 pixels unlike any demo image."""
    rows = b"".join(b"\0" + bytes(255 * ((x + y) // width % 2) for x in range(96) for _ in "RGB") for y in range(96))
    header = struct.pack(">IIBBBBB", 96, 96, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(map(png_chunk, chunks)))
    return path


def png_chunk(chunk: tuple[bytes, bytes]) -> bytes:
    body = b"".join(chunk)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s smoke: %(message)s", level=logging.INFO)
    main(Path(sys.argv[1]).resolve())
