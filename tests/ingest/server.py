"""Run the service in a separate process, with two fake networks to switch between.

LOOKALIKE_DATA_DIR=… LOOKALIKE_DATABASE_URL=… python -m tests.ingest.server PORT
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx2
import uvicorn

from app.api.admission.protocol import BoundedProtocol
from app.bootstrap import Service, build_service_with_encoder
from app.catalogue.database.sessions import Database
from app.main import create_app
from app.settings import Settings
from tests.conftest import free_port, wait_until_ready
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.ingest.networks import fake_networks


@contextmanager
def serving(settings: Settings) -> Iterator[httpx2.Client]:
    """Run the service on a catalogue; yield a client."""
    port = free_port()
    variables = {"LOOKALIKE_DATA_DIR": str(settings.data_dir), "LOOKALIKE_DATABASE_URL": str(settings.database_url)}
    log = settings.data_dir.with_name(f"server-{port}.log")
    with log.open("ab") as file:
        command = [sys.executable, "-m", "tests.ingest.server", str(port)]
        process = subprocess.Popen(command, env=os.environ | variables, stdout=file, stderr=file)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, 60)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    with (
        closing(Database(str(settings.database_url))) as database,
        build_service_with_encoder(
            settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT, fake_networks
        ) as service,
    ):
        yield service


def main() -> None:
    """Serve until terminated."""
    app = create_app(Settings(demo="off", auth="off", _env_file=None), opened)
    uvicorn.run(app, port=int(sys.argv[1]), http=BoundedProtocol, ws="none", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
