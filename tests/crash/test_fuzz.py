"""Schemathesis: valid and invalid requests from the OpenAPI schema are answered as described.

`TORTURE_EXAMPLES` sets the number per operation; `make torture` sets more, with a random seed.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner

from app.cli.main import app as commands
from tests.conftest import copy_data, running_server

log = logging.getLogger("torture")

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("TORTURE_EXAMPLES")
HOW_MANY = ["--max-examples", EXAMPLES] if EXAMPLES else ["--max-examples", "5", "--generation-deterministic"]
# Would delete the key that the fuzzer uses.
DELETES_THE_KEY = "delete_key"
# A schema cannot exclude some requests that the service rejects: text with NUL, a file that is not an image, an unknown
# cursor. And `PATCH /images/delete` is a change of an image whose id is not valid: 422, not 405, and `Allow` has PATCH.
NOT_CHECKED = "positive_data_acceptance,unsupported_method,allow_header_conformance"


def key(data: Path) -> str:
    arguments = ["keys", "create", "fuzz", "--scope", "admin"]
    result = CliRunner().invoke(commands, arguments, env={"LOOKALIKE_DATA_DIR": str(data)})
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


@pytest.mark.timeout(4 * 3600)
def test_responses_conform_to_the_openapi_schema(tmp_path: Path, demo_data: Path) -> None:
    data = copy_data(demo_data, tmp_path / "data")
    with running_server(data) as (url, _):
        bearer = f"Bearer {key(data)}"
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--no-color"]
        # On a busy machine ten seconds, the default, can be too short.
        how = ["--checks", "all", "--exclude-checks", NOT_CHECKED, "--exclude-operation-id", DELETES_THE_KEY]
        how += ["--request-timeout", "60", *HOW_MANY]
        fuzz = subprocess.run(
            [*command, *how, "--header", f"Authorization: {bearer}"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.crash.fuzz_hooks", "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert fuzz.returncode == 0, fuzz.stdout[-20_000:] + fuzz.stderr
        log.warning("%s", next(line.strip() for line in fuzz.stdout.splitlines() if "generated," in line))
        with urlopen(Request(f"{url}/stats", headers={"Authorization": bearer})) as answer:
            assert json.load(answer)["images"] >= 0
    assert "Traceback" not in (tmp_path / "data.server.log").read_text()
