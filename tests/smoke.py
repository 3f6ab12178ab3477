"""Does what the README tells a new user to do, in a fresh checkout, and looks at what comes back.

    python3 tests/smoke.py CHECKOUT

`make serve` installs into the checkout; the data goes into a new folder beside it. The service starts, is searched
(also with the Python client, installed alone into an empty environment), gets pictures, loses one, is stopped with
Ctrl-C and started again. Needs curl and make, and of Python only what comes with it and pip.
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
# Runs in an environment that has the client and pytest, and nothing of the service.
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
    """Goes through both starts."""
    with tempfile.TemporaryDirectory(dir=checkout.parent) as folder:
        work = Path(folder)
        # PostgreSQL runs as an account of its own when we are root, and has to get to its data.
        work.chmod(0o755)
        with serving(checkout, work, INSTALL_S) as url:
            finds_neighbours(url, work)
            client_works_in_an_empty_environment(url, checkout, work)
            kept, deleted = indexes_two_and_deletes_one(url, work)
            images = ask(f"{url}/stats")["images"]
            assert b"<html" in curl(f"{url}/"), "no page at /"
        with serving(checkout, work, SECOND_START_S) as url:
            assert ask(f"{url}/stats")["images"] == images, "the second start lost or found pictures"
            assert nearest(url, kept)["key"] == "kept", "the second start lost what was indexed"
            assert nearest(url, deleted)["key"] != "deleted", "the second start found what was deleted"
    log.info("all well")


@contextmanager
def serving(checkout: Path, work: Path, patience: float) -> Iterator[str]:
    """Runs `make serve`, yields its address when it is ready, ends it with Ctrl-C."""
    port, began = free_port(), time.monotonic()
    own = {"LOOKALIKE_DATA_DIR": str(work / "data"), "LOOKALIKE_PORT": str(port)}
    process = subprocess.Popen(["make", "serve"], cwd=checkout, env=os.environ | own, start_new_session=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, began + patience)
        log.info("ready after %.1f s", time.monotonic() - began)
        yield f"http://127.0.0.1:{port}"
        press_ctrl_c(process, checkout, work)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_S)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], deadline: float) -> None:
    ask_ready = ["curl", "--silent", "--fail", "--output", os.devnull, f"{url}/readyz"]
    while subprocess.run(ask_ready, check=False).returncode != 0:
        assert process.poll() is None, f"make serve ended with {process.returncode}"
        assert time.monotonic() < deadline, "the service was not ready in time"
        time.sleep(0.5)


def press_ctrl_c(process: subprocess.Popen[bytes], checkout: Path, work: Path) -> None:
    """Interrupts the whole group, as a terminal does, and makes sure that nothing stays."""
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(STOP_S)
    left = processes_in(checkout) + processes_in(work)
    assert not left, f"still running: {left}"
    assert not (work / "data" / "postgres" / "postmaster.pid").exists(), "PostgreSQL was not stopped"
    log.info("stopped after %.1f s", time.monotonic() - began)


def processes_in(folder: Path) -> list[str]:
    """Names the processes that work in a folder: make and the service in the checkout, PostgreSQL in its data."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(f"{process.name} {(process / 'comm').read_text().strip()}")
        except OSError:
            continue
    return found


def finds_neighbours(url: str, work: Path) -> None:
    """Searches with a picture of the demo catalogue."""
    first = ask(f"{url}/images?limit=1")["items"][0]
    picture = work / "demo"
    picture.write_bytes(curl(f"{url}{first['image_url']}"))
    answer = search(url, picture)
    distances = [match["distance"] for match in answer["results"]]
    assert len(distances) == 10, f"{len(distances)} neighbours"
    assert distances == sorted(distances), f"not in order: {distances}"
    assert answer["results"][0]["id"] == first["id"], "a picture of the catalogue does not find itself"
    log.info("%d pictures, searched in %.1f ms", answer["catalogue_size"], answer["timings_ms"]["total"])


def client_works_in_an_empty_environment(url: str, checkout: Path, work: Path) -> None:
    """Installs the client alone, runs its tests, and searches with a picture of the demo catalogue."""
    python = work / "client" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", work / "client"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{checkout / 'clients' / 'python'}[test]"], check=True)
    # A copy beside no sources, so that what is tested is what was installed.
    shutil.copytree(checkout / "clients" / "python" / "tests", work / "tests")
    subprocess.run([python, "-m", "pytest", "-q", "-W", "error"], cwd=work / "tests", check=True)
    command = [str(python), "-I", "-c", CLIENT_SEARCH, url, str(work / "demo")]
    found = subprocess.run(command, cwd=work, check=True, stdout=subprocess.PIPE).stdout
    first = ask(f"{url}/images?limit=1")["items"][0]
    assert int(found) == first["id"], "the client does not find a picture of the catalogue"


def indexes_two_and_deletes_one(url: str, work: Path) -> tuple[Path, Path]:
    """Puts two pictures in and takes one out again; returns their files."""
    kept, deleted = stripes(work / "kept.png", 7), stripes(work / "deleted.png", 31)
    metadata = json.dumps([{"key": "kept", "label": "stripes"}, {"key": "deleted"}])
    added = ask(f"{url}/index", "-F", f"images=@{kept}", "-F", f"images=@{deleted}", "-F", f"metadata={metadata}")
    assert [item["status"] for item in added["items"]] == ["created", "created"], added
    for picture in (kept, deleted):
        found = nearest(url, picture)
        assert found["key"] == picture.stem, f"{picture.name} found {found}"
        assert found["distance"] < CLOSE, f"{picture.name} found itself at a distance: {found}"
    curl(f"{url}/images/{added['items'][1]['id']}", "--request", "DELETE")
    assert nearest(url, deleted)["key"] != "deleted", "a deleted picture was found"
    return kept, deleted


def nearest(url: str, picture: Path) -> dict[str, Any]:
    match: dict[str, Any] = search(url, picture)["results"][0]
    return match


def search(url: str, picture: Path) -> dict[str, Any]:
    return ask(f"{url}/search?k=10", "-F", f"image=@{picture}")


def ask(url: str, *options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(curl(url, *options))
    return answer


def curl(url: str, *options: str) -> bytes:
    return subprocess.run(["curl", "-sS", "--fail-with-body", *options, url], check=True, stdout=subprocess.PIPE).stdout


def stripes(path: Path, width: int) -> Path:
    """Writes a PNG of 96×96 pixels that the demo has none like."""
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
