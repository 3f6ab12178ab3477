"""Environment of the documentation's examples: a service with the demo catalogue, and a folder with the files."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import copy_data, running_server
from tests.crash.ledger import numbered_image
from tests.images import encoded, gradient
from tests.ingest.archives import gzipped, zipped
from tests.web.conftest import browser, page

__all__ = ["browser", "page"]

# Lets curl fail on error responses.
CURL = "fail-with-body\nsilent\nshow-error\n"


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, demo_data: Path) -> Path:
    return copy_data(demo_data, tmp_path_factory.mktemp("docs") / "data")


@pytest.fixture(scope="session")
def server_url(data_dir: Path) -> Iterator[str]:
    with running_server(data_dir) as (url, _):
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".curlrc").write_text(CURL)
    (tmp_path / "photo.jpg").write_bytes(encoded(gradient(640, 480)))
    for at, name in enumerate(("boot.jpg", "hat.jpg", "pictures/boots/1.jpg", "pictures/hats/2.jpg")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(numbered_image(at))
    (tmp_path / "shop.tar.gz").write_bytes(gzipped({"shop/3.png": numbered_image(4)}))
    (tmp_path / "pictures.zip").write_bytes(zipped({"hats/4.png": numbered_image(5)}))
    (tmp_path / "prices.csv").write_text("file,key,label,price\npictures/boots/1.jpg,sku-19,boots,89.5\n")
    return tmp_path


@pytest.fixture
def environment(folder: Path, data_dir: Path) -> dict[str, str]:
    """Environment with the virtual environment's programs on the path and the running service's data folder."""
    ours = {name for name in os.environ if name.startswith("LOOKALIKE_")} - {"LOOKALIKE_MODEL_CACHE_DIR"}
    others = {name: value for name, value in os.environ.items() if name not in ours}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return others | {"PATH": path, "CURL_HOME": str(folder), "LOOKALIKE_DATA_DIR": str(data_dir)}
